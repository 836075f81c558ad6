/** Certificates: our signatures are good to Walrus' own verifier, and the reverse. */
import { randomBytes } from 'node:crypto';
import {
  bls12381_min_pk_aggregate as officialAggregate,
  bls12381_min_pk_verify as officialVerify,
  bls12381_min_pk_verify_aggregate as officialVerifyAggregate,
} from '@mysten/walrus-wasm';
import { expect, test } from 'vitest';
import { native } from '../../src/native.ts';

const message = Buffer.concat([Buffer.from([1, 0, 3]), Buffer.alloc(36, 7), Buffer.from([0])]);
const keys = Array.from({ length: 5 }, (_, i) => native.blsKey(Buffer.alloc(32, i + 1)));
const signatures = keys.map(key => native.blsSign(key.secret, message));
const array = (bytes: Uint8Array) => Array.from(bytes);

test('a signature verifies on both sides, with either form of the key', () => {
  for (const [i, key] of keys.entries()) {
    const signature = signatures[i]!;
    for (const publicKey of [key.public48, key.public96]) {
      expect(native.blsVerify(publicKey, message, signature)).toBe(true);
      expect(officialVerify(signature, publicKey, message)).toBe(true);
    }
    const other = keys[(i + 1) % keys.length]!;
    expect(native.blsVerify(other.public96, message, signature)).toBe(false);
    expect(native.blsVerify(key.public96, Buffer.concat([message, message]), signature)).toBe(
      false,
    );
  }
});

test('the aggregate is the official one and verifies on both sides', () => {
  const aggregate = native.blsAggregate(signatures);
  expect(aggregate).toEqual(Buffer.from(officialAggregate(signatures.map(array))));
  for (const form of ['public48', 'public96'] as const) {
    const publics = keys.map(key => key[form]);
    expect(native.blsVerifyAggregate(publics, message, aggregate)).toBe(true);
    expect(officialVerifyAggregate(publics.map(array), message, aggregate)).toBe(true);
    expect(native.blsVerifyAggregate(publics.slice(1), message, aggregate)).toBe(false);
  }
});

test('malformed keys and signatures verify nothing and are not aggregated', () => {
  const [key, signature] = [keys[0]!, signatures[0]!];
  const infinityKey = Buffer.alloc(48);
  infinityKey[0] = 0xc0;
  const infinity = Buffer.alloc(96);
  infinity[0] = 0xc0;
  expect(native.blsVerify(infinityKey, message, infinity)).toBe(false);
  expect(native.blsVerifyAggregate([], message, infinity)).toBe(false);
  expect(() => native.blsAggregate([])).toThrow();
  for (const bad of [infinity, Buffer.alloc(0), signature.subarray(1)]) {
    expect(native.blsVerify(key.public96, message, bad)).toBe(false);
    expect(() => native.blsAggregate([signature, bad])).toThrow();
  }
  for (const bad of [Buffer.alloc(0), Buffer.alloc(48), Buffer.alloc(96), randomBytes(64)])
    expect(native.blsVerify(bad, message, signature)).toBe(false);
  expect(() => native.blsKey(Buffer.alloc(31))).toThrow('32 bytes');
  expect(() => native.blsSign(Buffer.alloc(32), message)).toThrow();
});
