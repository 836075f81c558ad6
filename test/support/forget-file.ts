/**
 * One file of a disk that forgets: its bytes stand in a backing file as the programs see them, and
 * what changed since the last fsync is kept beside it, old and new, so that a power cut can decide
 * sector by sector which of it ever reached the disk.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import type { Random } from '../../src/base/random.ts';
import { native } from '../../src/native.ts';

/** What a disk writes whole. */
const SECTOR_BYTES = 512;

/** A change of bytes or size that no fsync has confirmed. */
interface Unsynced {
  /** Its place among all changes of the disk. */
  readonly at: number;
  readonly offset: number;
  readonly length: number;
  /** Bytes after and before; undefined where all are zero. */
  readonly fresh: Buffer | undefined;
  readonly old: Buffer | undefined;
  readonly sizeBefore: number;
  readonly sizeAfter: number;
  /** Its blocks are allocated, written or not. */
  readonly allocates: boolean;
}

/** How a cut treats what was not synced: all of it lost or kept, what came first kept, or each sector by itself. */
export type Style = 'lost' | 'kept' | 'first' | 'mixed';

/** One of the styles; a cut that leaves nothing or everything is rarer than one between. */
export const styleOf = (random: Random): Style =>
  (['lost', 'kept', 'first', 'mixed', 'first', 'mixed', 'mixed'] as const)[random.below(7)]!;

const unlessZero = (bytes: Buffer): Buffer | undefined =>
  bytes.equals(Buffer.alloc(bytes.length)) ? undefined : Buffer.from(bytes);

/** A regular file. */
export class ForgetFile {
  readonly #path: string;
  readonly #fd: number;
  #size = 0;
  #unsynced: Unsynced[] = [];

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'w+', 0o600);
  }

  /** Bytes now. */
  get size(): number {
    return this.#size;
  }

  /** Units of 512 bytes allocated. */
  get blocks(): number {
    return fstatSync(this.#fd).blocks;
  }

  /** What a READ answers. */
  read(offset: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.#size - offset)));
    return bytes.subarray(0, readSync(this.#fd, bytes, 0, bytes.length, offset));
  }

  /** Writes; `at` is the place of this change among all. */
  write(at: number, offset: number, data: Buffer): void {
    const sizeAfter = Math.max(this.#size, offset + data.length);
    this.#note(at, offset, data.length, unlessZero(data), sizeAfter, false);
    this.#put(data, offset);
  }

  /** Cuts or grows. */
  truncate(at: number, size: number): void {
    this.#note(at, size, Math.max(0, this.#size - size), undefined, size, false);
    ftruncateSync(this.#fd, size);
  }

  /** Allocates every block up to `bytes`. */
  allocate(at: number, bytes: number): void {
    this.#note(at, 0, 0, undefined, Math.max(this.#size, bytes), true);
    native.segmentAllocate(this.#path, bytes);
  }

  /** Everything so far is on the disk. */
  sync(): void {
    this.#unsynced = [];
  }

  /** The power fails: some of what was not synced is gone. Returns the number of sectors and sizes forgotten. */
  cut(random: Random, style: Style, lastAt: number): number {
    const all = this.#unsynced;
    this.#unsynced = [];
    if (all.length === 0 || style === 'kept') return 0;
    for (const change of all.toReversed()) this.#undo(change);
    const count = all.filter(change => change.at <= lastAt).length;
    const some = { lost: 0, first: count, mixed: random.below(all.length + 1), kept: 0 }[style];
    let forgotten = all.length - some;
    const reached = new Map<number, number>();
    const isOnDisk = (index: number, sector: number): boolean => {
      if (style !== 'mixed') return index < some;
      let until = reached.get(sector);
      if (until === undefined) reached.set(sector, (until = random.below(all.length + 1)));
      return index < until;
    };
    all.forEach((change, index) => {
      forgotten += this.#redo(change, sector => isOnDisk(index, sector));
    });
    const size = some === 0 ? all[0]!.sizeBefore : all[some - 1]!.sizeAfter;
    ftruncateSync(this.#fd, size);
    if (size > 0 && all.slice(0, some).some(change => change.allocates))
      native.segmentAllocate(this.#path, size);
    this.#size = size;
    fsyncSync(this.#fd);
    return forgotten;
  }

  /** Nobody can reach it any more. */
  remove(): void {
    closeSync(this.#fd);
    rmSync(this.#path);
  }

  #put(data: Buffer, offset: number): void {
    for (let done = 0; done < data.length; )
      done += writeSync(this.#fd, data, done, data.length - done, offset + done);
  }

  #note(
    at: number,
    offset: number,
    length: number,
    fresh: Buffer | undefined,
    sizeAfter: number,
    allocates: boolean,
  ): void {
    const old = Buffer.alloc(length);
    if (length > 0) readSync(this.#fd, old, 0, length, offset);
    const sizeBefore = this.#size;
    this.#unsynced.push({
      ...{ at, offset, length, fresh, old: unlessZero(old) },
      ...{ sizeBefore, sizeAfter, allocates },
    });
    this.#size = sizeAfter;
  }

  #undo(change: Unsynced): void {
    if (change.length > 0) this.#put(change.old ?? Buffer.alloc(change.length), change.offset);
    ftruncateSync(this.#fd, change.sizeBefore);
  }

  /** Writes the sectors of a change that reached the disk; returns how many did not. */
  #redo(change: Unsynced, isOnDisk: (sector: number) => boolean): number {
    const end = change.offset + change.length;
    let forgotten = 0;
    for (let from = change.offset; from < end; ) {
      const sector = Math.floor(from / SECTOR_BYTES);
      const to = Math.min(end, (sector + 1) * SECTOR_BYTES);
      if (!isOnDisk(sector)) forgotten++;
      else {
        const bytes = change.fresh?.subarray(from - change.offset, to - change.offset);
        this.#put(bytes ?? Buffer.alloc(to - from), from);
      }
      from = to;
    }
    return forgotten;
  }
}
