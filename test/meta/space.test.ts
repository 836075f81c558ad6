import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Errno } from '../../src/base/errno.ts';
import { slotsIn, stagedPlace } from '../../src/log/place.ts';
import { checkIndex } from '../../src/meta/check.ts';
import type { MetaIndex } from '../../src/meta/index.ts';
import type { PackCommit } from '../../src/meta/types.ts';
import { until } from '../support/sandbox.ts';
import { contentOf, MiB, openSmall, scratchPlace, settled, treeOf } from './support.ts';

let place: ReturnType<typeof scratchPlace>;
beforeEach(() => {
  place = scratchPlace();
});
afterEach(() => place.remove());

const addFile = (index: MetaIndex, name: string, data: Buffer, reserve = false): number => {
  const change = index.change();
  const { ino } = change.createInode({ mode: 0o100600, nlink: 1, size: data.length });
  change.setDentry(1, name, ino, 8);
  change.stage(ino, 0, data);
  const done = change.commit(reserve);
  return done < 0 ? done : ino;
};

test('a pack replaces exactly what was not written meanwhile, and its bytes leave the log', async () => {
  const index = await openSmall(place);
  const ino = addFile(index, 'a', Buffer.alloc(300_000, 7));
  const gone = addFile(index, 'b', Buffer.alloc(1000, 8));
  const [read] = index.extents(ino, 0, 300_000);
  const [readGone] = index.extents(gone, 0, 1000);
  const snapshot = await index.snapshot(join(place.root, 'copy'));
  // Written again meanwhile: the same bytes, but another generation.
  const change = index.change();
  change.stage(ino, 100_000, Buffer.alloc(50_000, 9));
  change.removeDentry(1, 'b');
  change.removeInode(gone);
  expect(change.commit()).toBe(0);
  const commit: PackCommit = {
    pack: {
      ...{ pack: 1, packId: Buffer.alloc(16, 1), salt: Buffer.alloc(32, 2), size: 400_000 },
      ...{ nShards: 100, blobId: Buffer.alloc(32, 3), objectId: '0x4', endEpoch: 5 },
    },
    frames: [
      {
        ...{ frame: 7, identity: Buffer.alloc(32, 6), pack: 1, slot: 0, offset: 100 },
        ...{ sealedBytes: 300_016, plainBytes: 301_000, compression: 0 },
      },
    ],
    ranges: [
      {
        ...{ ino, offset: 0, length: 300_000, addr: read!.addr },
        ...{ oldFrame: 0, oldAt: 0, frame: 7, at: 0 },
      },
      {
        ...{ ino: gone, offset: 0, length: 1000, addr: readGone!.addr },
        ...{ oldFrame: 0, oldAt: 0, frame: 7, at: 300_000 },
      },
    ],
  };
  expect(await index.commitPack(commit)).toEqual({ applied: 1, superseded: 2 });
  expect(index.isSynced()).toBe(true);
  await snapshot.release();
  expect(index.extents(ino, 0, 300_000)).toMatchObject([
    { offset: 0, length: 100_000, addr: -1, frame: 7, at: 0 },
    { offset: 100_000, length: 50_000, frame: 0 },
    { offset: 150_000, length: 150_000, addr: -1, frame: 7, at: 150_000 },
  ]);
  expect(index.totals()).toMatchObject({ stagedBytes: 50_000, stagedFiles: 1, inodes: 2 });
  expect(index.frame(7)?.pack).toBe(1);
  // Frames that move to other frames: only where they still stand.
  const [first] = commit.ranges;
  const repack = { ...first!, addr: -1, oldFrame: 7, oldAt: 0, frame: 7, at: 500 };
  expect(await index.commitPack({ ...commit, ranges: [repack] })).toEqual({
    ...{ applied: 1, superseded: 1 },
  });
  expect(index.extents(ino, 0, 10)).toMatchObject([{ frame: 7, at: 500 }]);
  const before = treeOf(index);
  await index.crash();
  const again = await openSmall(place);
  expect(treeOf(again)).toEqual(before);
  await again.close();
  expect(checkIndex(place.directory)).toEqual([]);
});

