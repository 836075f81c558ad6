/** The last, partial page of every file stays on this machine when its bytes leave the log (S-50). */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ino } from '../../src/base/ids.ts';
import type { MetaIndex } from '../../src/meta/index.ts';
import { openSmall, scratchPlace, settled } from './support.ts';

let place: ReturnType<typeof scratchPlace>;
let index: MetaIndex;
beforeEach(async () => {
  place = scratchPlace();
  index = await openSmall(place);
});
afterEach(async () => {
  await index.close();
  place.remove();
});

const reopen = async (end: 'close' | 'crash'): Promise<void> => {
  await index[end]();
  index = await openSmall(place);
};

/** Bytes that differ from place to place. */
const noise = (length: number, from = 0): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => ((from + i) * 7 + ((from + i) >> 8)) & 255));

const addFile = (data: Buffer): Ino => {
  const change = index.change();
  const { ino } = change.createInode({ mode: 0o100600, nlink: 1, size: data.length });
  change.setDentry(1, `f${ino}`, ino, 8);
  change.stage(ino, 0, data);
  expect(change.commit()).toBe(0);
  return ino;
};

const write = (ino: Ino, offset: number, data: Buffer): void => {
  const change = index.change();
  change.stage(ino, offset, data);
  change.setInode(ino, { size: Math.max(index.inode(ino)!.size, offset + data.length) });
  expect(change.commit()).toBe(0);
};

const truncate = (ino: Ino, size: number): void => {
  const change = index.change();
  change.cut(ino, size, Number.MAX_SAFE_INTEGER);
  change.setInode(ino, { size });
  expect(change.commit()).toBe(0);
};

/** Enters a pack whose frames show what [from, to) of a file shows now, cut at these places; as any flush, of synced bytes only. */
const flush = async (ino: Ino, pack: number, cuts: number[]): Promise<void> => {
  await index.sync();
  const frames = cuts.slice(1).map((to, slot) => ({
    ...{ frame: pack * 10 + slot, identity: Buffer.alloc(32, pack * 10 + slot), pack, slot },
    ...{ offset: 100 * slot, sealedBytes: 100, compression: 0, plainBytes: to - cuts[slot]! },
  }));
  const ranges = frames.flatMap(({ frame, plainBytes }, i) =>
    index.extents(ino, cuts[i]!, plainBytes).map(extent => ({
      ...{ ino, offset: extent.offset, length: extent.length, addr: extent.addr },
      ...{ oldFrame: extent.frame, oldAt: extent.at, frame, at: extent.offset - cuts[i]! },
    })),
  );
  const row = {
    ...{ pack, packId: Buffer.alloc(16, pack), salt: Buffer.alloc(32, 2), size: 400_000 },
    ...{ nShards: 100, blobId: Buffer.alloc(32, 3), objectId: '0x4', endEpoch: 5 },
  };
  const { superseded } = await index.commitPack({ pack: row, frames, ranges });
  expect(superseded).toBe(0);
};

/** What is kept of [from, to) of a file, all of which must show frames. */
const kept = (ino: Ino, from: number, to: number): Buffer | undefined => {
  const parts = index.extents(ino, from, to - from).map(extent => {
    expect(extent.frame).toBeGreaterThan(0);
    return index.tail(ino, index.frame(extent.frame)!, extent.at, extent.length);
  });
  return parts.every(part => part !== undefined) ? Buffer.concat(parts) : undefined;
};

test.each(['close', 'crash'] as const)(
  'the last page is kept, also where frames meet in it, and outlives the end by %s',
  async end => {
    const data = noise(10_000);
    const ino = addFile(data);
    const whole = addFile(noise(8192));
    await flush(ino, 1, [0, 5000, 9000, 10_000]);
    await flush(whole, 2, [0, 8192]);
    await reopen(end);
    expect(kept(ino, 8192, 10_000)).toEqual(data.subarray(8192));
    expect(kept(ino, 8200, 8300)).toEqual(data.subarray(8200, 8300));
    expect(kept(ino, 4096, 8192), 'no other page').toBeUndefined();
    expect(kept(whole, 4096, 8192), 'no page of a file that ends with one').toBeUndefined();
  },
);

test('appending moves it: the old page goes, the new one is kept, out of log and kept bytes', async () => {
  const data = noise(13_000);
  const ino = addFile(data.subarray(0, 5000));
  await flush(ino, 1, [0, 5000]);
  // As a direct write does: the page is part frame, part log.
  write(ino, 5000, data.subarray(5000, 6000));
  await flush(ino, 2, [0, 6000]);
  expect(kept(ino, 4096, 6000)).toEqual(data.subarray(4096, 6000));
  write(ino, 4096, data.subarray(4096));
  await flush(ino, 3, [4096, 13_000]);
  expect(kept(ino, 12_288, 13_000)).toEqual(data.subarray(12_288));
  expect(kept(ino, 4096, 6000)).toBeUndefined();
});

test('what was cut or removed is dropped; what is left of a page after a cut in it stays', async () => {
  const data = noise(5000);
  const [shorter, shortest, gone] = [addFile(data), addFile(data), addFile(data)];
  for (const [i, ino] of [shorter, shortest, gone].entries()) await flush(ino, i + 1, [0, 5000]);
  const frame = index.frame(index.extents(gone, 4096, 904)[0]!.frame)!;
  expect(index.tail(gone, frame, 4096, 904)).toEqual(data.subarray(4096));
  truncate(shorter, 4500);
  truncate(shortest, 4000);
  const change = index.change();
  change.removeDentry(1, `f${gone}`);
  change.removeInode(gone);
  expect(change.commit()).toBe(0);
  await settled(index);
  expect(kept(shorter, 4096, 4500)).toEqual(data.subarray(4096, 4500));
  expect(kept(shortest, 0, 4000)).toBeUndefined();
  expect(index.tail(gone, frame, 4096, 904)).toBeUndefined();
});

test('a file written again while its pack was on the way keeps nothing outdated', async () => {
  const ino = addFile(noise(3000));
  await flush(ino, 1, [0, 3000]);
  const old = index.frame(index.extents(ino, 0, 3000)[0]!.frame)!;
  write(ino, 0, noise(3000, 99));
  await flush(ino, 2, [0, 3000]);
  expect(kept(ino, 0, 3000)).toEqual(noise(3000, 99));
  expect(index.tail(ino, old, 0, 3000)).toBeUndefined();
  expect(index.tail(ino, { ...old, identity: Buffer.alloc(32, 1) }, 0, 3000)).toBeUndefined();
});

test('damaged, it is only missing', async () => {
  const ino = addFile(noise(3000));
  await flush(ino, 1, [0, 3000]);
  await index.close();
  writeFileSync(join(place.directory, 'tails.db'), Buffer.alloc(50_000, 'no database'));
  index = await openSmall(place);
  expect(kept(ino, 0, 3000)).toBeUndefined();
  write(ino, 0, noise(3000, 5));
  await flush(ino, 2, [0, 3000]);
  await settled(index);
  expect(kept(ino, 0, 3000)).toEqual(noise(3000, 5));
});
