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
import type { ByteBudget } from './budget.ts';
import { isUnregistered, type NodeClient } from './client.ts';
import { pairOfShard, wireSliver } from './places.ts';

const NODE_RETRY: RetryPolicy = { tries: 5, baseMs: 200, maxMs: 2_000 };
/** Nodes learn of a registration some time after the chain. */
const REGISTRATION_MS = 60_000;
const REGISTRATION: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 200, maxMs: 1_000 };
/** Slivers on their way to one node. */
const SLIVERS_AT_ONCE = 4;

/** What the nodes of one upload have in common. */
export interface UploadWork extends Parts {
  readonly client: NodeClient;
  /** Bytes of slivers in memory, over all nodes and uploads. */
  readonly budget: ByteBudget;
  /** Most of them that one node may hold: slow nodes must leave room for the others. */
  readonly nodeBytesMax: number;
  readonly file: EncodedFile;
  readonly handle: FileHandle;
  readonly shape: BlobShape;
  readonly rotation: number;
  /** Bytes that a node has now, sent or found there. */
  readonly onStored: (bytes: number) => void;
}

interface Place {
  readonly pair: number;
  readonly type: SliverType;
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
  const { client, clock, random, file } = work;
  const startMs = clock.monotonicMs();
  for (let failed = 1; ; failed++) {
    try {
      return await retryNode(work, signal, () =>
        client.putMetadata(node, file.blobId, file.metadata, signal).catch(unregisteredForNow),
      );
    } catch (error) {
      if (!isUnregistered(error) || clock.monotonicMs() - startMs > REGISTRATION_MS) throw error;
    }
    await pause(clock, backoffMs(REGISTRATION, failed, random), signal);
  }
};

/** Waiting for a registration has its own patience: not a failure that the retry policy counts. */
const unregisteredForNow = (error: unknown): never => {
  if (!(error instanceof TuskError) || !isUnregistered(error)) throw error;
  throw new TuskError(error.code, error.message, { kind: 'permanent', details: error.details });
};

const bytesOf = ({ shape }: UploadWork, { type }: Place): number =>
  type === 'primary' ? shape.primaryBytes : shape.secondaryBytes;

const storeSlivers = async (
  work: UploadWork,
  node: StorageNode,
  resuming: boolean,
  signal: AbortSignal,
): Promise<void> => {
  const { nShards } = work.file;
  const queue = node.shards.flatMap((shard): Place[] => {
    const pair = pairOfShard(shard, work.rotation, nShards);
    return [
      { pair, type: 'primary' },
      { pair, type: 'secondary' },
    ];
  });
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await storeSliver(work, node, next, resuming, signal);
    }
  };
  const fit = Math.floor(work.nodeBytesMax / work.shape.primaryBytes);
  const workers = Math.min(SLIVERS_AT_ONCE, Math.max(1, fit));
  try {
    await Promise.all(Array.from({ length: workers }, worker));
  } catch (error) {
    queue.length = 0;
    throw error;
  }
};

const storeSliver = async (
  work: UploadWork,
  node: StorageNode,
  place: Place,
  resuming: boolean,
  signal: AbortSignal,
): Promise<void> => {
  const { client, budget, file, shape } = work;
  const { pair, type } = place;
  const length = bytesOf(work, place);
  const stored =
    resuming &&
    (await retryNode(work, signal, () => client.hasSliver(node, file.blobId, pair, type, signal)));
  if (!stored) {
    await budget.using(length, signal, async () => {
      const index = type === 'primary' ? pair : file.nShards - 1 - pair;
      const { wire, data } = wireSliver(length, shape.symbolBytes, index);
      const pairAt = pair * (shape.primaryBytes + shape.secondaryBytes);
      await readFully(work.handle, data, pairAt + (type === 'primary' ? 0 : shape.primaryBytes));
      await retryNode(work, signal, () =>
        client.putSliver(node, file.blobId, pair, type, wire, signal),
      );
    });
  }
  work.onStored(length);
};

const readFully = async (handle: FileHandle, into: Buffer, offset: number): Promise<void> => {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await handle.read(into, at, into.length - at, offset + at);
    if (bytesRead === 0) throw new TuskError('damaged', 'the file of encoded slivers is too short');
    at += bytesRead;
  }
};
