/**
 * Reading as the official aggregator does it: `GET` and `HEAD /v1/blobs/{id}`, with a `Range` of
 * one start and one end. Every sliver is checked against the metadata, a whole blob also against
 * its blob ID.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type BlobId, blobIdFromBytes } from '../../base/ids.ts';
import { native } from '../../native.ts';
import { type GenesisNode, type LedgerState, readersOf } from '../feed.ts';
import { rotationOf, shardOfPair } from '../node/shards.ts';
import { type BlobMetadata, fetchMetadata, fetchSliver } from '../peers.ts';

const DOMAIN = 'daemon.walrus.space';
const SLIVERS_AT_ONCE = 16;

/** A refusal in the official JSON shape. */
export class GatewayError extends Error {
  readonly code: number;
  readonly json: unknown;

  constructor(code: number, status: string, reason: string, message: string) {
    super(message);
    this.code = code;
    const details = [{ '@type': 'ErrorInfo', reason, domain: DOMAIN, metadata: {} }];
    this.json = { error: { status, code, message, details } };
  }
}

const unavailable = () =>
  new GatewayError(
    503,
    'UNAVAILABLE',
    'BLOB_UNAVAILABLE',
    'the blob cannot be read from the storage nodes now',
  );

const badRange = (message: string) =>
  new GatewayError(
    416,
    'RANGE_NOT_SATISFIABLE',
    'INVALID_BYTE_RANGE',
    `invalid byte range parameters: ${message}`,
  );

/** First and last byte; the official aggregator takes nothing but `bytes=START-END`. */
const parseRange = (text: string): { start: number; end: number } => {
  const [, start, end] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text.trim()) ?? [];
  if (start === undefined || end === undefined) {
    throw badRange('give one range with a start and an end');
  }
  if (Number(start) > Number(end)) throw badRange('start index must be less than end index');
  return { start: Number(start), end: Number(end) };
};

/** One blob being read. */
class Reading {
  readonly #nodes: readonly GenesisNode[];
  readonly #nShards: number;
  readonly #blobId: BlobId;
  readonly #signal: AbortSignal;
  readonly #nodeOfShard: GenesisNode[] = [];
  readonly #rotation: number;

  constructor(state: LedgerState, blobId: BlobId, signal: AbortSignal) {
    this.#nodes = readersOf(state);
    this.#nShards = state.nShards;
    this.#blobId = blobId;
    this.#signal = signal;
    this.#rotation = rotationOf(Buffer.from(blobId, 'base64url'), state.nShards);
    for (const node of state.nodes)
      for (const shard of node.shards) this.#nodeOfShard[shard] = node;
  }

  /** The metadata, or why there is none: nodes of more than f shards are believed. */
  async metadata(): Promise<BlobMetadata> {
    const nodes = this.#nodes;
    const nShards = this.#nShards;
    const said = new Map<number, number>();
    const found = await fetchMetadata(
      nodes,
      this.#blobId,
      nShards,
      this.#signal,
      (peer, status) => {
        const { length } = nodes.find(node => node.name === peer.name)!.shards;
        said.set(status, (said.get(status) ?? 0) + length);
      },
    );
    if (found !== undefined) return found;
    const believed = (status: number) => (said.get(status) ?? 0) > Math.floor((nShards - 1) / 3);
    if (believed(451)) {
      const message = 'the requested metadata is blocked';
      throw new GatewayError(451, 'UNAVAILABLE_FOR_LEGAL_REASONS', 'FORBIDDEN_BLOB', message);
    }
    if (!believed(404)) throw unavailable();
    const message =
      'the requested blob ID does not exist on Walrus, ensure that it was entered correctly';
    throw new GatewayError(404, 'NOT_FOUND', 'BLOB_NOT_FOUND', message);
  }

  /** Bytes [start, end] from the slivers that cover them, or from any that decode. */
  async bytes(metadata: BlobMetadata, start: number, end: number): Promise<Buffer> {
    const { primaryBytes, nPrimary } = metadata.shape;
    const first = Math.floor(start / primaryBytes);
    const last = Math.floor(end / primaryBytes);
    const wanted = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const have = new Map<number, Buffer>();
    await this.#fetch(metadata, wanted, have, wanted.length);
    const missing = wanted.filter(index => !have.has(index));
    if (missing.length > 0) {
      const nShards = this.#nShards;
      const others = Array.from({ length: nShards }, (_, i) => i).filter(i => !wanted.includes(i));
      await this.#fetch(metadata, others, have, nPrimary);
      if (have.size < nPrimary) throw unavailable();
      const slivers = [...have].map(([index, data]) => ({ index, data }));
      const places = missing.map(index => ({ index, data: Buffer.allocUnsafe(primaryBytes) }));
      await native.recoverPrimaries(metadata.size, nShards, slivers, places);
      for (const { index, data } of places) have.set(index, data);
    }
    const from = start - first * primaryBytes;
    const all = Buffer.concat(wanted.map(index => have.get(index)!));
    return all.subarray(from, from + end - start + 1);
  }

  /** Adds primary slivers of these indices until there are `enough`. */
  async #fetch(
    metadata: BlobMetadata,
    indices: readonly number[],
    have: Map<number, Buffer>,
    enough: number,
  ): Promise<void> {
    const nShards = this.#nShards;
    const queue = [...indices];
    const worker = async () => {
      while (have.size < enough) {
        const index = queue.shift();
        if (index === undefined) return;
        const node = this.#nodeOfShard[shardOfPair(index, this.#rotation, nShards)]!;
        const place = { pair: index, type: 'primary', index } as const;
        const data = await fetchSliver(node, this.#blobId, metadata, nShards, place, this.#signal);
        if (data !== undefined) have.set(index, data);
      }
    };
    await Promise.all(Array.from({ length: SLIVERS_AT_ONCE }, worker));
  }
}

/** Answers `GET` and `HEAD /v1/blobs/{id}`. */
export const serveBlob = async (
  state: LedgerState,
  blobId: BlobId,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> => {
  const range = request.headers.range === undefined ? undefined : parseRange(request.headers.range);
  const reading = new Reading(state, blobId, signal);
  const metadata = await reading.metadata();
  const { size } = metadata;
  if (range !== undefined && range.end >= size) {
    throw badRange(`the blob has ${size} bytes, byte ${range.end} was asked for`);
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const bytes = size === 0 ? Buffer.alloc(0) : await reading.bytes(metadata, start, end);
  if (range === undefined) {
    const again = await native.bytesMetadata(bytes, state.nShards);
    // Slivers that hold one by one, but are no encoding: the blob is inconsistent.
    if (blobIdFromBytes(again.blobId) !== blobId) throw unavailable();
  }
  const { accept, 'content-type': type } = request.headers;
  response.writeHead(range === undefined ? 200 : 206, {
    'content-length': bytes.length,
    'x-content-type-options': 'nosniff',
    'cache-control': 'public, max-age=86400, stale-while-revalidate=3600',
    etag: blobId,
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
    ...(accept !== undefined && !accept.includes('*')
      ? { 'content-type': accept }
      : request.method === 'GET' && type !== undefined
        ? { 'content-type': type }
        : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
};
