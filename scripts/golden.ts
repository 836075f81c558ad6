/**
 * Writes test/golden/rs2.json: what Walrus' own encoder makes of blobs that follow from a seed. To
 * be run when a size is added to the list or the official encoder changes; takes about a minute.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formula, goldenSeed, officialEncode, seeded } from '../test/codec/official.ts';

const MIB = 1 << 20;
const SYMBOL_MAX = 65_534;

/** Sizes at which something changes: symbols, rows, blocks of 64 bytes, the longest symbol. */
function sizes(nShards: number): number[] {
  const { rows, columns } = formula(0, nShards);
  const cells = rows * columns;
  const around = (size: number) => [size - 1, size, size + 1];
  const edges = [0, 1, ...around(2 * columns), ...around(cells), ...around(2 * cells)];
  const few = nShards < 1000;
  if (few) edges.push(...around(62 * cells), ...around(64 * cells), ...around(128 * cells));
  edges.push(MIB, 16 * MIB, SYMBOL_MAX * cells);
  return [...new Set(edges)]
    .filter(size => size <= Math.min(SYMBOL_MAX * cells, 16 * MIB))
    .sort((a, b) => a - b);
}

const sha256 = (parts: Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

const lines: string[] = [];
for (const shards of [4, 7, 10, 13, 100, 1000]) {
  for (const size of sizes(shards)) {
    const blob = officialEncode(seeded(goldenSeed(shards, size), size), shards);
    const pairs = blob.primary.flatMap((primary, i) => [
      primary,
      blob.secondary[shards - 1 - i] as Buffer,
    ]);
    const entry = {
      shards,
      size,
      blobId: blob.blobId.toString('hex'),
      metadata: sha256([blob.metadata]),
      pairs: sha256(pairs),
    };
    lines.push(JSON.stringify(entry));
    console.error(`${shards} shards, ${size} bytes`);
  }
}
const target = fileURLToPath(new URL('../test/golden/rs2.json', import.meta.url));
writeFileSync(target, `[\n${lines.join(',\n')}\n]\n`);
