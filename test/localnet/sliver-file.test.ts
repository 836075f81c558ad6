import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SliverFile } from '../../src/localnet/node/sliver-file.ts';
import { bytesOf } from '../support/blobs.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-slivers-'));
  path = join(directory, 'slivers');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const opened = (): SliverFile => {
  const file = new SliverFile(path);
  file.open();
  return file;
};

test('slivers come back as they were kept, in this process and in the next', async () => {
  const [one, two, big] = [bytesOf(1, 100), bytesOf(2, 1), bytesOf(3, 3_000_000)];
  const file = new SliverFile(path);
  expect(await file.sliver('7.primary')).toBeUndefined();
  file.append(7, 'primary', one);
  file.append(7, 'secondary', two);
  file.append(999, 'primary', big);
  await file.sync();
  for (const each of [file, opened()]) {
    expect([...each.places.keys()]).toEqual(['7.primary', '7.secondary', '999.primary']);
    expect(await each.sliver('7.primary')).toEqual(one);
    expect(await each.sliver('7.secondary')).toEqual(two);
    expect((await each.sliver('999.primary'))!.equals(big)).toBe(true);
    expect(await each.parts('999.primary', [5, 2_999_999], 2)).toEqual([
      big.subarray(5, 7),
      big.subarray(2_999_999),
    ]);
  }
});

test.each([1, 8, 9, 107])('a record that lost %i of its last bytes is none', async lost => {
  const file = new SliverFile(path);
  file.append(1, 'primary', bytesOf(1, 50));
  file.append(2, 'primary', bytesOf(2, 100));
  truncateSync(path, statSync(path).size - lost);
  const again = opened();
  expect([...again.places.keys()]).toEqual(['1.primary']);
  again.append(3, 'secondary', bytesOf(3, 70));
  expect([...opened().places.keys()]).toEqual(['1.primary', '3.secondary']);
  expect(await opened().sliver('3.secondary')).toEqual(bytesOf(3, 70));
});

test('bytes that are no record end the file', () => {
  new SliverFile(path).append(1, 'primary', bytesOf(1, 50));
  const { size } = statSync(path);
  appendFileSync(path, Buffer.alloc(4096));
  expect([...opened().places.keys()]).toEqual(['1.primary']);
  expect(statSync(path).size).toBe(size);
});

test('what was dropped stays away, and may be kept again', async () => {
  const file = new SliverFile(path);
  file.append(1, 'primary', bytesOf(1, 50));
  file.append(2, 'primary', bytesOf(2, 50));
  file.drop('1.primary');
  for (const each of [file, opened()]) {
    expect([...each.places.keys()]).toEqual(['2.primary']);
    expect(await each.sliver('1.primary')).toBeUndefined();
  }
  file.append(1, 'primary', bytesOf(3, 60));
  expect(await opened().sliver('1.primary')).toEqual(bytesOf(3, 60));
});
