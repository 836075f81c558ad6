/**
 * Brings the slivers that a read needs into the cache: each is fetched once however many wait,
 * with a deadline, and readers that walk through a pack find the next ones under way. Packs are
 * laid out in directory order, so that walking through a file or a tree is walking through packs.
 */
import type { Clock } from '../base/clock.ts';
import { TuskError } from '../base/errors.ts';
import { blobIdFromBytes } from '../base/ids.ts';
import { FRAME_BYTES_MIN } from '../base/limits.ts';
import type { PackRow } from '../meta/types.ts';
import type { SliverCache } from './cache.ts';
import type { PackFile } from './pack-file.ts';
import type { ContentCounters, ContentLimits, SliverSource } from './types.ts';

/** Given to the source beyond its own deadline before a wait ends without it. */
const GRACE_MS = 1000;

/**
 * A fetch that took most of its time to fail has failed for so long: the kernel asks again at once for what it
 * read ahead in vain, and nobody shall wait twice.
 */
const FAILED_MS = 1000;

/** Fetches that a whole read-ahead is made of: each brings several slivers, none keeps a reader waiting for all. */
const FETCHES_AHEAD = 4;

/** A fetch that took this part of its time says that the line is full: to ask for more ahead would make all of them late. */
const SLOW_PART = 1 / 6;

/** Where a pack was read last, and how far ahead of that slivers are wanted. */
interface Walk {
  next: number;
  aheadBytes: number;
}

/** What a reader works with. */
export interface ReaderParts {
  readonly cache: SliverCache;
  readonly source: SliverSource;
  readonly clock: Clock;
  readonly limits: ContentLimits;
  readonly counters: ContentCounters;
  /** Aborted at close: ends every fetch. */
  readonly closing: AbortSignal;
}

/** Sealed bytes of packs, from disk or the network. */
export class Reader {
  readonly #parts: ReaderParts;
  readonly #fetches = new Map<PackFile, Map<number, Promise<void>>>();
  readonly #walks = new WeakMap<PackFile, Walk>();
  /** How long the fetch took that ended last. */
  #tookMs = 0;
  /** What a reader's fetch asks for at most: half of what was late, and twice as much as came soon. */
  #mostBytes = Number.POSITIVE_INFINITY;

  constructor(parts: ReaderParts) {
    this.#parts = parts;
  }

  /** [offset, offset + length) of a pack; fewer bytes only if its cache file was cut short. `asOf`: what had arrived when they were read. */
  async sealed(
    pack: PackRow,
    offset: number,
    length: number,
  ): Promise<{ bytes: Buffer; asOf: number }> {
    const { cache } = this.#parts;
    const file = await cache.acquire(pack);
    const [first, last] = file.sliversOf(offset, length);
    for (let i = first; i <= last; i++) file.pin(i);
    try {
      this.#walk(pack, file, offset, length);
      await this.#ensure(pack, file, first, last);
      const asOf = file.arrivals;
      return { bytes: await file.read(offset, length), asOf };
    } finally {
      for (let i = first; i <= last; i++) file.unpin(i);
      cache.release(file);
    }
  }

  /**
   * Gives up the slivers under a range whose bytes, read as of `asOf`, were wrong: they are fetched
   * again with proof. What has arrived since then came with proof already, for another reader.
   */
  async distrust(pack: PackRow, offset: number, length: number, asOf: number): Promise<void> {
    const { cache } = this.#parts;
    const file = await cache.acquire(pack);
    try {
      const judged = file.judging.then(() => this.#judge(file, offset, length, asOf));
      file.judging = judged.catch(() => {});
      await judged;
    } finally {
      cache.release(file);
    }
  }

  async #judge(file: PackFile, offset: number, length: number, asOf: number): Promise<void> {
    const [first, last] = file.sliversOf(offset, length);
    for (let i = first; i <= last; i++)
      await this.#fetches
        .get(file)
        ?.get(i)
        ?.catch(() => {}); // its reader hears of the failure
    const wrong: number[] = [];
    for (let i = first; i <= last; i++) if (file.arrivedAt[i]! <= asOf) wrong.push(i);
    for (const i of wrong) file.distrusted.add(i);
    if (!wrong.some(i => file.has(i))) return;
    if (await file.isShared()) await file.detach();
    else await file.empty(wrong);
  }