test('a snapshot is one moment, and a restored index.db goes on by itself', async () => {
  const index = await openSmall(place);
  let stop = false;
  let count = 0;
  const busy = (async () => {
    while (!stop) {
      for (let i = 0; i < 20; i++) addFile(index, `n${count++}`, Buffer.alloc(200, count));
      await new Promise(resolve => setImmediate(resolve));
    }
  })();
  const copies: { directory: string; atLeast: number; files: number }[] = [];
  for (let i = 0; i < 3; i++) {
    const atLeast = count;
    const { directory } = await index.snapshot(join(place.root, `copy${i}`));
    expect(checkIndex(directory)).toEqual([]);
    copies.push({ directory, atLeast, files: count });
  }
  stop = true;
  await busy;
  const alone = { directory: join(place.root, 'restored'), logDirectory: join(place.root, 'rlog') };
  mkdirSync(alone.directory);
  copyFileSync(join(copies[2]!.directory, 'index.db'), join(alone.directory, 'index.db'));
  const restored = await openSmall(alone);
  expect(restored.totals().inodes - 1).toBeGreaterThanOrEqual(copies[2]!.atLeast);
  expect(restored.totals()).toMatchObject({ stagedBytes: 0 });
  expect(addFile(restored, 'new', Buffer.alloc(10))).toBeGreaterThan(0);
  await restored.crash();
  const again = await openSmall(alone);
  expect(again.lookup(1, 'new')).toBeDefined();
  await again.close();
  // A copy after one small change differs in few pages only.
  await index.snapshot(join(place.root, 'one'));
  const change = index.change();
  change.setInode(1, { mtime: 77 });
  expect(change.commit()).toBe(0);
  await index.snapshot(join(place.root, 'two'));
  const [a, b] = ['one', 'two'].map(name => readFileSync(join(place.root, name, 'index.db')));
  let changed = 0;
  for (let at = 0; at < b!.length; at += 4096)
    if (!a!.subarray(at, at + 4096).equals(b!.subarray(at, at + 4096))) changed++;
  expect(changed).toBeLessThanOrEqual(3);
  expect(b!.length / 4096).toBeGreaterThan(10);
  await index.close();
});

test('dead segments go, half-dead ones are emptied, reclaim leaves no byte', async () => {
  const index = await openSmall(place, { segmentBytes: 4 * MiB });
  const marker = Buffer.alloc(512 * 1024, 'content of a file ');
  const inos = Array.from({ length: 190 }, (_, i) => addFile(index, `f${i}`, marker));
  // Seven of eight die: every segment keeps a little.
  for (const [i, ino] of inos.entries()) {
    if (i % 8 === 0) continue;
    const change = index.change();
    change.removeDentry(1, `f${i}`);
    change.removeInode(ino);
    expect(change.commit()).toBe(0);
  }
  await settled(index);
  // What the disk has altered stays where it is.
  const [altered] = index.extents(inos[0]!, 0, marker.length);
  const { path, offset } = stagedPlace(place.logDirectory, altered!.addr);
  const fd = openSync(path, 'r+');
  writeSync(fd, 'X', offset + 100_000);
  closeSync(fd);
  await index.reclaim();
  await index.reclaim();
  const { stagedBytes } = index.totals();
  const used = index.metrics().segments * 4 * MiB;
  expect(stagedBytes).toBe(24 * marker.length);
  expect(used).toBeLessThanOrEqual(2 * stagedBytes + 64 * MiB + 8 * MiB);
  for (let i = 8; i < 190; i += 8)
    expect(contentOf(index, inos[i]!, marker.length).equals(marker)).toBe(true);
  expect(index.extents(inos[0]!, 0, marker.length)).toEqual([altered]);
  expect(() => contentOf(index, inos[0]!, marker.length)).toThrow('were altered on the disk');
  const change = index.change();
  for (let i = 0; i < 190; i += 8) {
    change.removeDentry(1, `f${i}`);
    change.removeInode(inos[i]!);
  }
  expect(change.commit()).toBe(0);
  await index.reclaim();
  expect(index.logIsIdle()).toBe(true);
  for (const name of readdirSync(place.logDirectory)) {
    const path = join(place.logDirectory, name);
    if (statSync(path, { throwIfNoEntry: false }) === undefined) continue;
    expect(readFileSync(path).includes('content of a file')).toBe(false);
  }
  await index.close();
  expect(checkIndex(place.directory)).toEqual([]);
});

