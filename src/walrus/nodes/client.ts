/**
 * The storage nodes' HTTP API (PROTOCOL: official paths and bodies), one method a request. Every
 * answer is noted in the nodes' health; retries are the callers'.
 */

import { throwIfAborted } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { BlobId, SliverType, SuiId } from '../../base/ids.ts';
import type { RateLimiter } from '../../base/rate.ts';
import type { StorageNode } from '../network.ts';
import type { Parts } from '../retry.ts';
import type { Health } from './health.ts';
import { badAnswer, isSilence, type NodeHttp, type NodeRequest } from './http.ts';
import type { IncomingSliver } from './incoming.ts';
import { sliverPath } from './places.ts';

const QUICK_MS = 10_000;
const SLIVER_MS = 20_000;
/** A body that is sent has so much more time: at this rate, the slowest line that is served. */
const SENT_BYTES_PER_MS = 32;
const CONFIRM_WAIT_MS = 5_000;
/** Metadata grows with the shards: 66 bytes each, and a few. */
const METADATA_BYTES_MAX = 66 * 65_536 + 1_024;

/** A node that has not yet learnt of the registration: expected for a while after it. */
export const isUnregistered = (error: unknown): boolean =>
  error instanceof TuskError && error.details.reason === 'NOT_REGISTERED';

/** Limits of what goes to the nodes and comes from them, in bytes of bodies. */
export interface RateLimits {
  readonly upload: RateLimiter;
  readonly download: RateLimiter;
}

/** A signed confirmation, not yet verified. */
export interface RawConfirmation {
  readonly message: Buffer;
  readonly signature: Buffer;
}

/** The Blob object that a blob is stored for. */
export interface StoredObject {
  readonly objectId: SuiId;
  readonly deletable: boolean;
}

const confirmationRequest = (
  blobId: BlobId,
  { objectId, deletable }: StoredObject,
  signal: AbortSignal,
) => {
  const kind = deletable ? `deletable/${objectId}` : 'permanent';
  const query = `wait_for_registration=true&wait_millis=${CONFIRM_WAIT_MS}`;
  const path = `/v1/blobs/${blobId}/confirmation/${kind}?${query}`;
  return { method: 'GET', path, timeoutMs: CONFIRM_WAIT_MS + QUICK_MS, signal } as const;
};

/** Requests to nodes. */
export class NodeClient {
  readonly #http: NodeHttp;
  readonly health: Health;
  readonly #limits: RateLimits;
  readonly #parts: Parts;

  constructor(http: NodeHttp, health: Health, limits: RateLimits, parts: Parts) {
    this.#http = http;
    this.health = health;
    this.#limits = limits;
    this.#parts = parts;
  }

