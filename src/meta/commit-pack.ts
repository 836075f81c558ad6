/**
 * Enters a certified pack: frames first, then the ranges, a slice of them a record. A range counts
 * only as far as the file still holds exactly what was read for the flush; the rest was written or
 * cut meanwhile and stays as it is.
 */
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import { type ChangeHost, IndexChange } from './change.ts';
import { Kind } from './mutation.ts';
import type { Extent, FlushedRange, PackCommit } from './types.ts';

/** Ranges (or frames) a record: bounds how long the front is busy. */
const SLICE = 500;

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Does this extent still show what the range was read from? */
const isUnchanged = (extent: Extent, range: FlushedRange): boolean => {
  const skipped = extent.offset - range.offset;
  return range.addr >= 0
    ? extent.addr === range.addr + skipped
    : extent.addr < 0 && extent.frame === range.oldFrame && extent.at === range.oldAt + skipped;
};

/** Puts the matching parts of a range into the change; returns how many matched, and how many did not. */
const putRange = (host: ChangeHost, change: IndexChange, range: FlushedRange): [number, number] => {
  const { ino, offset, length } = range;
  if (host.memory.inodes.get(ino) === null) return [0, 1];
  let matched = 0;
  let bytes = 0;
  for (const extent of host.memory.extents(ino).within(offset, offset + length)) {
    if (!isUnchanged(extent, range)) continue;
    matched++;
    bytes += extent.length;
    const at = range.at + (extent.offset - offset);
    const { frame } = range;
    const place = { kind: Kind.place, ino, clears: 0, addr: -1, frame, at };
    change.put({ ...place, offset: extent.offset, length: extent.length });
  }
  return [matched > 0 ? 1 : 0, bytes < length ? 1 : 0];
};

const commit = (change: IndexChange): void => {
  if (change.commit(true) === -Errno.ENOSPC)
    throw new TuskError(
      'disk_full',
      'no space is left in the state directory to enter a stored pack; nothing is lost: free some space',
    );
};

/** As `Index.commitPack`, without the sync at the end. */
export const commitPack = async (
  host: ChangeHost,
  pack: PackCommit,
): Promise<{ applied: number; superseded: number }> => {
  const total = { applied: 0, superseded: 0 };
  let change = new IndexChange(host);
  change.put({ kind: Kind.pack, row: pack.pack });
  for (const [i, place] of pack.frames.entries()) {
    change.put({ kind: Kind.frame, place });
    if ((i + 1) % SLICE !== 0) continue;
    commit(change);
    await turn();
    change = new IndexChange(host);
  }
  commit(change);
  for (let i = 0; i < pack.ranges.length; i += SLICE) {
    await turn();
    const slice = new IndexChange(host);
    for (const range of pack.ranges.slice(i, i + SLICE)) {
      const [applied, superseded] = putRange(host, slice, range);
      total.applied += applied;
      total.superseded += superseded;
    }
    commit(slice);
  }
  return total;
};