test('what a burst has written serves the next one: its blocks are there', async () => {
  const index = await openSmall(place, { segmentBytes: 2 * MiB, reserveBytes: 2 * MiB });
  const burst = (files: number): void => {
    for (let i = 0; i < files; i++)
      expect(addFile(index, `f${i}`, Buffer.alloc(190_000, 1))).toBeGreaterThan(0);
  };
  burst(70);
  const { coldSegments } = index.metrics();
  expect(coldSegments).toBeGreaterThan(2);
  for (let i = 0; i < 70; i++) {
    const change = index.change();
    change.removeInode(index.lookup(1, `f${i}`)!.ino);
    change.removeDentry(1, `f${i}`);
    expect(change.commit(true)).toBe(0);
  }
  await settled(index);
  await until('dead segments are freed', () => index.log.segments.usedCount <= 2, 20_000);
  // As many segments as are kept: the reserve, and two more.
  burst(28);
  expect(index.metrics().coldSegments).toBe(coldSegments);
  await index.close();
});

test('a dead segment stays until a later one is sure to survive a power loss: slots never go back', async () => {
  const index = await openSmall(place);
  const data = Buffer.alloc(700_000, 1);
  const change = index.change();
  change.removeInode(addFile(index, 'a', data));
  change.removeDentry(1, 'a');
  expect(change.commit()).toBe(0);
  const snapshot = await index.snapshot(join(place.root, 'copy'));
  addFile(index, 'b', data);
  await snapshot.release();
  await new Promise(resolve => setImmediate(resolve));
  expect(index.log.syncedSeq).toBeLessThan(index.log.lastSeq);
  expect(slotsIn(place.logDirectory)).toEqual([1, 2]);
  await index.sync();
  await (await index.snapshot(join(place.root, 'copy'))).release();
  await new Promise(resolve => setImmediate(resolve));
  expect(slotsIn(place.logDirectory)).toEqual([2]);
  await index.close();
});

test('what a snapshot may still read stays until it is released, however dead', async () => {
  const index = await openSmall(place);
  const data = Buffer.alloc(700_000, 1);
  const ino = addFile(index, 'a', data);
  const snapshot = await index.snapshot(join(place.root, 'copy'));
  const change = index.change();
  change.removeInode(ino);
  change.removeDentry(1, 'a');
  expect(change.commit()).toBe(0);
  addFile(index, 'b', data);
  await index.reclaim();
  expect(slotsIn(place.logDirectory)).toEqual([1, 2]);
  await snapshot.release();
  await index.reclaim();
  expect(slotsIn(place.logDirectory)).not.toContain(1);
  await index.close();
});

/** Runs with a log on a small disk. */
const onSmallDisk = async (
  run: (where: { directory: string; logDirectory: string }, mount: string) => Promise<void>,
  mebibytes = 24,
): Promise<void> => {
  const mount = join(place.root, 'small');
  mkdirSync(mount);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', mount]);
  try {
    await run({ directory: place.directory, logDirectory: join(mount, 'log') }, mount);
  } finally {
    execFileSync('umount', ['-l', mount]);
  }
};

