/**
 * Gives log segments back. A segment is dead when SQLite durably has every record in it, no extent
 * points into it, and no snapshot may still read it. Half-dead segments are emptied by writing
 * their live bytes anew as ordinary records, so that the log stays within twice its live bytes
 * and a segment or so.
 */

import { systemClock } from '../base/clock.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { log as logger } from '../base/log.ts';
import type { Segment } from '../log/segments.ts';
import { type ChangeHost, IndexChange } from './change.ts';
import type { Queries, StagedRow } from './queries.ts';
import type { WriterHost } from './writer-host.ts';

/** Dead bytes beyond the live ones that are let be. */
const SLACK_BYTES = 64 * 1024 * 1024;
/** Bytes moved a turn of the event loop. */
const MOVE_BYTES = 1024 * 1024;
/** How long after a change that may have freed something it is looked at; a log at rest is left alone. */
const LOOK_AFTER_MS = 2000;

/** Who lacks space waits this long for what was deleted, and looks this often: a flush may still read it. */
const RELIEF_MS = 5000;
const RELIEF_LOOK_MS = 50;

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** The one that frees segments. */
export class Reclaimer {
  readonly #host: ChangeHost;
  readonly #queries: Queries;
  readonly #writer: WriterHost;
  #durable: Seq;
  /** Highest slot at the time of each pin. */
  readonly #pins = new Map<symbol, number>();
  #running: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #relief: Promise<void> | undefined;
  #vainUntilMs = 0;

  constructor(host: ChangeHost, queries: Queries, writer: WriterHost, durable: Seq) {
    this.#host = host;
    this.#queries = queries;
    this.#writer = writer;
    this.#durable = durable;
    this.#later();
  }

  /** Keeps every segment of now until the returned function is called. */
  pin(): () => void {
    const key = Symbol('pin');
    this.#pins.set(key, this.#host.log.head?.slot ?? 0);
    return () => {
      if (this.#pins.delete(key)) this.soon();
    };
  }

  /** SQLite durably has everything up to `seq`. */
  durable(seq: Seq): void {
    this.#durable = Math.max(this.#durable, seq);
    this.#later();
  }

  /** No record is needed any more: everything is in SQLite for good, nothing staged, nothing pinned. */
  isIdle(): boolean {
    const { log, memory } = this.#host;
    return this.#durable >= log.lastSeq && memory.stagedBytes === 0 && this.#pins.size === 0;
  }

  /** Frees what is dead and moves what stands in the way, in the background. */
  soon(): void {
    this.#queue(() => this.#pass(false)).catch(error =>
      logger('log').warn({ error: messageOf(error) }, 'log segments could not be reclaimed'),
    );
  }

  /**
   * Deleted bytes still take space that somebody lacks: resolves when they have given it back, or
   * did not in time; undefined if there are none, or others have just waited in vain.
   */
  relief(): Promise<void> | undefined {
    if (this.#relief !== undefined) return this.#relief;
    const { log } = this.#host;
    const isOwed = [...log.segments.used].some(each => each !== log.head && each.liveBytes === 0);
    if (!isOwed || systemClock.monotonicMs() < this.#vainUntilMs) return undefined;
    // The index writer itself waits for room as long as it takes.
    this.#relief = Promise.race([this.#relieve(), systemClock.sleep(RELIEF_MS)]).finally(() => {
      this.#relief = undefined;
      if (log.segments.isStarved) this.#vainUntilMs = systemClock.monotonicMs() + RELIEF_MS;
    });
    return this.#relief;
  }