  /**
   * Waits until slivers first … last are in the file. On a slow line they are fetched a few at a time,
   * so that what came stays when the time is over, and whoever tries again gets further.
   */
  async #ensure(pack: PackRow, file: PackFile, first: number, last: number): Promise<void> {
    const { cache, clock, counters, limits } = this.#parts;
    const endMs = clock.monotonicMs() + limits.fetchTimeoutMs;
    let wanted: number[] = [];
    for (let i = first; i <= last; i++) {
      cache.used(file, i);
      if (this.#fetches.get(file)?.has(i) !== true && file.has(i)) counters.sliverHits++;
      else wanted.push(i);
    }
    while (wanted.length > 0) {
      const leftMs = Math.round(endMs - clock.monotonicMs());
      if (leftMs <= 0) throw this.#late(pack, wanted);
      const running = this.#fetches.get(file);
      const missing = wanted.filter(i => running?.has(i) !== true);
      const now = missing.slice(0, Math.max(1, this.#mostBytes / file.shape.primaryBytes));
      const waits = wanted.map(i => running?.get(i));
      if (now.length > 0) waits.push(this.#fetch(pack, file, now, leftMs));
      await Promise.all(waits);
      wanted = missing.slice(now.length).filter(i => !file.has(i));
    }
  }

  #late({ blobId }: PackRow, slivers: readonly number[]): TuskError {
    const id = blobIdFromBytes(blobId);
    return new TuskError(
      'timeout',
      `slivers ${slivers.join(', ')} of blob ${id} did not come within ${this.#parts.limits.fetchTimeoutMs} ms; try again`,
      { details: { blobId: id } },
    );
  }

  /** Fetches slivers that nobody fetches yet. */
  #fetch(
    pack: PackRow,
    file: PackFile,
    slivers: number[],
    timeoutMs = this.#parts.limits.fetchTimeoutMs,
  ): Promise<void> {
    let running = this.#fetches.get(file);
    if (running === undefined) {
      running = new Map();
      this.#fetches.set(file, running);
    }
    const all = running;
    const { clock, closing } = this.#parts;
    const startMs = clock.monotonicMs();
    const bytes = slivers.length * file.shape.primaryBytes;
    const fetch = this.#bring(pack, file, slivers, timeoutMs);
    const forget = (): void => {
      for (const i of slivers) all.delete(i);
      if (all.size === 0) this.#fetches.delete(file);
    };
    const took = (): number => {
      this.#tookMs = clock.monotonicMs() - startMs;
      return this.#tookMs;
    };
    const done = (): void => {
      took();
      if (!this.#isSlow) this.#mostBytes = Math.max(this.#mostBytes, 2 * bytes);
      forget();
    };
    fetch.then(done, () => {
      if (took() < timeoutMs / 2) return forget();
      this.#mostBytes = Math.min(this.#mostBytes, bytes / 2);
      return clock.sleep(FAILED_MS, closing).then(forget, forget);
    });
    for (const i of slivers) all.set(i, fetch);
    return fetch;
  }

  async #bring(pack: PackRow, file: PackFile, slivers: number[], timeoutMs: number): Promise<void> {
    const { cache, counters, source } = this.#parts;
    const bytes = slivers.reduce((sum, i) => sum + file.sliverBytes(i), 0);
    const request = {
      pack: pack.pack,
      blobId: blobIdFromBytes(pack.blobId),
      objectId: pack.objectId,
      endEpoch: pack.endEpoch,
      size: pack.size,
      nShards: pack.nShards,
      slivers,
      verify: slivers.some(i => file.distrusted.has(i)),
      cachePath: file.path,
      timeoutMs,
    };
    try {
      await file.writable;
      await cache.filling(bytes, () =>
        this.#withDeadline(pack, slivers, timeoutMs, signal => source.fetch(request, signal)),
      );
    } catch (error) {
      counters.fetchFailures++;
      throw error;
    }
    for (const i of slivers) {
      file.arrived(i);
      file.distrusted.delete(i);
      cache.used(file, i);
    }
    counters.sliversFetched += slivers.length;
    counters.bytesFetched += bytes;
  }

  /** Ends a wait that its source does not end. */
  async #withDeadline(
    pack: PackRow,
    slivers: readonly number[],
    timeoutMs: number,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { clock, closing } = this.#parts;
    const over = new AbortController();
    const stop = AbortSignal.any([closing, over.signal]);
    const late = clock.sleep(timeoutMs + GRACE_MS, stop).then(() => {
      throw this.#late(pack, slivers);
    });
    try {
      await Promise.race([work(stop), late]);
    } finally {
      const blobId = blobIdFromBytes(pack.blobId);
      over.abort(new TuskError('aborted', `the fetch from blob ${blobId} is over`));
    }
  }