test('a full disk: growth fails, the reserve serves, space that comes back serves again', async () => {
  await onSmallDisk(async (where, mount) => {
    const sizes = { segmentBytes: 2 * MiB, reserveBytes: 6 * MiB };
    const index = await openSmall(where, sizes);
    const ballast = join(mount, 'ballast');
    writeFileSync(ballast, Buffer.alloc(4 * MiB));
    const data = Buffer.alloc(600_000, 1);
    let files = 0;
    let result = 0;
    while ((result = addFile(index, `f${files}`, data)) > 0) files++;
    expect(result).toBe(-Errno.ENOSPC);
    expect(files).toBeGreaterThan(5);
    expect(index.lookup(1, `f${files}`)).toBeUndefined();
    let reserved = 0;
    while (addFile(index, `r${reserved}`, data, true) > 0) reserved++;
    expect(reserved * data.length).toBeGreaterThan(5 * MiB);
    expect(addFile(index, 'small', Buffer.alloc(10))).toBe(-Errno.ENOSPC);
    await index.sync();
    const before = treeOf(index);
    await index.crash();
    const again = await openSmall(where, sizes);
    expect(treeOf(again)).toEqual(before);
    for (let i = 0; i < files; i++) {
      const change = again.change();
      const { ino } = again.lookup(1, `f${i}`)!;
      change.removeDentry(1, `f${i}`);
      change.removeInode(ino);
      expect(change.commit(true)).toBe(0);
    }
    execFileSync('rm', [ballast]);
    await again.reclaim();
    expect(addFile(again, 'small', Buffer.alloc(10))).toBeGreaterThan(0);
    await again.close();
    expect(checkIndex(where.directory)).toEqual([]);
  });
});

test('a full disk: what was deleted gives its space back to who lacks it, at once or when a snapshot ends', async () => {
  await onSmallDisk(async where => {
    const index = await openSmall(where, { segmentBytes: 2 * MiB, reserveBytes: 4 * MiB });
    const fill = (): number => {
      let files = 0;
      while (addFile(index, `f${files}`, Buffer.alloc(600_000, 1)) > 0) files++;
      return files;
    };
    const empty = (files: number): void => {
      for (let i = 0; i < files; i++) {
        const change = index.change();
        change.removeInode(index.lookup(1, `f${i}`)!.ino);
        change.removeDentry(1, `f${i}`);
        expect(change.commit(true)).toBe(0);
      }
    };
    const files = fill();
    expect(files).toBeGreaterThan(5);
    // Nothing was deleted: nothing to wait for.
    expect(index.relief()).toBeUndefined();
    empty(files);
    expect(addFile(index, 'small', Buffer.alloc(600_000))).toBe(-Errno.ENOSPC);
    await index.relief();
    expect(addFile(index, 'small', Buffer.alloc(600_000))).toBeGreaterThan(0);

    const more = fill();
    const snapshot = await index.snapshot(join(place.root, 'copy'));
    empty(more);
    expect(addFile(index, 'late', Buffer.alloc(600_000))).toBe(-Errno.ENOSPC);
    const relief = index.relief();
    await snapshot.release();
    await relief;
    expect(addFile(index, 'late', Buffer.alloc(600_000))).toBeGreaterThan(0);
    await index.close();
  });
});

test('a full disk: what the index lacks to let go of what was deleted is held for it', async () => {
  await onSmallDisk(async ({ logDirectory }, mount) => {
    const where = { directory: join(mount, 'index'), logDirectory };
    const index = await openSmall(where, { segmentBytes: 2 * MiB, reserveBytes: 4 * MiB });
    const data = Buffer.alloc(600_000, 1);
    let files = 0;
    while (addFile(index, `f${files}`, data) > 0) files++;
    execFileSync('sh', ['-c', 'cat /dev/zero > filler 2> /dev/null || true'], { cwd: mount });
    const change = index.change();
    for (let i = 0; i < files; i++) {
      change.removeInode(index.lookup(1, `f${i}`)!.ino);
      change.removeDentry(1, `f${i}`);
    }
    // More than SQLite's files have room for.
    for (let i = 0; i < 20; i++) change.setXattr(1, `user.${i}`, Buffer.alloc(64 * 1024, i));
    expect(change.commit(true)).toBe(0);
    expect(addFile(index, 'more', data)).toBe(-Errno.ENOSPC);
    await index.relief();
    expect(addFile(index, 'more', data)).toBeGreaterThan(0);
    await index.close();
  }, 48);
});