  async #noted<T>(node: StorageNode, send: () => Promise<T>, isSliver = false): Promise<T> {
    const startMs = this.#parts.clock.monotonicMs();
    try {
      const answer = await send();
      const tookMs = this.#parts.clock.monotonicMs() - startMs;
      this.health.answered(node, isSliver ? tookMs : undefined);
      return answer;
    } catch (error) {
      if (error instanceof TuskError && error.code === 'identity_mismatch') {
        this.health.lied(node, error.message);
      } else if (isSilence(error)) this.health.silent(node, messageOf(error));
      else if (error instanceof TuskError && error.code !== 'aborted' && !isUnregistered(error)) {
        this.health.refused(node, messageOf(error));
      }
      throw error;
    }
  }

  async #bytes(
    node: StorageNode,
    path: string,
    bodyBytesMax: number,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const request: NodeRequest = {
      method: 'GET',
      path,
      accept: 'bytes',
      bodyBytesMax,
      timeoutMs: SLIVER_MS,
      signal,
    };
    // It may be far shorter, and pays afterwards.
    await this.#limits.download.take(0, signal);
    const body = await this.#noted(node, () => this.#http.send(node, request));
    this.#limits.download.owe(body.length);
    return body;
  }

  /** True if what was put was new to the node. */
  async #put(node: StorageNode, path: string, body: Buffer, signal: AbortSignal): Promise<boolean> {
    await this.#limits.upload.take(body.length, signal);
    const timeoutMs = SLIVER_MS + Math.ceil(body.length / SENT_BYTES_PER_MS);
    const request = { method: 'PUT', path, body, timeoutMs, signal } as const;
    return this.#noted(node, () => this.#http.put(node, request));
  }

  async #isStored(node: StorageNode, path: string, signal: AbortSignal): Promise<boolean> {
    const request = { method: 'GET', path, timeoutMs: QUICK_MS, signal } as const;
    try {
      const status = await this.#noted(node, () => this.#http.json(node, request));
      return typeof status === 'string' && status.toLowerCase() === 'stored';
    } catch (error) {
      // A node that does not know the blob may answer 404 instead of "Nonexistent".
      if (error instanceof TuskError && error.code === 'node_refused') return false;
      throw error;
    }
  }

  /** Does the node have this sliver? */
  hasSliver(
    node: StorageNode,
    blobId: BlobId,
    pair: number,
    type: SliverType,
    signal: AbortSignal,
  ): Promise<boolean> {
    return this.#isStored(node, `${sliverPath(blobId, pair, type)}/status`, signal);
  }

  /** Epoch in which the blob was certified first, as the node says; undefined if it knows of none. */
  async certifiedEpoch(
    node: StorageNode,
    blobId: BlobId,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const path = `/v1/blobs/${blobId}/status`;
    const request = { method: 'GET', path, timeoutMs: QUICK_MS, signal } as const;
    const status = await this.#noted(node, () => this.#http.json(node, request));
    if (typeof status !== 'object' || status === null) return undefined;
    const kinds = Object.values(status) as ({ initialCertifiedEpoch?: unknown } | null)[];
    const epoch = kinds[0]?.initialCertifiedEpoch;
    return typeof epoch === 'number' ? epoch : undefined;
  }

  /** Stores metadata (BCS BlobMetadata without the blob ID); false if the node had it. */
  putMetadata(
    node: StorageNode,
    blobId: BlobId,
    metadata: Buffer,
    signal: AbortSignal,
  ): Promise<boolean> {
    return this.#put(node, `/v1/blobs/${blobId}/metadata`, metadata, signal);
  }

  /** Stores a sliver in its wire form; false if the node had it. */
  putSliver(
    node: StorageNode,
    blobId: BlobId,
    pair: number,
    type: SliverType,
    wire: Buffer,
    signal: AbortSignal,
  ): Promise<boolean> {
    return this.#put(node, sliverPath(blobId, pair, type), wire, signal);
  }

  /**
   * Waits until the node has learnt of the blob's registration, or for a while. Only a request for a
   * confirmation waits for that; what it is answered is of no interest.
   */
  async registration(
    node: StorageNode,
    blobId: BlobId,
    object: StoredObject,
    signal: AbortSignal,
  ): Promise<void> {
    const request = confirmationRequest(blobId, object, signal);
    await this.#http.json(node, request).catch(() => throwIfAborted(signal));
  }

  /** The node's signature that it holds everything of the blob that it must hold. */
  async confirmation(
    node: StorageNode,
    blobId: BlobId,
    object: StoredObject,
    signal: AbortSignal,
  ): Promise<RawConfirmation> {
    const request = confirmationRequest(blobId, object, signal);
    const data = await this.#noted(node, () => this.#http.json(node, request));
    const { signed } = (data ?? {}) as {
      signed?: { serializedMessage?: unknown; signature?: unknown };
    };
    const { serializedMessage, signature } = signed ?? {};
    if (typeof serializedMessage !== 'string' || typeof signature !== 'string') {
      throw badAnswer(node, 'a confirmation without message or signature');
    }
    return {
      message: Buffer.from(serializedMessage, 'base64'),
      signature: Buffer.from(signature, 'base64'),
    };
  }

  /** Metadata as the node has it: the blob ID, then BCS BlobMetadata. Not yet verified. */
  metadata(node: StorageNode, blobId: BlobId, signal: AbortSignal): Promise<Buffer> {
    return this.#bytes(node, `/v1/blobs/${blobId}/metadata`, METADATA_BYTES_MAX, signal);
  }

  /** Takes in a sliver. Not yet verified. */
  async sliver(
    node: StorageNode,
    blobId: BlobId,
    pair: number,
    type: SliverType,
    into: IncomingSliver,
    signal: AbortSignal,
  ): Promise<void> {
    const request: NodeRequest = {
      method: 'GET',
      path: sliverPath(blobId, pair, type),
      accept: 'bytes',
      bodyBytesMax: into.wireBytes,
      into,
      timeoutMs: SLIVER_MS,
      signal,
    };
    await this.#limits.download.take(into.wireBytes, signal);
    try {
      await this.#noted(node, () => this.#http.send(node, request), true);
    } finally {
      this.#limits.download.giveBack(into.missingBytes);
    }
  }

  /** Symbols from which primary slivers can be made anew, as BCS. Not yet verified. */
  decodingSymbols(
    node: StorageNode,
    blobId: BlobId,
    primaries: readonly number[],
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const targets = primaries.map(index => `targetSlivers=${index}`).join('&');
    const path = `/v1/blobs/${blobId}/decodingSymbols?${targets}&targetType=primary`;
    return this.#bytes(node, path, bytesMax, signal);
  }
}
