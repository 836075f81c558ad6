/**
 * Reads the records of the log in order, from files: used by the index writer, both to replay
 * after a start (verifying) and to follow the running log (trusting what it was told is synced).
 */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { TuskError } from '../base/errors.ts';
import { syncDirectory } from '../base/files.ts';
import type { Seq } from '../base/ids.ts';
import { native } from '../native.ts';
import { segmentPath, slotsIn } from './place.ts';
import {
  type LogPosition,
  type LogRecord,
  provesDurable,
  readRecord,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
} from './record.ts';

const NOTHING = Buffer.alloc(0);

interface OpenSegment {
  slot: number;
  handle: number;
  bytes: Buffer;
}

/** As `readSegmentHeader`, of a file that may not be there. */
const headerOf = (directory: string, slot: number): ReturnType<typeof readSegmentHeader> => {
  const path = segmentPath(directory, slot);
  if (!existsSync(path)) return undefined;
  const fd = openSync(path, 'r');
  try {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
    readSync(fd, header, 0, header.length, 0);
    return readSegmentHeader(header, slot);
  } finally {
    closeSync(fd);
  }
};

/** A cursor over the log's records. */
export class LogReader {
  readonly #directory: string;
  #open: OpenSegment | undefined;
  #at: LogPosition;
  /** How the segment behind the one at hand begins, as of the last look. */
  #following: ReturnType<typeof readSegmentHeader>;
  /** Where the last record stands that was passed and answers a request. */
  #answeredAt: LogPosition | undefined;

  /**
   * Starts behind record `applied`, in the newest segment that can hold the next one; or at `from`,
   * the position behind it where a reader of this process stood: finding it reads a whole segment.
   */
  constructor(directory: string, applied: Seq, from?: LogPosition) {
    this.#directory = directory;
    this.#at = from ?? { slot: 0, offset: 0, seq: applied, crc: 0 };
    if (from !== undefined) {
      // Held open: all of it may be applied, and the segment freed, before anything is read.
      if (from.slot !== 0) this.#map(from.slot);
      return;
    }
    let newer = 0;
    for (const slot of slotsIn(directory).reverse()) {
      const first = readSegmentHeader(this.#map(slot).bytes, slot);
      if (first === undefined) continue;
      newer = first.seq;
      if (first.seq > applied) continue;
      this.#at = first;
      break;
    }
    if (newer > applied)
      throw new TuskError(
        'damaged',
        `the log in ${directory} begins with record ${newer + 1}, but the index has records up to ${applied} only; ` +
          'nothing was changed: put the index files and the log of the same moment back together',
      );
    this.#skip(applied);
  }

  /** Position behind the record read last. `slot` 0 means that the log holds nothing. */
  get position(): LogPosition {
    return this.#at;
  }

  /**
   * More is synced: to be called before that is read without being verified. Behind the last record of
   * a segment stands what its file held in an earlier life, even content that looks like a record;
   * only how the following segment begins tells that the log went on there.
   */
  follow(): void {
    this.#following = headerOf(this.#directory, this.#at.slot + 1);
  }

  /** The next record, or undefined at the end; its views live until the next call. `verify: false`: see `follow`. */
  next(verify: boolean): LogRecord | undefined {
    if (this.#at.slot === 0 && !this.#startAtFirst()) return undefined;
    for (;;) {
      if (!verify && this.#advance()) continue;
      const segment = this.#map(this.#at.slot);
      const found = readRecord(segment.bytes, this.#at, verify);
      if (found !== undefined) {
        this.#pass(found);
        return found.record;
      }
      this.follow();
      if (!this.#advance()) return undefined;
    }
  }

  /**
   * To be asked at the end: the place where a record is gone that was durable once, or undefined if
   * what stands behind the last one is nothing but a torn tail.
   */
  damage(): { path: string; offset: number } | undefined {
    const { slot, offset, seq } = this.#at;
    const last = slotsIn(this.#directory).filter(other => other >= Math.max(slot, 1));
    const isProven = last.some(other => provesDurable(this.#map(other).bytes, seq + 1));
    return isProven ? { path: segmentPath(this.#directory, Math.max(slot, 1)), offset } : undefined;
  }

  /** Makes every segment from `fromSlot` to the current one survive power loss; off the event loop's pool. */
  async sync(fromSlot: number): Promise<void> {
    const last = this.#at.slot;
    for (let slot = Math.max(fromSlot, 1); slot <= last; slot++) {
      if (existsSync(segmentPath(this.#directory, slot)))
        await native.segmentSync(this.#map(slot).handle, 0, -1);
    }
    syncDirectory(this.#directory);
  }

  /** The last record passed that answers a request; its views live until the next call. */
  lastAnswer(): LogRecord | undefined {
    const at = this.#answeredAt;
    return at === undefined ? undefined : readRecord(this.#map(at.slot).bytes, at, false)?.record;
  }

  close(): void {
    if (this.#open !== undefined) native.segmentUnmap(this.#open.handle);
    this.#open = undefined;
  }

  #pass({ record, next }: { record: LogRecord; next: LogPosition }): void {
    if (record.request !== 0) this.#answeredAt = this.#at;
    this.#at = next;
  }

  /** Steps over records up to `applied`; they were verified before they were applied. */
  #skip(applied: Seq): void {
    while (this.#at.slot !== 0 && this.#at.seq < applied) {
      const found = readRecord(this.#map(this.#at.slot).bytes, this.#at, false);
      if (found !== undefined) {
        this.#pass(found);
        continue;
      }
      this.follow();
      if (!this.#advance()) {
        // What was applied needs no reading: the log goes on in a segment of its own.
        const { slot } = this.#at;
        this.#at = { slot, offset: this.#map(slot).bytes.length, seq: applied, crc: 0 };
      }
    }
  }

  /** A log that was empty when this reader was made may have begun since. */
  #startAtFirst(): boolean {
    for (const slot of slotsIn(this.#directory)) {
      const first = readSegmentHeader(this.#map(slot).bytes, slot);
      if (first === undefined || first.seq !== this.#at.seq) continue;
      this.#at = first;
      this.follow();
      return true;
    }
    return false;
  }

  /** Goes on to the following segment if it continues exactly where this one ends. */
  #advance(): boolean {
    const first = this.#following;
    if (first?.slot !== this.#at.slot + 1) return false;
    if (first.seq !== this.#at.seq || first.follows !== this.#at.crc) return false;
    this.#at = first;
    this.follow();
    return true;
  }

  #map(slot: number): OpenSegment {
    if (this.#open?.slot === slot) return this.#open;
    const path = segmentPath(this.#directory, slot);
    // A power loss may keep the name of a new file and nothing else of it.
    if (statSync(path).size === 0) return { slot, handle: -1, bytes: NOTHING };
    if (this.#open !== undefined && native.segmentRemap(this.#open.handle, path)) {
      this.#open = { ...this.#open, slot };
      return this.#open;
    }
    this.close();
    const { handle } = native.segmentMap(path);
    this.#open = { slot, handle, bytes: native.segmentView(handle) };
    return this.#open;
  }
}
