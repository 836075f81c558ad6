/**
 * Enters a certified pack: frames first, then the ranges, a slice of them a record. A range counts
 * only as far as the file still holds exactly what was read for the flush; the rest was written or
 * cut meanwhile and stays as it is. The last pages of files are kept before the log may lose them.
 */
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import type { FrameId, Ino } from '../base/ids.ts';
import { type ChangeHost, IndexChange } from './change.ts';
import { Kind } from './mutation.ts';
import { lastPageOf, type TailPiece } from './tails.ts';
import type { Extent, FlushedRange, FramePlace, PackCommit } from './types.ts';

/** Ranges (or frames) a record: bounds how long the front is busy. */
const SLICE = 500;

/** Where last pages are kept. */
export interface Tails {
  find(ino: Ino, frame: FramePlace, at: number, length: number): Buffer | undefined;
  keep(pieces: TailPiece[]): Promise<void>;
}

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

/** The runs that ranges make now. */
const matchRanges = (host: ChangeHost, ranges: readonly FlushedRange[]) => {
  const found = { runs: [] as Run[], applied: 0, superseded: 0 };
  for (const range of ranges) {
    const [applied, superseded] = matchRange(host, found.runs, range);
    found.applied += applied;
    found.superseded += superseded;
  }
  return found;
};

/** What an extent shows, if it is here: in the log, or kept before. */
const shownBytes = (
  host: ChangeHost,
  tails: Tails,
  ino: Ino,
  extent: Extent,
): Buffer | undefined => {
  const { addr, frame, at, length } = extent;
  if (addr >= 0) {
    const bytes = host.log.segments.bytes(addr, length);
    return typeof bytes === 'string' ? undefined : bytes;
  }
  const place = host.memory.frames.get(frame);
  return place === null ? undefined : tails.find(ino, place, at, length);
};

/** The part of a run that lies in its file's last, partial page, if all of it is here. */
const piecesOf = (host: ChangeHost, tails: Tails, run: Run): TailPiece[] => {
  const { ino, frame } = run;
  const size = host.memory.inodes.get(ino)?.size ?? 0;
  const from = Math.max(lastPageOf(size), run.offset);
  const to = Math.min(size, run.offset + run.length);
  const identity = host.memory.frames.get(frame)?.identity;
  if (from >= to || identity === undefined) return [];
  const parts: Buffer[] = [];
  for (const extent of host.memory.extents(ino).within(from, to)) {
    const shown = shownBytes(host, tails, ino, extent);
    if (shown === undefined) return [];
    parts.push(shown);
  }
  const at = run.at + from - run.offset;
  return [{ ino, offset: from, identity, at, bytes: Buffer.concat(parts) }];
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
  tails: Tails,
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
    const ranges = pack.ranges.slice(i, i + SLICE);
    const pieces = matchRanges(host, ranges).runs.flatMap(run => piecesOf(host, tails, run));
    if (pieces.length > 0) await tails.keep(pieces);
    // Matched anew: the tree may have changed meanwhile.
    const { runs, applied, superseded } = matchRanges(host, ranges);
    total.applied += applied;
    total.superseded += superseded;
    const slice = new IndexChange(host);
    for (const run of runs) slice.put({ kind: Kind.place, clears: 0, addr: -1, ...run });
    commit(slice);
  }
  return total;
};
