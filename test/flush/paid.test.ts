/** Until when a checkpoint's files are paid, as its flush counts it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
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

/** Another process over the same directories, as after a crash. */
const reopened = async () => {
  await volume.close();
  volume = await FlushVolume.open(root);
};
const extensions = () =>
  volume.network.entries().filter(({ request }) => request.kind === 'extend');
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

test('packs that files use are renewed before they run out, and a checkpoint says so', async () => {
  volume.write('kept', 0, seededRandom(1).bytes(100_000));
  await volume.sync();
  volume.write('gone', 0, seededRandom(2).bytes(100_000));
  await volume.sync();
  const change = volume.index.change();
  const { ino } = volume.index.lookup(ROOT_INO, nameFromText('gone'))!;
  change.removeDentry(ROOT_INO, nameFromText('gone'));
  change.removeInode(ino);
  change.commit();
  volume.network.epoch = 3;
  await volume.sync(3);
  expect(extensions()).toHaveLength(0);

  volume.network.epoch = 4;
  expect(await volume.sync(4)).toMatchObject({ stored: true });
  // The pack of `gone` carries nothing that is used.
  expect(extensions().map(({ request }) => request)).toMatchObject([
    { objectIds: [volume.index.pack(1)!.objectId], endEpoch: 9 },
  ]);
  expect(volume.index.pack(1)!.endEpoch).toBe(9);
  expect(volume.index.pack(2)!.endEpoch).toBe(6);
  expect(paid()).toEqual({ checkpoint: 9, files: [{ endEpoch: 9, files: 1, bytes: 100_000 }] });
  expect(await volume.sync(4)).toMatchObject({ stored: false, wal: 0n });
  await reopened();
  expect(volume.index.pack(1)!.endEpoch).toBe(9);
});

test('a renewal that was cut short is paid once, and so is the checkpoint behind it', async () => {
  volume.write('file', 0, seededRandom(1).bytes(100_000));
  await volume.sync();
  const before = volume.flusher.spent.wal;
  volume.network.epoch = 4;
  const { network, flusher } = volume;
  const send = network.submit.bind(network);
  network.submit = async tx => {
    await send(tx);
    void flusher.close();
    throw new TuskError('aborted', 'the daemon died here');
  };
  await expect(volume.sync(4)).rejects.toMatchObject({ code: 'aborted' });
  expect(extensions()).toHaveLength(1);
  await reopened();
  volume.network.epoch = 4;
  await volume.sync(4);
  expect(extensions()).toHaveLength(1);
  expect(volume.index.pack(1)!.endEpoch).toBe(9);
  const { wal } = volume.flusher.spent;
  // One extension; registration and certification of the checkpoint that names the new end.
  expect(wal - before).toBe(30n);
});

test('what is over is not extended, and a flush goes on when renewing fails', async () => {
  volume.write('file', 0, seededRandom(1).bytes(100_000));
  await volume.sync();
  volume.network.epoch = 4;
  volume.network.signExtend = async () => {
    throw new TuskError('over_budget', 'too dear');
  };
  volume.write('new', 0, Buffer.alloc(10, 1));
  expect(await volume.sync(4)).toMatchObject({ stored: true, notRenewed: 'too dear' });
  expect(await volume.sync(4)).toMatchObject({ stored: false, notRenewed: 'too dear' });
  expect(volume.index.pack(1)!.endEpoch).toBe(6);
  await reopened();
  volume.network.epoch = 6;
  await volume.sync(6);
  expect(extensions()).toHaveLength(0);
});

test('a renewal is waited for, since nothing else of the wallet can be signed while its fate is not known', async () => {
  volume.write('file', 0, seededRandom(1).bytes(100_000));
  await volume.sync();
  volume.network.epoch = 4;
  const { network } = volume;
  const send = network.submit.bind(network);
  let lost = 0;
  network.submit = async tx => {
    if (lost++ < 2) throw new TuskError('timeout', 'no answer');
    return send(tx);
  };
  volume.write('new', 0, Buffer.alloc(10, 1));
  expect(await volume.sync(4)).toMatchObject({ stored: true });
  expect(network.entries().map(({ request }) => request.kind)).toEqual([
    ...['register', 'certify', 'extend', 'register', 'certify'],
  ]);
});

test('a checkpoint that could not be made behind a renewal is made by the next flush', async () => {
  volume.write('file', 0, seededRandom(1).bytes(100_000));
  await volume.sync();
  volume.network.epoch = 4;
  volume.write('new', 0, Buffer.alloc(10, 1));
  await volume.sync();
  volume.network.signRegister = async () => {
    throw new TuskError('unfunded', 'the renewal took the last coin');
  };
  await expect(volume.sync(4)).rejects.toMatchObject({ code: 'unfunded' });
  expect(paid()).toMatchObject({ checkpoint: 9, files: [{ endEpoch: 6 }, { endEpoch: 9 }] });
  await reopened();
  volume.network.epoch = 4;
  expect(await volume.sync(4)).toMatchObject({ stored: true });
  expect(extensions()).toHaveLength(1);
  expect(paid()).toMatchObject({ checkpoint: 9, files: [{ endEpoch: 9, files: 2 }] });
  expect(await volume.sync(4)).toMatchObject({ stored: false });
});
