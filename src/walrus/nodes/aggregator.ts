/**
 * Aggregators: servers that read blobs from the nodes for others, over one address and with HTTP
 * ranges (`GET /v1/blobs/{blob_id}`, as the official ones answer). They stand in where nodes cannot
 * be reached. They are trusted no more than nodes: what they send is verified like slivers.
 */
import { request } from 'undici';
import { deadline } from '../../base/abort.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import { type BlobId, blobIdFromBytes } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { RateLimiter } from '../../base/rate.ts';
import { native } from '../../native.ts';
import { Connections } from '../connections.ts';
import type { BlobRef } from '../network.ts';

const REQUEST_MS = 30_000;
const LIAR_FOR_MS = 10 * 60_000;
/** Largest blob that is fetched whole to learn its metadata: it stands in memory. */
const WHOLE_BYTES_MAX = 256 * 2 ** 20;
/** Bytes of one request for consecutive slivers. */
const RANGE_BYTES = 8 * 2 ** 20;

/** The aggregators of a network's settings, asked in their order. */
export class Aggregators {
  readonly #urls: readonly string[];
  readonly #clock: Clock;
  readonly #download: RateLimiter;
  readonly #connections = new Connections();
  /** When each that lied may be asked again. */
  readonly #shunnedUntilMs = new Map<string, number>();

  constructor(urls: readonly string[], clock: Clock, download: RateLimiter) {
    this.#urls = urls;
    this.#clock = clock;
    this.#download = download;
  }

  /** Systematic primary slivers; `take` says whether one verifies, and keeps it. Rejects only when aborted. */
  async slivers(
    blob: BlobRef,
    indices: readonly number[],
    signal: AbortSignal,
    take: (index: number, data: Buffer) => Promise<boolean>,
  ): Promise<void> {
    const { primaryBytes } = native.blobShape(blob.size, blob.nShards);
    for (const run of runsOf(indices, Math.max(1, Math.floor(RANGE_BYTES / primaryBytes)))) {
      const from = run[0]! * primaryBytes;
      const to = Math.min(blob.size, (run.at(-1)! + 1) * primaryBytes);
      await this.#ask(blob.blobId, signal, async (url, abort) => {
        const bytes = await this.#get(url, { from, to }, abort);
        if (bytes.length !== to - from) return false;
        for (const [at, index] of run.entries()) {
          const data = Buffer.alloc(primaryBytes);
          bytes.copy(data, 0, at * primaryBytes);
          if (!(await take(index, data))) return false;
        }
        return true;
      });
    }
  }

  /** BCS BlobMetadata made from the whole blob, if that has the blob ID. */
  async metadata(
    blobId: BlobId,
    nShards: number,
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    let found: Buffer | undefined;
    await this.#ask(blobId, signal, async (url, abort) => {
      const encoded = await native.bytesMetadata(await this.#get(url, undefined, abort), nShards);
      if (blobIdFromBytes(encoded.blobId) !== blobId) return false;
      found = encoded.metadata;
      return true;
    });
    return found;
  }

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#connections.close();
  }

  /** One after the other until `use` finds its bytes right; who sent wrong ones is left alone for a while. */
  async #ask(
    blobId: BlobId,
    signal: AbortSignal,
    use: (url: string, abort: AbortSignal) => Promise<boolean>,
  ): Promise<void> {
    for (const base of this.#urls) {
      if (this.#clock.monotonicMs() < (this.#shunnedUntilMs.get(base) ?? 0)) continue;
      // What comes pays afterwards.
      await this.#download.take(0, signal);
      const limit = deadline(signal, REQUEST_MS);
      try {
        if (await use(`${base.replace(/\/$/, '')}/v1/blobs/${blobId}`, limit.signal)) return;
        this.#shunnedUntilMs.set(base, this.#clock.monotonicMs() + LIAR_FOR_MS);
        log('walrus').warn({ aggregator: base, blobId }, 'aggregator sent wrong bytes');
      } catch (error) {
        if (signal.aborted) throw error;
        const facts = { aggregator: base, blobId, error: messageOf(error) };
        log('walrus').warn(facts, 'aggregator does not give a blob');
      } finally {
        limit.done();
      }
    }
  }

  async #get(
    url: string,
    range: { readonly from: number; readonly to: number } | undefined,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const headers = range === undefined ? {} : { range: `bytes=${range.from}-${range.to - 1}` };
    const dispatcher = this.#connections.agent;
    const { statusCode, body } = await request(url, { dispatcher, headers, signal });
    const max = range === undefined ? WHOLE_BYTES_MAX : range.to - range.from;
    const chunks: Buffer[] = [];
    let length = 0;
    const wanted = range === undefined ? 200 : 206;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      this.#download.owe(chunk.length);
      if (statusCode !== wanted || length > max) {
        body.destroy();
        throw new Error(`it answers ${statusCode} with at least ${length} bytes`);
      }
      chunks.push(chunk);
    }
    if (statusCode !== wanted) throw new Error(`it answers ${statusCode}`);
    return Buffer.concat(chunks, length);
  }
}

/** Runs of consecutive numbers, each at most `most` long. */
const runsOf = (indices: readonly number[], most: number): number[][] => {
  const runs: number[][] = [];
  for (const index of [...indices].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last.at(-1) === index - 1 && last.length < most) last.push(index);
    else runs.push([index]);
  }
  return runs;
};
