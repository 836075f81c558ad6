/**
 * Certified bytes, opened. Nothing is served unverified: a frame opens only under its pack's key
 * and with the identity that the index names. If its tag does not hold, the slivers under it are
 * fetched again with proof, once; only then is the frame called corrupt.
 */
import { LRUCache } from 'lru-cache';
import { raceSignal } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import { blobIdFromBytes, type FrameId, type PackNo } from '../base/ids.ts';
import { log } from '../base/log.ts';
import type { FramePlace, PackRow } from '../meta/types.ts';
import { native } from '../native.ts';
import { SliverCache } from './cache.ts';
import { Reader } from './reader.ts';
import type { ContentCounters, ContentLimits, FrameKey, SliverSource } from './types.ts';

/** Maps are written, and descriptors closed, this long after something was read. */
const SETTLE_MS = 1000;

/** What content is made of. */
export interface ContentParts {
  /** Directory of the cache; belongs to it alone. */
  readonly cacheDirectory: string;
  readonly source: SliverSource;
  readonly packOf: (pack: PackNo) => PackRow | undefined;
  readonly frameKey: (pack: PackRow) => FrameKey;
  /** Key of the frames' identities. */
  readonly identityKey: Uint8Array;
  readonly clock: Clock;
  readonly limits: ContentLimits;
}

/** A frame as it was opened, or why not; `asOf` is what the reader said. */
interface Unsealed {
  readonly plain: Buffer | undefined;
  readonly asOf: number;
  readonly why: string;
}

/** Opened frames in memory over sealed slivers on disk over the network. */
export class Content {
  readonly counters: ContentCounters = {
    frameHits: 0,
    framesOpened: 0,
    sliverHits: 0,
    sliversFetched: 0,
    bytesFetched: 0,
    tagFailures: 0,
    unverified: 0,
    fetchFailures: 0,
    bytesEvicted: 0,
  };
  readonly #parts: ContentParts;
  readonly #cache: SliverCache;
  readonly #reader: Reader;
  readonly #frames: LRUCache<FrameId, Buffer>;
  readonly #opening = new Map<FrameId, Promise<Buffer>>();
  readonly #closing = new AbortController();
  #settling: Promise<void> | undefined;

  private constructor(parts: ContentParts, cache: SliverCache) {
    this.#parts = parts;
    this.#cache = cache;
    this.#frames = new LRUCache({
      maxSize: parts.limits.memoryBytes,
      sizeCalculation: frame => frame.length + 256,
    });
    this.#reader = new Reader({
      cache,
      source: parts.source,
      clock: parts.clock,
      limits: parts.limits,
      counters: this.counters,
      closing: this.#closing.signal,
    });
  }

  /** Opens the cache directory and is ready to read. */
  static async open(parts: ContentParts): Promise<Content> {
    return new Content(parts, await SliverCache.open(parts.cacheDirectory, parts.limits));
  }

  /**
   * Plain bytes [at, at + length) of a frame: at once when it is open in memory, or `kept` (asked
   * only if it is not) has them. An abort ends the wait, not the opening, which others may share
   * (`waiter`'s signal is only made when one waits). Rejects with `unverified`, or as the source does.
   */
  read(
    frame: FramePlace,
    at: number,
    length: number,
    waiter?: { readonly signal: AbortSignal },
    kept?: () => Buffer | undefined,
  ): Buffer | Promise<Buffer> {
    const open = this.#frames.get(frame.frame);
    if (open !== undefined) {
      this.counters.frameHits++;
      return open.subarray(at, at + length);
    }
    const bytes = kept?.();
    if (bytes !== undefined) return bytes;
    let opening = this.#opening.get(frame.frame);
    if (opening === undefined) {
      opening = this.#open(frame).finally(() => this.#opening.delete(frame.frame));
      this.#opening.set(frame.frame, opening);
    }
    const part = opening.then(plain => plain.subarray(at, at + length));
    return waiter === undefined ? part : raceSignal(part, waiter.signal);
  }

  /** Bytes of the sliver cache on disk. */
  bytes(): number {
    return this.#cache.bytes();
  }

  /** Takes a pack file that the flush put into the cache directory into account. */
  async adopt(pack: PackRow): Promise<void> {
    this.#cache.release(await this.#cache.acquire(pack));
    await this.#cache.shrink();
  }

  /** Gives up what the free-space floor asks for. */
  async makeRoom(): Promise<void> {
    await this.#cache.shrink();
  }

  /** Throws all cached content away, in memory and on disk. */
  async drop(): Promise<void> {
    this.#frames.clear();
    await this.#cache.drop();
  }

  /** Ends every fetch and writes what the cache knows. */
  async close(): Promise<void> {
    this.#closing.abort(new TuskError('aborted', 'the volume is being closed'));
    await Promise.allSettled(this.#opening.values());
    await this.#settling;
    await this.#cache.close();
  }

  async #open(frame: FramePlace): Promise<Buffer> {
    const pack = this.#parts.packOf(frame.pack);
    if (pack === undefined)
      throw new TuskError(
        'damaged',
        `frame ${frame.frame} stands in pack ${frame.pack}, which the index does not know: check the volume`,
      );
    const plain = await this.#openWith(pack, frame);
    this.counters.framesOpened++;
    this.#frames.set(frame.frame, plain);
    this.#settleSoon();
    return plain;
  }

  async #openWith(pack: PackRow, frame: FramePlace): Promise<Buffer> {
    const first = await this.#unseal(pack, frame);
    if (first.plain !== undefined) return first.plain;
    this.counters.tagFailures++;
    log('content').warn(
      { pack: pack.pack, ...first },
      'a frame does not open: fetching with proof',
    );
    await this.#reader.distrust(pack, frame.offset, frame.sealedBytes, first.asOf);
    const second = await this.#unseal(pack, frame);
    if (second.plain !== undefined) return second.plain;
    this.counters.unverified++;
    const blobId = blobIdFromBytes(pack.blobId);
    throw new TuskError(
      'unverified',
      `frame ${frame.slot} of blob ${blobId} does not open, though its slivers were fetched again with proof (${second.why}): what is stored is not what the index names; other frames are not affected`,
      { details: { blobId, slot: frame.slot, pack: pack.pack } },
    );
  }

  /** The opened frame, or why it does not open. */
  async #unseal(pack: PackRow, frame: FramePlace): Promise<Unsealed> {
    const { offset, sealedBytes, slot, compression, plainBytes, identity } = frame;
    const { bytes, asOf } = await this.#reader.sealed(pack, offset, sealedBytes);
    if (bytes.length < sealedBytes) return { plain: undefined, asOf, why: 'it was cut short' };
    const { key, aadPrefix } = this.#parts.frameKey(pack);
    const { identityKey } = this.#parts;
    return native
      .openFrame(key, aadPrefix, slot, compression, plainBytes, bytes, identityKey, identity)
      .then(
        plain => ({ plain, asOf, why: '' }),
        error => ({ plain: undefined, asOf, why: messageOf(error) }),
      );
  }

  #settleSoon(): void {
    this.counters.bytesEvicted = this.#cache.bytesEvicted;
    this.#settling ??= this.#parts.clock
      .sleep(SETTLE_MS, this.#closing.signal)
      .then(() => this.#cache.shrink())
      .then(() => this.#cache.settle())
      .catch(error => {
        if (!this.#closing.signal.aborted)
          log('content').warn({ error: messageOf(error) }, 'the cache could not be put in order');
      })
      .finally(() => {
        this.#settling = undefined;
      });
  }
}
