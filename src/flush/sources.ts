/**
 * Open files behind the runs of a flush: log segments, and files with opened older frames. Each
 * file is opened once while the snapshot is held, so that renames of spent segments do not matter.
 */
import { closeSync, openSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import type { FrameId, LogAddr } from '../base/ids.ts';
import { SEGMENT_BYTES } from '../base/limits.ts';
import { log } from '../base/log.ts';
import type { Piece } from '../native.ts';
import { type Region, type Run, stagedOnly } from './choose.ts';
import { checkAborted } from './patience.ts';
import type { FilePlace, FlushFront } from './types.ts';

interface Opened {
  readonly fd: number;
  readonly offset: number;
}

/** Turns runs into pieces that native code reads. */
export class Sources {
  readonly #front: FlushFront;
  readonly #signal: AbortSignal;
  readonly #segments = new Map<number, Opened>();
  readonly #frames = new Map<FrameId, Opened>();
  readonly #files = new Map<string, number>();
  #unreadable = false;

  constructor(front: FlushFront, signal: AbortSignal) {
    this.#front = front;
    this.#signal = signal;
  }

  #open(place: FilePlace): Opened {
    let fd = this.#files.get(place.path);
    if (fd === undefined) {
      fd = openSync(place.path, 'r');
      this.#files.set(place.path, fd);
    }
    return { fd, offset: place.offset };
  }

  /**
   * Opens everything that a region needs; older frames may come from the network. One that cannot be
   * read is not waited for, and neither are others then: what is staged beside it must not stay here
   * for its sake, and is a region, or several, by itself.
   */
  async prepare(region: Region): Promise<Region[]> {
    const whole = await this.#openFrames(region);
    await this.#openSegments(region);
    return whole ? [region] : stagedOnly(region);
  }

  async #openFrames({ runs }: Region): Promise<boolean> {
    for (const run of runs) {
      if (run.addr >= 0 || this.#frames.has(run.frame)) continue;
      if (this.#unreadable) return false;
      try {
        const place = await this.#front.readFrame(run.frame, this.#signal);
        this.#frames.set(run.frame, this.#open(place));
      } catch (error) {
        checkAborted(this.#signal);
        this.#unreadable = true;
        log('flush').warn(
          { frame: run.frame, error: messageOf(error) },
          'an older frame is left out',
        );
        return false;
      }
    }
    return true;
  }

  async #openSegments({ runs }: Region): Promise<void> {
    for (const run of runs) {
      if (run.addr < 0) continue;
      const last = Math.floor((run.addr + run.length - 1) / SEGMENT_BYTES);
      for (let segment = Math.floor(run.addr / SEGMENT_BYTES); segment <= last; segment++) {
        if (this.#segments.has(segment)) continue;
        const addr: LogAddr = segment * SEGMENT_BYTES;
        this.#segments.set(segment, this.#open(await this.#front.stagedPlace(addr)));
      }
    }
  }

  /** Pieces of [from, from + length) within a run. */
  #ofRun(run: Run, from: number, length: number): Piece[] {
    if (run.addr < 0) {
      const { fd, offset } = this.#frames.get(run.frame)!;
      return [{ fd, offset: offset + run.at + from, length }];
    }
    const pieces: Piece[] = [];
    let addr = run.addr + from;
    for (let left = length; left > 0; ) {
      const within = addr % SEGMENT_BYTES;
      const step = Math.min(left, SEGMENT_BYTES - within);
      const { fd, offset } = this.#segments.get(Math.floor(addr / SEGMENT_BYTES))!;
      pieces.push({ fd, offset: offset + within, length: step });
      addr += step;
      left -= step;
    }
    return pieces;
  }

  /** Pieces of [from, from + length) within a region that was prepared. */
  pieces(region: Region, from: number, length: number): Piece[] {
    return overlaps(region, from, length).flatMap(({ run, skip, length: part }) =>
      this.#ofRun(run, skip, part),
    );
  }

  /** Closes all files. */
  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
    this.#files.clear();
    this.#segments.clear();
    this.#frames.clear();
  }
}

/** Parts of runs that make up [from, from + length) of a region. */
export const overlaps = (
  region: Region,
  from: number,
  length: number,
): { run: Run; skip: number; length: number }[] => {
  const start = region.offset + from;
  const end = start + length;
  const found: { run: Run; skip: number; length: number }[] = [];
  for (let i = firstRun(region.runs, start); i < region.runs.length; i++) {
    const run = region.runs[i]!;
    if (run.offset >= end) break;
    const low = Math.max(start, run.offset);
    const high = Math.min(end, run.offset + run.length);
    if (high > low) found.push({ run, skip: low - run.offset, length: high - low });
  }
  return found;
};

/** Index of the run that holds `offset`, by bisection. */
const firstRun = (runs: readonly Run[], offset: number): number => {
  let [low, high] = [0, runs.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
};