  get #isSlow(): boolean {
    return this.#tookMs > this.#parts.limits.fetchTimeoutMs * SLOW_PART;
  }

  #isHere(file: PackFile, offset: number, length: number): boolean {
    const [first, last] = file.sliversOf(offset, length);
    for (let i = first; i <= last; i++) if (!file.has(i)) return false;
    return true;
  }

  /**
   * Notes where a pack is read, and fetches ahead of a reader that goes straight through it. How
   * far doubles whenever it has to wait: so it grows until what is under way covers what the reader
   * takes during one fetch, the product of bandwidth and delay, and no further. Where fetches are slow
   * the line is what it waits for, and it halves.
   */
  #walk(pack: PackRow, file: PackFile, offset: number, length: number): void {
    const { limits } = this.#parts;
    const end = offset + length;
    const walk = this.#walks.get(file);
    if (walk === undefined) {
      this.#walks.set(file, { next: end, aheadBytes: 0 });
      return;
    }
    const skipped = offset - walk.next;
    const straight = skipped >= 0 && skipped <= file.shape.primaryBytes;
    if (!straight) walk.aheadBytes = 0;
    else if (!this.#isHere(file, offset, length))
      walk.aheadBytes = Math.min(
        limits.readAheadBytes,
        Math.max(2 * FRAME_BYTES_MIN, walk.aheadBytes * (this.#isSlow ? 1 / 2 : 2)),
      );
    walk.next = end;
    if (walk.aheadBytes > 0) this.#fetchAhead(pack, file, end, walk.aheadBytes);
  }

  #fetchAhead(pack: PackRow, file: PackFile, from: number, bytes: number): void {
    const end = Math.min(from + bytes, file.shape.size);
    if (from >= end) return;
    const [first, last] = file.sliversOf(from, end - from);
    const running = this.#fetches.get(file);
    const missing: number[] = [];
    for (let i = first; i <= last; i++)
      if (!file.has(i) && running?.has(i) !== true) missing.push(i);
    const eachBytes = Math.max(FRAME_BYTES_MIN, bytes / FETCHES_AHEAD);
    const each = Math.max(1, Math.floor(eachBytes / file.shape.primaryBytes));
    for (let at = 0; at < missing.length; at += each) {
      const slivers = missing.slice(at, at + each);
      // What is too little for a fetch joins the next one.
      if (slivers.length < each && end < file.shape.size) break;
      file.holders++;
      const over = () => {
        file.holders--;
      };
      // A failure shows where somebody needs the bytes: that read fetches again.
      this.#fetch(pack, file, slivers).then(over, over);
    }
  }
}
