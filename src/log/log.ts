/**
 * The local log on the front thread. `append` writes a record into the page cache of a
 * segment: the death of this process loses nothing that was appended. `sync` is one fdatasync
 * shared by all who wait; by itself the log syncs at most 1 s after an append.
 */
import { messageOf, TuskError } from '../base/errors.ts';
import type { LogAddr, Seq } from '../base/ids.ts';
import { native } from '../native.ts';
import {
  addrOf,
  type LogPosition,
  type RecordFacts,
  type RecordShape,
  recordShape,
  SEGMENT_HEADER_BYTES,
  writeRecord,
  writeSegmentHeader,
} from './record.ts';
import { type Segment, Segments } from './segments.ts';

/** A record that was answered is on disk after at most 1 s: this much waiting, the rest for the sync. */
const SYNC_AFTER_MS = 800;
/** Bytes appended since the last sync after which one starts at once. */
const SYNC_AFTER_BYTES = 32 * 1024 * 1024;
/** A sync of at most so many bytes is waited for, at most so long: a good disk needs less, and so does no detour. */
const BRIEF_BYTES = 128 * 1024;
const PATIENCE_US = 500;
/** Syncs that are not waited for after one that took longer. */
const IMPATIENT_SYNCS = 16;

/** Room found for one record; consumed by the next `append`. */
export interface Room {
  readonly shape: RecordShape;
  /** Address that the first data byte will have. */
  readonly dataAddr: LogAddr;
}

/** Settings of a log. */
export interface LogOptions {
  directory: string;
  segmentBytes: number;
  reserveBytes: number;
  /** Bytes of the disk that growth must leave free. */
  keepFreeBytes?: () => number;
  /** Where replay ended. */
  end: LogPosition;
}

/** The one log of a volume. */
export class Log {
  readonly segments: Segments;
  #position: LogPosition;
  #head: Segment | undefined;
  readonly #dirty = new Set<Segment>();
  #syncedSeq: Seq;
  #firmSlot: number;
  #unsyncedBytes = 0;
  #round: Promise<void> | undefined;
  /** Syncs that are not to be waited for yet. */
  #impatient = 0;
  #timer: NodeJS.Timeout | undefined;
  #failed: Error | undefined;
  #onSynced: (seq: Seq) => void = () => {};
  #onFailed: (error: Error) => void = () => {};

