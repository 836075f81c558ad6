/** The next pack's slivers are written over those of the one before, and nothing stays in the end. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dropSpareSlivers, leaveSliverFile, takeSliverFile } from '../../src/flush/sliver-files.ts';

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'tuskfs-slivers-'));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const made = (packId: string): number => {
  const path = takeSliverFile(scratch, packId);
  writeFileSync(path, packId, { flag: 'r+' });
  return statSync(path).ino;
};
const first = (packId: string): number => {
  writeFileSync(takeSliverFile(scratch, packId), packId, { flag: 'wx' });
  return statSync(join(scratch, `${packId}.slivers`)).ino;
};

test('a file that a pack left is the next one’s, one that is in use is nobody else’s', () => {
  const a = first('a');
  const b = first('b');
  leaveSliverFile(scratch, 'a');
  expect(made('c')).toBe(a);
  expect(first('d')).not.toBe(b);
  expect(readdirSync(scratch).sort()).toEqual(['b.slivers', 'c.slivers', 'd.slivers']);
});

test('several that were left serve as many packs, and none is there when they are given back', () => {
  const left = ['a', 'b'].map(first);
  for (const pack of ['a', 'b', 'never-made']) leaveSliverFile(scratch, pack);
  expect([made('c'), made('d')].sort()).toEqual(left.sort());
  for (const pack of ['c', 'd']) leaveSliverFile(scratch, pack);
  expect(readdirSync(scratch)).toHaveLength(2);
  for (let i = 0; i < 2; i++) dropSpareSlivers(scratch);
  expect(readdirSync(scratch)).toEqual([]);
});
