/** Every structure survives encoding; foreign bytes never cause anything but a `TuskError`. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { decodeLeaf, decodeRoot, encodeLeaf, encodeRoot } from '../../src/format/manifest.ts';
import {
  decodeDirectory,
  decodeHeader,
  encodeDirectory,
  encodeHeader,
} from '../../src/format/pack.ts';
import { formatRecoveryKey, parseRecoveryKey } from '../../src/format/recovery.ts';
import { blobBytesMax, paddedBytes, stepBytes } from '../../src/format/shape.ts';
import { entries, header, refs, root } from './samples.ts';

const directory = entries.map(list => ({
  volumeId: Buffer.alloc(16, 1),
  packId: Buffer.alloc(16, 2),
  entries: list,
}));

const structures = [
  { name: 'header', values: header, encode: encodeHeader, decode: decodeHeader },
  { name: 'directory', values: directory, encode: encodeDirectory, decode: decodeDirectory },
  { name: 'leaf', values: refs(5), encode: encodeLeaf, decode: decodeLeaf },
  { name: 'root', values: root, encode: encodeRoot, decode: decodeRoot },
] as const;

const harmless = (decode: (bytes: Buffer) => unknown, bytes: Buffer): void => {
  try {
    decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(TuskError);
  }
};

describe.each(structures)('$name', ({ values, encode, decode }) => {
  test('decodes to what was encoded', () => {
    fc.assert(
      fc.property(values as fc.Arbitrary<never>, value => {
        expect(decode(encode(value))).toEqual(value);
      }),
    );
  });

  test('bent or cut bytes throw nothing but TuskError', () => {
    const bend = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(values as fc.Arbitrary<never>, bend, fc.nat(), (value, bends, length) => {
        const bytes = Buffer.from(encode(value));
        for (const [at, byte] of bends) bytes[at % bytes.length] = byte;
        harmless(decode, bytes);
        harmless(decode, bytes.subarray(0, length % bytes.length));
      }),
      { numRuns: 300 },
    );
  });

  test('arbitrary bytes are damaged, a later version is newer_format', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
        expect(() => decode(Buffer.from(bytes))).toThrow(TuskError);
      }),
    );
    const bytes = encode(fc.sample(values as fc.Arbitrary<never>, 1)[0]!);
    bytes[8] = 2;
    expect(() => decode(bytes)).toThrow(expect.objectContaining({ code: 'newer_format' }));
  });
});

test('a recovery key reads back as people type it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), bytes => {
      const key = Buffer.from(bytes);
      const text = formatRecoveryKey(key);
      expect(parseRecoveryKey(text)).toEqual(key);
      const typed = ` ${text.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')}`;
      expect(parseRecoveryKey(typed)).toEqual(key);
      const wrong = (text[0] === 'A' ? 'B' : 'A') + text.slice(1);
      expect(() => parseRecoveryKey(wrong)).toThrow(/checksum/);
    }),
  );
  expect(() => parseRecoveryKey('ABCD')).toThrow(/characters/);
});

test('packs are padded by steps, small ones by powers of two, never beyond the code', () => {
  const shape = { nPrimary: 334, nSecondary: 667 };
  expect(stepBytes(shape)).toBe(445_556);
  expect(paddedBytes(1, shape)).toBe(445_556);
  expect(paddedBytes(445_557, shape)).toBe(2 * 445_556);
  expect(paddedBytes(5 * 445_556, shape)).toBe(8 * 445_556);
  expect(paddedBytes(9 * 445_556 - 1, shape)).toBe(9 * 445_556);
  expect(() => paddedBytes(blobBytesMax(shape) + 1, shape)).toThrow(TuskError);
});
