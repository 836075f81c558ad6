/**
 * Files of the log on the front thread: which are in use, how many live bytes each holds, which are
 * spare. A segment's slot number is never used for other bytes; a dead segment's file may be, under
 * a new slot: it is renamed to a spare and later to the slot it then serves. Spares kept back as
 * reserve have all their blocks allocated, so a full disk cannot refuse them.
 */
import {
  closeSync,
  fsync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { LogAddr, Seq } from '../base/ids.ts';
import { log } from '../base/log.ts';
import { native } from '../native.ts';
import { segmentPath, slotsIn } from './place.ts';
import { addrOf, offsetOf, slotOf } from './record.ts';

/** Segments other than the one being written stay mapped up to this many. */
const MAPPED_MAX = 256;
/** Spares filled with zeros ahead of need. */
const AHEAD = 2;
/** After a full disk the next attempt to grow waits this long. */
const RETRY_MS = 200;
/** Nothing is filled for this long after a segment was taken: in a burst it would cost what it saves. */
const BURST_MS = 2000;

/** A segment in use. */
export interface Segment {
  readonly slot: number;
  /** Its blocks were written before, so a sync of it needs no file system journal; taken for granted of an earlier process' segments. */
  warm: boolean;
  /** Bytes of it that extents point at; bytes shared by several files count for each. */
  liveBytes: number;
  /** When its oldest live byte may have been staged (ms since 1970). */
  oldestMs: number;
  /** Last record that stands in it or points into or away from it: until that is applied for good, the bytes may be needed. */
  lastSeq: Seq;
  map: { handle: number; view: Buffer | undefined } | undefined;
  /** Handle of an earlier mapping, whose checksums were kept. */
  mappedBefore: number | undefined;
  /** Checksums of what was written before this process came are being computed. */
  verifying: Promise<number[]> | undefined;
  /** Some of its live bytes do not match their checksum. */
  damaged: boolean;
}

const newSegment = (slot: number, warm: boolean, lastSeq: Seq): Segment => ({
  ...{ slot, warm, lastSeq, liveBytes: 0, oldestMs: 0, damaged: false },
  ...{ map: undefined, mappedBefore: undefined, verifying: undefined },
});

interface Spare {
  readonly path: string;
  /** Written before (zeros or old records): a sync of it needs no file system journal. */
  readonly warm: boolean;
  /** Holds bytes of an earlier life. */
  readonly stale: boolean;
}

/** The segment files of one log directory. */
export class Segments {
  readonly directory: string;
  readonly segmentBytes: number;
  readonly #reserveCount: number;
  readonly #keepFreeBytes: () => number;
  readonly #used = new Map<number, Segment>();
  readonly #mapped = new Set<Segment>();
  #spares: Spare[] = [];
  #nextSpare = 1;
  #filling: Promise<void> | undefined;
  #fillingPath = '';
  #fillLater: NodeJS.Timeout | undefined;
  #closed = false;
  #nextSlot: number;
  /** Names new so far, and how many of them a sync has made durable. */
  #names = 1;
  #namesSynced = 0;
  #retryAtMs = 0;
  #isStarved = false;
  #takenAtMs = Number.NEGATIVE_INFINITY;
  /** Segments that had to be used before they were filled with zeros. */
  coldTakes = 0;

  /**
   * Takes over what is in the directory; segments behind `lastSlot` become spares. `keepFreeBytes`:
   * what new files must leave free on the disk, for whoever empties the log.
   */
  constructor(
    directory: string,
    segmentBytes: number,
    reserveBytes: number,
    keepFreeBytes: () => number,
    lastSlot: number,
    lastSeq: Seq,
  ) {
    this.directory = directory;
    this.segmentBytes = segmentBytes;
    this.#reserveCount = Math.ceil(reserveBytes / segmentBytes);
    this.#keepFreeBytes = keepFreeBytes;
    const slots = slotsIn(directory);
    this.#nextSlot = (lastSlot > 0 ? lastSlot : (slots.at(-1) ?? 0)) + 1;
    for (const name of readdirSync(directory)) {
      if (name.endsWith('.spare')) rmSync(join(directory, name), { force: true });
    }
    for (const slot of slots) {
      if (slot > lastSlot) this.#discard(segmentPath(directory, slot), true);
      else this.#used.set(slot, newSegment(slot, true, lastSeq));
    }
    this.#topUpReserve();
    this.fill();
  }

  /** Segments in use, oldest first. */
  get used(): Iterable<Segment> {
    return this.#used.values();
  }

  get usedCount(): number {
    return this.#used.size;
  }

  /** True if the disk refused the last segment that was wanted, and still has no room for it. */
  get isStarved(): boolean {
    if (this.#isStarved && (this.#spares.length > this.#reserveCount || this.#mayGrow()))
      this.#isStarved = false;
    return this.#isStarved;
  }

  /** True while the space kept back is whole: only then may ordinary changes grow the log. */
  get reserveIsWhole(): boolean {
    this.#topUpReserve();
    return this.#spares.length >= this.#reserveCount;
  }

  /** Bytes that new segments could take from ordinary changes on a disk with `freeBytes` free. */
  roomBytes(freeBytes: number): number {
    const beyond = Math.max(0, freeBytes - this.#keepFreeBytes());
    const segments = this.#spares.length + Math.floor(beyond / this.segmentBytes);
    return Math.max(0, segments - this.#reserveCount) * this.segmentBytes;
  }

  /** True if the next segment taken is a warm one, the reserve apart. */
  get hasWarm(): boolean {
    return this.#spares.length > this.#reserveCount && this.#spares.some(({ warm }) => warm);
  }

  get(slot: number): Segment {
    const segment = this.#used.get(slot);
    if (segment === undefined) throw new RangeError(`log segment ${slot} is gone`);
    return segment;
  }

  /** The next segment to write, or undefined if the disk is full (beyond what the caller may use). */
  take(useReserve: boolean): Segment | undefined {
    const keep = useReserve ? 0 : this.#reserveCount;
    if (this.#spares.length <= keep && !this.#allocate()) return undefined;
    const at = Math.max(
      this.#spares.findIndex(spare => spare.warm),
      0,
    );
    const spare = this.#spares.splice(at, 1)[0]!;
    if (!spare.warm) this.coldTakes++;
    this.#isStarved = false;
    const slot = this.#nextSlot++;
    this.#takenAtMs = systemClock.monotonicMs();
    renameSync(spare.path, segmentPath(this.directory, slot));
    this.#names++;
    const segment = newSegment(slot, spare.warm, 0);
    this.#used.set(slot, segment);
    this.map(segment);
    this.fill();
    return segment;
  }

  /** The mapping of a segment; `end`: writing goes on there in one of an earlier process. */
  map(segment: Segment, end?: number): NonNullable<Segment['map']> {
    if (segment.map === undefined) {
      const path = segmentPath(this.directory, segment.slot);
      const { handle } = native.segmentMap(path, segment.mappedBefore, end);
      segment.map = { handle, view: undefined };
    }
    this.#mapped.add(segment);
    return segment.map;
  }

  /**
   * A view of staged bytes; valid until the caller returns to the event loop. `damaged`: they do not
   * match their checksum; `unknown`: they were written before this process came, `verify` first.
   */
  bytes(addr: LogAddr, length: number): Buffer | 'damaged' | 'unknown' {
    const from = offsetOf(addr);
    const map = this.map(this.get(slotOf(addr)));
    map.view ??= native.segmentView(map.handle);
    const found = native.segmentCheck(map.handle, from, from + length);
    if (found > 0) return found === 1 ? 'damaged' : 'unknown';
    return map.view.subarray(from, from + length);
  }

  /** Reads all of a segment, on a pool: what of its data does not match its checksum, as addresses [from, to). */
  async verify(slot: number): Promise<{ from: LogAddr; to: LogAddr }[]> {
    const segment = this.get(slot);
    segment.verifying ??= native.segmentVerify(this.map(segment).handle).finally(() => {
      segment.verifying = undefined;
    });
    const ends = await segment.verifying;
    return ends.flatMap((from, i) =>
      i % 2 === 0 ? [{ from: addrOf(slot, from), to: addrOf(slot, ends[i + 1]!) }] : [],
    );
  }

  /** Counts bytes that extents begin (or cease, `bytes` < 0) to point at because of record `seq`. */
  account(addr: LogAddr, bytes: number, seq: Seq, timeMs: number): void {
    const segment = this.get(slotOf(addr));
    if (bytes > 0) {
      if (segment.liveBytes === 0 || timeMs < segment.oldestMs) segment.oldestMs = timeMs;
    }
    segment.liveBytes += bytes;
    segment.lastSeq = Math.max(segment.lastSeq, seq);
  }

  /** Unmaps segments beyond the limit, never those in `keep`; called between turns of the event loop. */
  trimMapped(keep: ReadonlySet<Segment>): void {
    for (const segment of this.#mapped) {
      if (this.#mapped.size <= MAPPED_MAX) return;
      if (!keep.has(segment)) this.#unmap(segment, true);
    }
  }

  /** When a segment was written last (ms since 1970), as its file says. */
  writtenMs(slot: number): number {
    return Math.floor(statSync(segmentPath(this.directory, slot)).mtimeMs);
  }

  /** Removes a dead segment, which may take the disk a while; its file may serve again unless `wipe`. */
  async free(segment: Segment, wipe: boolean): Promise<void> {
    this.#unmap(segment, false);
    this.#used.delete(segment.slot);
    let unwanted: string | undefined = segmentPath(this.directory, segment.slot);
    if (!wipe) {
      this.#discard(unwanted, segment.warm);
      unwanted = this.#oneTooMany();
    }
    if (unwanted !== undefined) await rm(unwanted);
    this.#retryAtMs = 0;
  }

  /** Removes spares that hold bytes of an earlier life. */
  wipeSpares(): void {
    for (const spare of this.#spares) if (spare.stale) rmSync(spare.path);
    this.#spares = this.#spares.filter(spare => !spare.stale);
    this.#retryAtMs = 0;
    this.#topUpReserve();
    this.fill();
  }

  /** True if there are names that are not durable yet. */
  get namesChanged(): boolean {
    return this.#namesSynced < this.#names;
  }

  /** Makes new names durable, if there are any. */
  async syncNames(always = false): Promise<void> {
    if (!this.namesChanged && !always) return;
    const names = this.#names;
    const fd = openSync(this.directory, 'r');
    try {
      await promisify(fsync)(fd);
    } finally {
      closeSync(fd);
    }
    this.#namesSynced = Math.max(this.#namesSynced, names);
  }

  /** Fills spares with zeros ahead of need, on the pool, between bursts; a full disk ends it until the next call. */
  fill(): void {
    if (this.#closed || this.#filling !== undefined) return;
    if (this.#spares.filter(({ warm }) => warm).length >= AHEAD) return;
    const wait = this.#takenAtMs + BURST_MS - systemClock.monotonicMs();
    if (wait > 0) {
      this.#fillLater ??= setTimeout(() => {
        this.#fillLater = undefined;
        this.fill();
      }, wait).unref();
      return;
    }
    if (!this.#mayGrow()) return;
    const path = this.#sparePath();
    this.#fillingPath = path;
    const prepare = async () => {
      // Made here: once `close` has removed it, it is not made again.
      closeSync(openSync(path, 'wx', 0o600));
      await native.segmentPrepare(path, this.segmentBytes);
    };
    this.#filling = prepare().then(
      () => this.#filled(path),
      error => {
        this.#filling = undefined;
        if (!this.#closed)
          log('log').warn({ error: messageOf(error) }, 'no log segment could be prepared');
      },
    );
  }

  /** Ends the filling ahead and lets go of every mapping. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#fillLater);
    // Whoever fills it sees that it is not wanted any more.
    if (this.#filling !== undefined) rmSync(this.#fillingPath, { force: true });
    await this.#filling;
    for (const spare of this.#spares) rmSync(spare.path, { force: true });
    this.#spares = [];
    for (const segment of this.#used.values()) this.#unmap(segment, false);
  }

  #filled(path: string): void {
    this.#filling = undefined;
    this.#spares.push({ path, warm: true, stale: false });
    const unwanted = this.#oneTooMany();
    // It may be the one just filled, which `close` has removed.
    if (unwanted !== undefined) rmSync(unwanted, { force: true });
    this.fill();
  }

  /** Takes out a spare beyond those that are kept: one that was only allocated, or else the last. */
  #oneTooMany(): string | undefined {
    if (this.#spares.length <= this.#reserveCount + AHEAD) return undefined;
    const cold = this.#spares.findIndex(spare => !spare.warm);
    return this.#spares.splice(cold, 1)[0]!.path;
  }

  #sparePath(): string {
    return join(this.directory, `${this.#nextSpare++}.spare`);
  }

  /** Does the disk have room for one more file, and for what must stay free? */
  #mayGrow(): boolean {
    const keep = this.#keepFreeBytes();
    if (keep === 0) return true;
    const { bavail, bsize } = statfsSync(this.directory);
    const underWay = this.#filling === undefined ? 0 : this.segmentBytes;
    return bavail * bsize >= keep + underWay + this.segmentBytes;
  }

  #allocate(): boolean {
    if (systemClock.monotonicMs() < this.#retryAtMs) return false;
    const path = this.#sparePath();
    let refusal = '';
    try {
      if (this.#mayGrow()) native.segmentAllocate(path, this.segmentBytes);
      else refusal = 'what is free is kept for flushes';
    } catch (error) {
      refusal = messageOf(error);
    }
    if (refusal !== '') {
      if (!this.#isStarved) log('log').warn({ refusal }, 'the log cannot grow');
      this.#isStarved = true;
      this.#retryAtMs = systemClock.monotonicMs() + RETRY_MS;
      return false;
    }
    this.#isStarved = false;
    this.#spares.push({ path, warm: false, stale: false });
    return true;
  }

  #topUpReserve(): void {
    while (this.#spares.length < this.#reserveCount && this.#allocate());
  }

  /** Turns a file that is no longer needed into a spare, if it is whole. */
  #discard(path: string, warm: boolean): void {
    if (statSync(path).size !== this.segmentBytes) {
      rmSync(path);
      return;
    }
    const spare = this.#sparePath();
    renameSync(path, spare);
    this.#spares.push({ path: spare, warm, stale: true });
  }

  #unmap(segment: Segment, keep: boolean): void {
    this.#mapped.delete(segment);
    const handle = segment.map?.handle ?? segment.mappedBefore;
    if (handle !== undefined) native.segmentUnmap(handle, keep);
    segment.mappedBefore = keep ? handle : undefined;
    segment.map = undefined;
  }
}
