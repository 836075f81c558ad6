/**
 * Bytes of version 1, written once and never again: whatever later versions write, these must
 * read to the same values for ever. `TUSKFS_WRITE_GOLDEN=1` makes files that are missing.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { ARGON_FLOOR, createEnvelope, openEnvelope } from '../../src/format/envelope.ts';
import { aadPrefix, indexKey, packKey, volumeKeys } from '../../src/format/keys.ts';
import { decodeLeaf, decodeRoot, encodeLeaf, encodeRoot } from '../../src/format/manifest.ts';
import {
  decodeDirectory,
  decodeHeader,
  encodeDirectory,
  encodeHeader,
} from '../../src/format/pack.ts';
import { native } from '../../src/native.ts';
import { golden, goldenVolume } from './samples.ts';

const file = (name: string, make: () => Buffer): Buffer => {
  const path = fileURLToPath(new URL(`../golden/format/${name}.v1.bin`, import.meta.url));
  if (!existsSync(path) && process.env.TUSKFS_WRITE_GOLDEN === '1') writeFileSync(path, make());
  return readFileSync(path);
};

describe('version 1', () => {
  const keys = volumeKeys(goldenVolume.volumeId, goldenVolume.volumeKey);
  const plain = Buffer.from('content of a frame, '.repeat(500));

  test('structures', () => {
    const cases = [
      ['header', golden.header, encodeHeader, decodeHeader],
      ['directory', golden.directory, encodeDirectory, decodeDirectory],
      ['leaf', golden.leaf, encodeLeaf, decodeLeaf],
      ['root', golden.root, encodeRoot, decodeRoot],
    ] as const;
    for (const [name, value, encode, decode] of cases) {
      const bytes = file(name, () => encode(value as never));
      expect(decode(bytes)).toEqual(value);
      expect(encode(value as never)).toEqual(bytes);
    }
  });

  test('keys', () => {
    const salt = goldenVolume.salt;
    const all = () =>
      Buffer.concat([
        keys.packs,
        keys.index,
        keys.cutting,
        keys.identity,
        keys.checks,
        packKey(keys, salt),
        indexKey(keys, salt),
        aadPrefix(keys.volumeId, goldenVolume.packId),
      ]);
    expect(all()).toEqual(file('keys', all));
  });

  test('envelope', async () => {
    const parts = { ...goldenVolume, argon: ARGON_FLOOR, random: seededRandom(1) };
    const made = await createEnvelope(parts);
    const bytes = file('envelope', () => made);
    expect(made).toEqual(bytes);
    const { volumeId, volumeKey } = goldenVolume;
    expect(await openEnvelope(bytes, goldenVolume)).toEqual({ volumeId, volumeKey });
  });

  test('frame', async () => {
    const key = packKey(keys, goldenVolume.salt);
    const prefix = aadPrefix(keys.volumeId, goldenVolume.packId);
    const { sealed, compression } = await native.sealBytes(key, prefix, 42, plain);
    const bytes = file('frame', () => sealed);
    expect(compression).toBe(1);
    const identity = native.keyedHash(keys.identity, plain);
    expect(
      await native.openFrame(key, prefix, 42, 1, plain.length, bytes, keys.identity, identity),
    ).toEqual(plain);
    await expect(native.openFrame(key, prefix, 43, 1, plain.length, bytes)).rejects.toThrow(
      /^tag:/,
    );
    const other = Buffer.alloc(32);
    await expect(
      native.openFrame(key, prefix, 42, 1, plain.length, bytes, keys.identity, other),
    ).rejects.toThrow(/^identity:/);
  });
});
