/**
 * Enters a certified pack: frames first, then the ranges, a slice of them a record. A range counts
 * only as far as the file still holds exactly what was read for the flush; the rest was written or
 * cut meanwhile and stays as it is.
 */
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import type { FrameId, Ino } from '../base/ids.ts';
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

/** Runs of a file that will show a frame. */
interface Run {
  readonly ino: Ino;
  readonly offset: number;
  length: number;
  readonly frame: FrameId;
  readonly at: number;
}

/** Appends a run, to the one before it if it goes on there: the log's records need not show in the index. */
const pushRun = (runs: Run[], run: Run): void => {
  const last = runs.at(-1);
  const continues =
    last !== undefined &&
    last.ino === run.ino &&
    last.frame === run.frame &&
    last.offset + last.length === run.offset &&
    last.at + last.length === run.at;
  if (continues) last.length += run.length;
  else runs.push(run);
};

/** Adds the matching parts of a range to the runs; returns how many matched, and how many did not. */
const matchRange = (host: ChangeHost, runs: Run[], range: FlushedRange): [number, number] => {
  const { ino, offset, length, frame } = range;
  if (host.memory.inodes.get(ino) === null) return [0, 1];
  let matched = 0;
  let bytes = 0;
  for (const extent of host.memory.extents(ino).within(offset, offset + length)) {
    if (!isUnchanged(extent, range)) continue;
    matched++;
    bytes += extent.length;
    const at = range.at + (extent.offset - offset);
    pushRun(runs, { ino, offset: extent.offset, length: extent.length, frame, at });
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
    const runs: Run[] = [];
    for (const range of pack.ranges.slice(i, i + SLICE)) {
      const [applied, superseded] = matchRange(host, runs, range);
      total.applied += applied;
      total.superseded += superseded;
    }
    for (const run of runs) slice.put({ kind: Kind.place, clears: 0, addr: -1, ...run });
    commit(slice);
  }
  return total;
};