  /** Frees everything that is dead now, the current segment included, and leaves no bytes of it on disk. */
  everything(): Promise<void> {
    return this.#queue(async () => {
      const { log } = this.#host;
      await log.sync();
      await this.#writer.checkpoint();
      if (!log.headIsEmpty && this.#pins.size === 0) {
        if (!log.roll(true))
          throw new TuskError(
            'disk_full',
            'no space for a new log segment: free some space, then try again',
          );
        await log.sealed();
      }
      await this.#pass(true);
      log.segments.wipeSpares();
      await log.segments.syncNames(true);
    });
  }

  /** Ends the background work. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running.catch(() => {});
  }

  async #relieve(): Promise<void> {
    const { log } = this.#host;
    const endMs = systemClock.monotonicMs() + RELIEF_MS;
    while (systemClock.monotonicMs() < endMs) {
      await log.sync();
      await this.#writer.checkpoint();
      await this.#queue(() => this.#pass(false));
      if (!log.segments.isStarved || this.#stopped) return;
      await systemClock.sleep(RELIEF_LOOK_MS);
    }
  }

  #queue(work: () => Promise<void>): Promise<void> {
    this.#running = this.#running.catch(() => {}).then(() => (this.#stopped ? undefined : work()));
    return this.#running;
  }

  /** Whatever frees bytes is a record, and ends in SQLite being durable with it. */
  #later(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.soon();
    }, LOOK_AFTER_MS).unref();
  }

  async #pass(wipe: boolean): Promise<void> {
    await this.#freeDead(wipe);
    let moved = false;
    for (let full = this.#victim(); full !== undefined; full = this.#victim()) {
      await this.#empty(full);
      if (full.liveBytes > 0) {
        // The disk is full, or the segment changed meanwhile: tried again.
        this.#later();
        break;
      }
      moved = true;
    }
    if (!moved) return;
    await this.#host.log.sync();
    await this.#writer.checkpoint();
    await this.#freeDead(wipe);
  }

  #isFree(segment: Segment): boolean {
    const { log } = this.#host;
    // Without a later one that lasts, a power loss could take the log back to slots that were used.
    if (segment.slot >= log.firmSlot) return false;
    if (segment.liveBytes > 0 || segment.lastSeq > this.#durable) return false;
    for (const slot of this.#pins.values()) if (segment.slot <= slot) return false;
    return true;
  }

  async #freeDead(wipe: boolean): Promise<void> {
    const { segments } = this.#host.log;
    for (const segment of [...segments.used])
      if (this.#isFree(segment)) await segments.free(segment, wipe);
  }

  /** The segment whose emptying gains most, if the log is larger than it may be. */
  #victim(): Segment | undefined {
    const { log, memory } = this.#host;
    let usedBytes = 0;
    let best: Segment | undefined;
    for (const segment of log.segments.used) {
      if (segment === log.head || segment.liveBytes === 0 || segment.damaged) continue;
      usedBytes += log.segments.segmentBytes;
      if (segment.lastSeq > this.#durable) continue;
      if (best === undefined || segment.liveBytes < best.liveBytes) best = segment;
    }
    if (this.#pins.size > 0 || usedBytes <= 2 * memory.stagedBytes + SLACK_BYTES) return undefined;
    return best !== undefined && best.liveBytes < log.segments.segmentBytes / 2 ? best : undefined;
  }

  /** Writes a segment's live bytes anew at the head of the log. */
  async #empty(segment: Segment): Promise<void> {
    let moved = 0;
    await this.#host.log.segments.verify(segment.slot);
    for (const row of this.#queries.inSegment(segment.slot)) {
      for (let done = 0; done < row.length; done += MOVE_BYTES) {
        const length = Math.min(MOVE_BYTES, row.length - done);
        if (this.#stopped || !this.#move(segment, row, done, length)) return;
        moved += length;
        if (moved >= MOVE_BYTES) {
          moved = 0;
          await turn();
        }
      }
    }
  }

  /** Moves what the file still shows of a part of a staged range; false if the disk is full. */
  #move(segment: Segment, row: StagedRow, from: number, length: number): boolean {
    const { memory, log } = this.#host;
    const start = row.offset + from;
    if (memory.inodes.get(row.ino) === null) return true;
    for (const extent of memory.extents(row.ino).within(start, start + length)) {
      if (extent.addr !== row.addr + (extent.offset - row.offset)) continue;
      const bytes = log.segments.bytes(extent.addr, extent.length);
      if (typeof bytes === 'string') {
        // Stays where it is: whoever reads or flushes it is told.
        segment.damaged = true;
        return true;
      }
      const change = new IndexChange(this.#host);
      change.stage(row.ino, extent.offset, bytes);
      if (change.commit() < 0) return false;
    }
    return true;
  }
}