  constructor(options: LogOptions) {
    const { directory, segmentBytes, reserveBytes, keepFreeBytes = () => 0, end } = options;
    this.segments = new Segments(
      ...([directory, segmentBytes, reserveBytes, keepFreeBytes, end.slot, end.seq] as const),
    );
    this.#position = end;
    this.#syncedSeq = end.seq;
    this.#firmSlot = end.slot;
    if (end.slot === 0) return;
    this.#head = this.segments.get(end.slot);
    this.segments.map(this.#head, end.offset);
  }

  /** Number of the last record. */
  get lastSeq(): Seq {
    return this.#position.seq;
  }

  /** Records up to here survive power loss. */
  get syncedSeq(): Seq {
    return this.#syncedSeq;
  }

  /** A segment whose name and header survive power loss: older ones may go, slots never go back behind it. */
  get firmSlot(): number {
    return this.#firmSlot;
  }

  /** The segment being written. */
  get head(): Segment | undefined {
    return this.#head;
  }

  /** `synced` hears of every advance of `syncedSeq`; `failed` of a sync that the disk refused. */
  listen(synced: (seq: Seq) => void, failed: (error: Error) => void): void {
    this.#onSynced = synced;
    this.#onFailed = failed;
  }

  /** Finds room for a record, or undefined if the disk is full. */
  reserve(mutationBytes: number, dataBytes: number, useReserve: boolean): Room | undefined {
    if (!useReserve && !this.segments.reserveIsWhole) return undefined;
    const fits = this.#shapeAt(this.#position.offset, mutationBytes, dataBytes);
    if (this.#head === undefined || fits === undefined || this.#leavesCold()) {
      const shape = this.#shapeAt(SEGMENT_HEADER_BYTES, mutationBytes, dataBytes);
      const left = this.#head;
      if (shape === undefined || !this.roll(useReserve)) return undefined;
      // Written to its end, but for less than this record.
      if (left !== undefined && fits === undefined) left.warm = true;
      return this.#room(shape);
    }
    return this.#room(fits);
  }

  /** Writes the record that `room` was found for; `scratch` as in `writeRecord`. */
  append(
    room: Room,
    facts: Omit<RecordFacts, 'seq' | 'syncedSeq'>,
    scratch: Buffer,
    data: Buffer,
  ): Seq {
    const head = this.#head!;
    const seq = this.#position.seq + 1;
    const { handle } = this.segments.map(head);
    const record = { seq, ...facts, syncedSeq: this.#syncedSeq };
    this.#position = writeRecord(handle, this.#position, record, scratch, data, room.shape);
    head.lastSeq = seq;
    this.#dirty.add(head);
    this.#unsyncedBytes += room.shape.total;
    if (this.#unsyncedBytes >= SYNC_AFTER_BYTES && this.#round === undefined) this.#syncSoon(0);
    else this.#syncSoon(SYNC_AFTER_MS);
    return seq;
  }

  /** Goes on in a new segment; false if the disk is full. */
  roll(useReserve: boolean): boolean {
    const segment = this.segments.take(useReserve);
    if (segment === undefined) return false;
    // If nothing comes to stand in it, the index writer passes it with the record that follows.
    segment.lastSeq = this.#position.seq + 1;
    this.#position = writeSegmentHeader(
      this.segments.map(segment).handle,
      segment.slot,
      this.#position,
    );
    this.#head = segment;
    this.#dirty.add(segment);
    setImmediate(() => this.segments.trimMapped(new Set([...this.#dirty, this.#head!])));
    return true;
  }

  /** A burst leaves a head that was never written before, and syncs of it are slow: a warm one takes its place. */
  #leavesCold(): boolean {
    return this.#head?.warm === false && this.segments.hasWarm;
  }

  /** True if nothing was written to the head but its header. */
  get headIsEmpty(): boolean {
    return this.#head === undefined || this.#position.offset === SEGMENT_HEADER_BYTES;
  }

  /** Everything appended so far survives power loss when this resolves. */
  async sync(): Promise<void> {
    const target = this.#position.seq;
    while (this.#syncedSeq < target) {
      if (this.#failed !== undefined) throw this.#failed;
      if (this.#round === undefined) this.#begin();
      await this.#round;
    }
  }

  /**
   * True if everything appended so far survives power loss. A sync that should be over soon is
   * waited for, unless descriptor `company` can be read: who comes meanwhile may share the next.
   */
  syncNow(company: number): boolean {
    const target = this.#position.seq;
    if (this.#syncedSeq < target && this.#isBrief()) {
      const begun = performance.now();
      this.#begin(PATIENCE_US, company);
      const isSlow = performance.now() - begun > PATIENCE_US / 1000;
      if (isSlow) this.#impatient = IMPATIENT_SYNCS;
    }
    return this.#syncedSeq >= target;
  }

  /** The segments written so far survive power loss, empty ones included. */
  async sealed(): Promise<void> {
    // A sync under way may have begun before the last of them was there.
    while (this.#round !== undefined) await this.#round;
    this.#begin();
    await this.#round;
  }

  /** Lets go of files and mappings without a sync, as a crash would; for tests. */
  async abandon(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#round?.catch(() => {});
    await this.segments.close();
  }

  /** Syncs, then lets go of files and mappings. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.sync();
    clearTimeout(this.#timer);
    await this.segments.close();
  }

  #isBrief(): boolean {
    if (this.#failed !== undefined || this.#round !== undefined) return false;
    if (this.segments.namesChanged || this.#dirty.size > 1) return false;
    if (this.#unsyncedBytes > BRIEF_BYTES) return false;
    if (this.#impatient === 0) return true;
    this.#impatient--;
    return false;
  }

  /** Begins a round; one that is over within `patience` microseconds never shows. */
  #begin(patience = 0, company = -1): void {
    const upTo = this.#position;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    this.#unsyncedBytes = 0;
    const fails = (cause: unknown): never => this.#fail(dirty, cause);
    const waits: Promise<void>[] = [];
    try {
      for (const segment of dirty) {
        const { handle } = this.segments.map(segment);
        const sync = native.segmentSync(handle, patience, company);
        if (sync !== null) waits.push(sync);
      }
    } catch (cause) {
      fails(cause);
    }
    if (this.segments.namesChanged) waits.push(this.segments.syncNames());
    if (waits.length === 0) {
      this.#synced(upTo);
      return;
    }
    this.#round = Promise.all(waits)
      .then(() => this.#synced(upTo), fails)
      .finally(() => {
        this.#round = undefined;
      });
  }

  #synced({ slot, seq }: LogPosition): void {
    this.#firmSlot = slot;
    this.#syncedSeq = seq;
    this.#onSynced(seq);
  }

  #fail(dirty: readonly Segment[], cause: unknown): never {
    for (const segment of dirty) this.#dirty.add(segment);
    // Linux forgets which pages it failed to write: a later success would prove nothing.
    const error = new TuskError(
      'io',
      `the local log in ${this.segments.directory} could not be made durable: ${messageOf(cause)}; ` +
        'what was synced before is safe; check the disk, then mount again',
      { cause, kind: 'permanent' },
    );
    this.#failed = error;
    this.#onFailed(error);
    throw error;
  }

  #syncSoon(ms: number): void {
    if (ms === 0) {
      this.sync().catch(() => {});
    } else {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.sync().catch(() => {});
      }, ms).unref();
    }
  }

  #shapeAt(at: number, mutationBytes: number, dataBytes: number): RecordShape | undefined {
    const shape = recordShape(at, mutationBytes, dataBytes);
    return at + shape.total <= this.segments.segmentBytes ? shape : undefined;
  }

  #room(shape: RecordShape): Room {
    return { shape, dataAddr: addrOf(this.#head!.slot, this.#position.offset + shape.dataOffset) };
  }
}
