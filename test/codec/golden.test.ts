/** Every sliver, the metadata and the blob ID, byte for byte as Walrus' own encoder makes them. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { native } from '../../src/native.ts';
import { formula, goldenSeed, seeded } from './official.ts';

interface Golden {
  shards: number;
  size: number;
  blobId: string;
  /** SHA-256 of the metadata's BCS. */
  metadata: string;
  /** SHA-256 of all sliver pairs in order. */
  pairs: string;
}

const golden = JSON.parse(
  readFileSync(new URL('../golden/rs2.json', import.meta.url), 'utf8'),
) as Golden[];
const dir = mkdtempSync(join(tmpdir(), 'tuskfs-golden-'));
afterAll(() => rmSync(dir, { recursive: true }));

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

describe.each([4, 7, 10, 13, 100, 1000])('%i shards', shards => {
  const entries = golden.filter(entry => entry.shards === shards);

  test(`${entries.length} sizes encode to the official bytes`, async () => {
    expect(entries.length).toBeGreaterThan(9);
    for (const entry of entries) {
      const { size } = entry;
      const data = seeded(goldenSeed(shards, size), size);
      const [path, out] = [join(dir, 'blob'), join(dir, 'slivers')];
      writeFileSync(path, data);
      const encoded = await native.encodeFile(path, shards, out);
      const made = {
        shards,
        size: encoded.size,
        blobId: encoded.blobId.toString('hex'),
        metadata: sha256(encoded.metadata),
        pairs: sha256(readFileSync(out)),
      };
      expect(made).toEqual(entry);
      expect(native.verifyMetadata(encoded.metadata, shards, encoded.blobId)).toBe(true);
      // The hashes alone take another way through the code than the slivers do.
      if (size > 1 << 20 || (shards === 1000 && size !== 1)) continue;
      expect(await native.bytesMetadata(data, shards)).toEqual(encoded);
    }
  });

  test('the shape follows the formulas of the protocol', () => {
    for (const { size } of entries) {
      const { rows, columns, symbol } = formula(size, shards);
      expect(native.blobShape(size, shards)).toEqual({
        nPrimary: rows,
        nSecondary: columns,
        symbolBytes: symbol,
        primaryBytes: columns * symbol,
        secondaryBytes: rows * symbol,
        encodedBytes: shards * (64 * shards + 32) + (rows + columns) * symbol * shards,
      });
    }
    const { rows, columns } = formula(0, shards);
    expect(() => native.blobShape(65_534 * rows * columns + 1, shards)).toThrow('too large');
  });
});

test('a file is not encoded into itself', async () => {
  const path = join(dir, 'itself');
  writeFileSync(path, 'content');
  await expect(native.encodeFile(path, 10, path)).rejects.toThrow('itself');
  expect(readFileSync(path, 'utf8')).toBe('content');
});
