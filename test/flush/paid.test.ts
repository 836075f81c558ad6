/** Until when a checkpoint's files are paid, as its flush counts it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { nameFromText, ROOT_INO } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { loadPaid } from '../../src/flush/paid.ts';
import { FlushVolume } from '../support/flush-volume.ts';

let root: string;
let volume: FlushVolume;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'tuskfs-paid-'));
  volume = await FlushVolume.open(root);
});
afterEach(async () => {
  await volume.close();
  rmSync(root, { recursive: true, force: true });
});

const paid = () => loadPaid(join(root, 'journal'));

test('each file counts once, where the first of its bytes ends', async () => {
  expect(paid()).toBeUndefined();
  volume.write('old', 0, Buffer.alloc(5000, 1));
  volume.write('mixed', 0, seededRandom(2).bytes(3_000_000));
  volume.write('gone', 0, Buffer.alloc(7000, 3));
  await volume.sync();
  expect(paid()).toEqual({ checkpoint: 6, files: [{ endEpoch: 6, files: 3, bytes: 3_012_000 }] });

  volume.network.epoch = 2;
  volume.write('mixed', 3_000_000, Buffer.alloc(300_000, 4));
  volume.write('new', 0, Buffer.alloc(100, 5));
  const change = volume.index.change();
  const { ino } = volume.index.lookup(ROOT_INO, nameFromText('gone'))!;
  change.removeDentry(ROOT_INO, nameFromText('gone'));
  change.removeInode(ino);
  change.commit();
  await volume.sync();
  const { files } = paid()!;
  expect(files.map(({ endEpoch }) => endEpoch)).toEqual([6, 7]);
  expect(files.map(part => part.files)).toEqual([2, 1]);
  expect(files.map(({ bytes }) => bytes)).toEqual([3_305_000, 100]);
});

test('an index that came from elsewhere is counted by the next flush, though nothing is stored', async () => {
  volume.write('file', 0, Buffer.alloc(5000, 1));
  await volume.sync();
  rmSync(join(root, 'journal', 'paid.json'));
  expect(await volume.sync()).toMatchObject({ stored: false });
  expect(paid()).toEqual({ checkpoint: null, files: [{ endEpoch: 6, files: 1, bytes: 5000 }] });
});
