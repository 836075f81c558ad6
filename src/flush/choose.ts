/**
 * What a flush stores: every staged range, extended over what it cut into, so that frames stay
 * whole. Regions are read from the snapshot's two databases only; nothing here changes them.
 */
import type Database from 'better-sqlite3';
import type { FrameId, Ino, LogAddr } from '../base/ids.ts';
import { FRAME_BYTES_MIN } from '../base/limits.ts';

/** A run of a file's bytes as the snapshot knows it. */
export interface Run {
  readonly offset: number;
  readonly length: number;
  /** Log address, or −1 if the bytes stand in a frame. */
  readonly addr: LogAddr;
  readonly frame: FrameId;
  /** Offset in the opened frame. */
  readonly at: number;
  /** Bytes of the opened frame; 0 if staged. */
  readonly framePlain: number;
}

/** Adjacent runs of one file that are cut into frames together. */
export interface Region {
  readonly ino: Ino;
  readonly offset: number;
  readonly length: number;
  readonly runs: readonly Run[];
}

/** What was chosen. */
export interface Choice {
  readonly regions: Region[];
  readonly files: number;
  /** Staged bytes in the regions. */
  readonly stagedBytes: number;
}

type StagedRow = { ino: Ino; offset: number; length: number; addr: LogAddr };

/** Does the run show only a part of its frame, or a frame so small that it had better be joined? */
const joins = (run: Run): boolean =>
  run.at > 0 || run.length < run.framePlain || run.framePlain < FRAME_BYTES_MIN;

/** Runs that show one frame without a gap, as one: the index may hold a frame in several rows. */
const merged = (runs: readonly Run[]): Run[] => {
  const out: Run[] = [];
  for (const run of runs) {
    const last = out.at(-1);
    const continues =
      last !== undefined &&
      run.addr < 0 &&
      last.frame === run.frame &&
      last.offset + last.length === run.offset &&
      last.at + last.length === run.at;
    if (continues) out[out.length - 1] = { ...last, length: last.length + run.length };
    else out.push(run);
  }
  return out;
};

/** Staged runs with the neighbours that they cut into, as regions without holes. */
export const regionsOf = (ino: Ino, sorted: readonly Run[]): Region[] => {
  const runs = merged(sorted);
  const touches = (left: Run | undefined, right: Run | undefined): boolean =>
    left !== undefined && right !== undefined && left.offset + left.length === right.offset;
  const chosen = runs.map(run => run.addr >= 0);
  const spread = (i: number, neighbour: number): void => {
    const [low, high] = [Math.min(i, neighbour), Math.max(i, neighbour)];
    if (chosen[neighbour] && touches(runs[low], runs[high]) && joins(runs[i]!)) chosen[i] = true;
  };
  for (let i = 1; i < runs.length; i++) spread(i, i - 1);
  for (let i = runs.length - 2; i >= 0; i--) spread(i, i + 1);

  return joined(
    ino,
    runs.filter((_, i) => chosen[i]),
  );
};

/** Runs in order, those that touch as one region. */
const joined = (ino: Ino, runs: readonly Run[]): Region[] => {
  const regions: { ino: Ino; offset: number; length: number; runs: Run[] }[] = [];
  for (const run of runs) {
    const last = regions.at(-1);
    if (last !== undefined && last.offset + last.length === run.offset) {
      last.length += run.length;
      last.runs.push(run);
    } else regions.push({ ino, offset: run.offset, length: run.length, runs: [run] });
  }
  return regions;
};

/** What of a region is staged. */
export const stagedOnly = ({ ino, runs }: Region): Region[] =>
  joined(
    ino,
    runs.filter(run => run.addr >= 0),
  );

/** All regions of a snapshot, in the order of inodes. Files without a name are not worth storing. */
export const choose = (index: Database.Database, local: Database.Database): Choice => {
  const named = index.prepare('SELECT 1 FROM inode WHERE ino = ? AND nlink > 0');
  const extents = index.prepare(
    `SELECT e.offset, e.length, -1 AS addr, e.frame, e.frame_offset AS at, f.plain_bytes AS framePlain
     FROM extent e JOIN frame f ON f.id = e.frame WHERE e.ino = ?`,
  );
  const choice: Choice & { files: number; stagedBytes: number } = {
    regions: [],
    files: 0,
    stagedBytes: 0,
  };
  const close = (ino: Ino, staged: Run[]): void => {
    if (staged.length === 0 || named.get(ino) === undefined) return;
    const runs = [...staged, ...(extents.all(ino) as Run[])].sort((a, b) => a.offset - b.offset);
    choice.regions.push(...regionsOf(ino, runs));
    choice.files++;
    for (const run of staged) choice.stagedBytes += run.length;
  };
  let ino: Ino = 0;
  let staged: Run[] = [];
  const rows = local
    .prepare('SELECT ino, offset, length, addr FROM staged ORDER BY ino, offset')
    .iterate() as IterableIterator<StagedRow>;
  for (const row of rows) {
    if (row.ino !== ino) close(ino, staged);
    if (row.ino !== ino) [ino, staged] = [row.ino, []];
    const { offset, length, addr } = row;
    staged.push({ offset, length, addr, frame: 0, at: 0, framePlain: 0 });
  }
  close(ino, staged);
  return choice;
};