test('a log that was all applied when it was opened may be freed before anything is written', async () => {
  const before = await openSmall(place);
  const change = before.change();
  const { ino } = change.createInode({ mode: 0o100600, nlink: 1 });
  change.setDentry(1, 'a', ino, 8);
  expect(change.commit()).toBe(0);
  await settled(before);
  await before.close();
  const index = await openSmall(place);
  let fatal: Error | undefined;
  index.onFatal(error => {
    fatal = error;
  });
  await index.reclaim();
  const later = addFile(index, 'b', Buffer.alloc(1000, 1));
  await index.sync();
  const end = Date.now() + 10_000;
  while (index.metrics().lagRecords > 0 && fatal === undefined && Date.now() < end)
    await new Promise(resolve => setTimeout(resolve, 5));
  expect(fatal).toBeUndefined();
  expect(contentOf(index, later, 1000)).toEqual(Buffer.alloc(1000, 1));
  await index.close();
});

test('a snapshot keeps what was written while it was being made durable', async () => {
  const index = await openSmall(place);
  addFile(index, 'a', Buffer.alloc(1000));
  const earlier = index.sync();
  addFile(index, 'b', Buffer.alloc(1000));
  // The sync under way is too early for it, and the next one takes with it what comes meanwhile.
  const taking = index.snapshot(join(place.root, 'copy'));
  const data = Buffer.alloc(600_000, 'kept');
  const names = ['c', 'd', 'e', 'f'];
  for (const name of names) addFile(index, name, data);
  await earlier;
  const snapshot = await taking;
  for (const name of names) {
    const change = index.change();
    change.removeInode(index.lookup(1, name)!.ino);
    change.removeDentry(1, name);
    expect(change.commit()).toBe(0);
  }
  await settled(index);
  await index.reclaim();
  const copy = new Database(join(snapshot.directory, 'local.db'));
  const staged = copy
    .prepare('SELECT addr, length FROM staged WHERE length = ?')
    .all(data.length) as { addr: number; length: number }[];
  copy.close();
  expect(staged).toHaveLength(names.length);
  for (const { addr, length } of staged) {
    const { path, offset } = stagedPlace(place.logDirectory, addr);
    expect(
      readFileSync(path)
        .subarray(offset, offset + length)
        .equals(data),
    ).toBe(true);
  }
  await snapshot.release();
  await index.close();
});

test('a segment that nothing was written to stays until the index writer has passed it', async () => {
  const index = await openSmall(place);
  let fatal: Error | undefined;
  index.onFatal(error => {
    fatal = error;
  });
  addFile(index, 'a', Buffer.alloc(1000));
  await index.reclaim();
  const empty = index.log.head!;
  // As when one comes up whose blocks were written before.
  expect([index.log.headIsEmpty, index.log.roll(false)]).toEqual([true, true]);
  const ino = addFile(index, 'b', Buffer.alloc(1000, 1));
  const pack = {
    ...{ pack: 1, packId: Buffer.alloc(16, 1), salt: Buffer.alloc(32, 2), size: 400_000 },
    ...{ nShards: 100, blobId: Buffer.alloc(32, 3), objectId: '0x4', endEpoch: 5 },
  };
  await index.commitPack({ pack, frames: [], ranges: [] });
  await until('the writer is done', () => index.metrics().lagRecords === 0 || fatal !== undefined);
  expect(fatal).toBeUndefined();
  expect(contentOf(index, ino, 1000)).toEqual(Buffer.alloc(1000, 1));
  await until('it is freed', () => ![...index.log.segments.used].includes(empty));
  await index.close();
});
