/**
 * Storing a blob on one node: metadata, then the slivers of all its shards, a few at a time. What
 * the node already has is not sent again.
 */
import type { FileHandle } from 'node:fs/promises';
import { TuskError } from '../../base/errors.ts';
import type { SliverType } from '../../base/ids.ts';
import type { BlobShape } from '../../native.ts';
import type { EncodedFile, StorageNode } from '../network.ts';
import { backoffMs, type Parts, pause, type RetryPolicy, retry } from '../retry.ts';
import { isUnregistered, type NodeClient, type StoredObject } from './client.ts';
import { CONNECTIONS_PER_NODE } from './http.ts';
import { pairOfShard, type WireSliver, wireBytes, wireSliver } from './places.ts';
import type { UploadBudget } from './upload-budget.ts';
import type { WirePool } from './wire-pool.ts';

const NODE_RETRY: RetryPolicy = { tries: 5, baseMs: 200, maxMs: 2_000 };
/** Nodes learn of a registration some time after the chain. */
const REGISTRATION_MS = 60_000;
const REGISTRATION: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 200, maxMs: 1_000 };
/** This part of a node's pairs is on its way at once, two requests each: all nodes then need the same time. */
const PART_AT_ONCE = 1 / 5;
/** But no more than there are connections for: what waits for one has its time running. */
const PAIRS_AT_ONCE_MAX = CONNECTIONS_PER_NODE / 2;

/** What the nodes of one upload have in common. */
export interface UploadWork extends Parts {
  readonly client: NodeClient;
  /** Bytes on their way, over all nodes and uploads. */
  readonly budget: UploadBudget;
  /** Most of them that a node may hold for each of its shards: slow nodes must leave room for the others. */
  readonly shardBytesMax: number;
  readonly file: EncodedFile;
  readonly object: StoredObject;
  readonly handle: FileHandle;
  readonly shape: BlobShape;
  readonly rotation: number;
  readonly pool: WirePool;
  /** Bytes that a node has now, sent or found there. */
  readonly onStored: (bytes: number) => void;
}

/** Requests of an upload are tried again as their errors' kinds say. */
export const retryNode = <T>(
  parts: Parts,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> => retry(NODE_RETRY, parts, signal, attempt);

/** Metadata and slivers to a node; resolves when it has answered for all of them. */
export const storeOnNode = async (
  work: UploadWork,
  node: StorageNode,
  signal: AbortSignal,
): Promise<void> => {
  const isNew = await storeMetadata(work, node, signal);
  await storeSlivers(work, node, !isNew, signal);
};

/** Answers whether the metadata was new to the node: if not, its slivers are worth asking for. */
const storeMetadata = async (
  work: UploadWork,
  node: StorageNode,
  signal: AbortSignal,
): Promise<boolean> => {
  const { client, clock, random, budget, file, object } = work;
  const { length } = file.metadata;
  const put = () =>
    client.putMetadata(node, file.blobId, file.metadata, signal).catch(unregisteredForNow);
  const startMs = clock.monotonicMs();
  // Most nodes hear of a registration after the chain did: to ask costs less than to send it in vain.
  for (let failed = 0; ; failed++) {
    if (failed > 0) await pause(clock, backoffMs(REGISTRATION, failed, random), signal);
    await client.registration(node, file.blobId, object, signal);
    try {
      return await retryNode(work, signal, () =>
        budget.using(length, signal, () => budget.send(length, put)),
      );
    } catch (error) {
      if (!isUnregistered(error) || clock.monotonicMs() - startMs > REGISTRATION_MS) throw error;
    }
  }
};

/** Waiting for a registration has its own patience: not a failure that the retry policy counts. */
const unregisteredForNow = (error: unknown): never => {
  if (!(error instanceof TuskError) || !isUnregistered(error)) throw error;
  throw new TuskError(error.code, error.message, { kind: 'permanent', details: error.details });
};

/** Slivers of all shards, a few pairs at a time. */
const storeSlivers = async (
  work: UploadWork,
  node: StorageNode,
  resuming: boolean,
  signal: AbortSignal,
): Promise<void> => {
  const { nShards } = work.file;
  const queue = node.shards.map(shard => pairOfShard(shard, work.rotation, nShards));
  const worker = async () => {
    for (let pair = queue.shift(); pair !== undefined; pair = queue.shift()) {
      await storePair(work, node, pair, resuming, signal);
    }
  };
  const pairs = node.shards.length;
  const fit = Math.floor((pairs * work.shardBytesMax) / pairBytes(work.shape));
  const part = Math.ceil(pairs * PART_AT_ONCE);
  const workers = Math.max(1, Math.min(part, PAIRS_AT_ONCE_MAX, fit));
  try {
    await Promise.all(Array.from({ length: workers }, worker));
  } catch (error) {
    queue.length = 0;
    throw error;
  }
};

const TYPES: readonly SliverType[] = ['primary', 'secondary'];

/** Bytes of a sliver pair. */
export const pairBytes = ({ primaryBytes, secondaryBytes }: BlobShape): number =>
  primaryBytes + secondaryBytes;

const sliverBytes = ({ primaryBytes, secondaryBytes }: BlobShape, type: SliverType): number =>
  type === 'primary' ? primaryBytes : secondaryBytes;

/** The slivers of one pair that the node does not have. */
const storePair = async (
  work: UploadWork,
  node: StorageNode,
  pair: number,
  resuming: boolean,
  signal: AbortSignal,
): Promise<void> => {
  const { client, budget, file, shape } = work;
  const isStored = (type: SliverType) =>
    retryNode(work, signal, () => client.hasSliver(node, file.blobId, pair, type, signal));
  const stored = resuming ? await Promise.all(TYPES.map(isStored)) : [];
  const missing = new Set(TYPES.filter((_, i) => stored[i] !== true));
  const put = async (type: SliverType, { wire }: WireSliver) => {
    await budget.send(wire.length, () =>
      client.putSliver(node, file.blobId, pair, type, wire, signal),
    );
    missing.delete(type);
  };
  // Who waits before the next try holds nothing.
  const attempt = () =>
    budget.using(pairBytes(shape), signal, async () => {
      const slivers = await readPair(work, pair);
      const ends = await Promise.allSettled([...missing].map(type => put(type, slivers[type])));
      for (const type of TYPES) work.pool.give(slivers[type].wire);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    });
  if (missing.size > 0) await retryNode(work, signal, attempt);
  for (const type of TYPES) work.onStored(sliverBytes(shape, type));
};

/** Both slivers of a pair, which stand side by side in the file, as they travel. */
const readPair = async (
  work: UploadWork,
  pair: number,
): Promise<Record<SliverType, WireSliver>> => {
  const { shape, file, handle, pool } = work;
  const { primaryBytes, secondaryBytes, symbolBytes } = shape;
  const sliver = (length: number, index: number) =>
    wireSliver(length, symbolBytes, index, pool.take(wireBytes(length)));
  const slivers = {
    primary: sliver(primaryBytes, pair),
    secondary: sliver(secondaryBytes, file.nShards - 1 - pair),
  };
  const wanted = pairBytes(shape);
  const parts = [slivers.primary.data, slivers.secondary.data];
  const { bytesRead } = await handle.readv(parts, pair * wanted);
  if (bytesRead !== wanted)
    throw new TuskError('damaged', 'the file of encoded slivers is too short');
  return slivers;
};
