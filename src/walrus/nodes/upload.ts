/**
 * Storing a blob on all nodes in parallel. Each node goes through metadata, slivers, confirmation;
 * what it already has is not sent again. The certificate is there as soon as a quorum of shards
 * has confirmed; the rest goes on as the tail, which unreachable nodes do not hold up.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { abortError, deadline } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { SliverType, SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import { type BlobShape, native } from '../../native.ts';
import { Confirmations, quorumOf } from '../certificate.ts';
import type {
  Certificate,
  Committee,
  EncodedFile,
  StorageNode,
  StoreProgress,
  StoreRun,
} from '../network.ts';
import { type Parts, pause, type RetryPolicy, retry } from '../retry.ts';
import type { ByteBudget } from './budget.ts';
import { isUnregistered, type NodeClient } from './client.ts';
import { pairOfShard, rotationOf, wireSliver } from './places.ts';

const NODE_RETRY: RetryPolicy = { tries: 5, baseMs: 200, maxMs: 2_000 };
/** Nodes learn of a registration some time after the chain. */
const REGISTRATION_MS = 60_000;
const REGISTRATION_POLL_MS = 200;
const SLIVERS_AT_ONCE = 4;

/** What an upload works with. */
export interface UploadParts extends Parts {
  readonly client: NodeClient;
  readonly budget: ByteBudget;
  readonly committee: (fresh: boolean, signal: AbortSignal) => Promise<Committee>;
}

/** What the caller asks for (see `Network.store`). */
export interface UploadOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: StoreProgress) => void;
  readonly tailMs: number;
}

type BlobRefs = { readonly objectId: SuiId; readonly deletable: boolean };

/** Starts an upload. */
export const startUpload = (
  parts: UploadParts,
  file: EncodedFile,
  object: BlobRefs,
  options: UploadOptions,
): StoreRun => {
  const upload = new Upload(parts, file, object, options);
  const tail = upload.run();
  return { certificate: upload.certificate, tail };
};

class Upload {
  readonly certificate: Promise<Certificate>;
  readonly #settle: {
    readonly resolve: (certificate: Certificate) => void;
    readonly reject: (error: unknown) => void;
  };
  readonly #parts: UploadParts;
  readonly #file: EncodedFile;
  readonly #object: BlobRefs;
  readonly #options: UploadOptions;
  readonly #shape: BlobShape;
  readonly #rotation: number;
  readonly #limit;
  readonly #progress: StoreProgress;
  readonly #failures = new Map<StorageNode, unknown>();
  #storedShards = 0;
  #tailTimer: NodeJS.Timeout | undefined;

  constructor(parts: UploadParts, file: EncodedFile, object: BlobRefs, options: UploadOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<Certificate>();
    this.certificate = promise;
    // A caller may wait for the tail only: the rejection is then not its concern.
    promise.catch(() => {});
    this.#settle = { resolve, reject };
    this.#parts = parts;
    this.#file = file;
    this.#object = object;
    this.#options = options;
    this.#shape = native.blobShape(file.size, file.nShards);
    this.#rotation = rotationOf(file.blobId, file.nShards);
    this.#limit = deadline(options.signal, undefined);
    const pairBytes = this.#shape.primaryBytes + this.#shape.secondaryBytes;
    this.#progress = { bytesSent: 0, bytesTotal: pairBytes * file.nShards, shardsConfirmed: 0 };
  }

  /** Runs to the end of the tail; never rejects. */
  async run(): Promise<{ shards: number; missing: string[] }> {
    try {
      await this.#run();
    } catch (error) {
      this.#settle.reject(error);
    } finally {
      clearTimeout(this.#tailTimer);
      this.#limit.done();
    }
    return {
      shards: this.#storedShards,
      missing: this.#missing(),
    };
  }

  /** Names of the nodes that failed, in the committee's order. */
  #missing(): string[] {
    return [...this.#failures.keys()].sort((a, b) => a.index - b.index).map(node => node.name);
  }

  async #run(): Promise<void> {
    const committee = await this.#parts.committee(false, this.#limit.signal);
    if (committee.nShards !== this.#file.nShards) {
      throw new TuskError(
        'epoch_changed',
        `blob ${this.#file.blobId} was encoded for ${this.#file.nShards} shards, the network has ${committee.nShards}: encode it again`,
      );
    }
    const confirmations = new Confirmations(committee, this.#file.blobId, this.#object);
    const handle = await open(this.#file.sliversPath, 'r');
    try {
      await Promise.all(committee.nodes.map(node => this.#storeOn(node, handle, confirmations)));
    } finally {
      await handle.close();
    }
    if (!confirmations.isQuorum) throw await this.#tooFew(committee, confirmations.shards);
  }

  /** One node from metadata to confirmation; a failure is noted, not thrown. */
  async #storeOn(
    node: StorageNode,
    handle: FileHandle,
    confirmations: Confirmations,
  ): Promise<void> {
    const signal = this.#limit.signal;
    try {
      const resuming = await this.#storeMetadata(node, signal);
      await this.#storeSlivers(node, handle, resuming, signal);
      await this.#confirm(node, confirmations, signal);
    } catch (error) {
      this.#failures.set(node, error);
      log('walrus').info({ node: node.name, why: messageOf(error) }, 'node not stored');
    }
  }

  #retry<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    return retry(NODE_RETRY, this.#parts, signal, attempt);
  }

  /** Answers whether the node had the metadata, so that its slivers are worth asking for. */
  async #storeMetadata(node: StorageNode, signal: AbortSignal): Promise<boolean> {
    const { client, clock } = this.#parts;
    const { blobId, metadata } = this.#file;
    if (await this.#retry(signal, () => client.hasMetadata(node, blobId, signal))) return true;
    const startMs = clock.monotonicMs();
    for (;;) {
      try {
        await this.#retry(signal, () =>
          client.putMetadata(node, blobId, metadata, signal).catch(unregisteredForNow),
        );
        return false;
      } catch (error) {
        if (!isUnregistered(error) || clock.monotonicMs() - startMs > REGISTRATION_MS) throw error;
      }
      await pause(clock, REGISTRATION_POLL_MS, signal);
    }
  }

  async #storeSlivers(
    node: StorageNode,
    handle: FileHandle,
    resuming: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { nShards } = this.#file;
    const queue = node.shards.flatMap(shard => {
      const pair = pairOfShard(shard, this.#rotation, nShards);
      return [
        { pair, type: 'primary' as SliverType },
        { pair, type: 'secondary' as SliverType },
      ];
    });
    const worker = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await this.#storeSliver(node, handle, next.pair, next.type, resuming, signal);
      }
    };
    try {
      await Promise.all(Array.from({ length: SLIVERS_AT_ONCE }, worker));
    } catch (error) {
      queue.length = 0;
      throw error;
    }
  }

  async #storeSliver(
    node: StorageNode,
    handle: FileHandle,
    pair: number,
    type: SliverType,
    resuming: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, budget } = this.#parts;
    const { blobId, nShards } = this.#file;
    const { primaryBytes, secondaryBytes, symbolBytes } = this.#shape;
    const length = type === 'primary' ? primaryBytes : secondaryBytes;
    const stored =
      resuming &&
      (await this.#retry(signal, () => client.hasSliver(node, blobId, pair, type, signal)));
    if (!stored) {
      await budget.using(length, signal, async () => {
        const index = type === 'primary' ? pair : nShards - 1 - pair;
        const { wire, data } = wireSliver(length, symbolBytes, index);
        const offset =
          pair * (primaryBytes + secondaryBytes) + (type === 'primary' ? 0 : primaryBytes);
        await readFully(handle, data, offset);
        await this.#retry(signal, () => client.putSliver(node, blobId, pair, type, wire, signal));
      });
    }
    this.#progress.bytesSent += length;
    this.#options.onProgress?.(this.#progress);
  }

  async #confirm(
    node: StorageNode,
    confirmations: Confirmations,
    signal: AbortSignal,
  ): Promise<void> {
    const { client } = this.#parts;
    const raw = await this.#retry(signal, () =>
      client.confirmation(node, this.#file.blobId, this.#object, signal),
    );
    if (!confirmations.add(node, raw.message, raw.signature)) {
      throw this.#badConfirmation(node, raw.message, confirmations.message);
    }
    this.#storedShards += node.shards.length;
    this.#progress.shardsConfirmed = confirmations.shards;
    this.#options.onProgress?.(this.#progress);
    if (!confirmations.isQuorum || this.#tailTimer !== undefined) return;
    this.#settle.resolve(confirmations.certificate());
    this.#tailTimer = setTimeout(
      () => this.#limit.controller.abort(new TuskError('timeout', 'the tail of the upload ended')),
      this.#options.tailMs,
    );
  }

  #badConfirmation(node: StorageNode, message: Buffer, expected: Buffer): TuskError {
    const otherEpoch = message.length === expected.length && !message.equals(expected);
    if (otherEpoch) {
      return new TuskError(
        'epoch_changed',
        `storage node ${node.name} confirmed for another epoch or blob`,
        { details: { node: node.name } },
      );
    }
    this.#parts.client.health.lied(node, 'its confirmation does not verify');
    return new TuskError(
      'unverified',
      `the confirmation of storage node ${node.name} does not verify`,
      {
        details: { node: node.name },
      },
    );
  }

  async #tooFew(committee: Committee, shards: number): Promise<TuskError> {
    if (this.#options.signal.aborted) return abortError(this.#options.signal);
    const causes = [...this.#failures.values()];
    if (causes.some(cause => cause instanceof TuskError && cause.code === 'epoch_changed')) {
      await this.#parts.committee(true, this.#options.signal).catch(() => {});
    }
    return new TuskError(
      'too_few_shards',
      `blob ${this.#file.blobId} was confirmed by nodes of ${shards} of ${committee.nShards} shards, ${quorumOf(committee.nShards)} are needed; missing: ${this.#missing().join(', ')}. What was stored stays stored; it is tried again.`,
      { cause: causes[0], details: { shards, needed: quorumOf(committee.nShards) } },
    );
  }
}

/** Waiting for a registration has its own patience: not a failure that the retry policy counts. */
const unregisteredForNow = (error: unknown): never => {
  if (!(error instanceof TuskError) || !isUnregistered(error)) throw error;
  throw new TuskError(error.code, error.message, { kind: 'permanent', details: error.details });
};

const readFully = async (handle: FileHandle, into: Buffer, offset: number): Promise<void> => {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await handle.read(into, at, into.length - at, offset + at);
    if (bytesRead === 0) throw new TuskError('damaged', 'the file of encoded slivers is too short');
    at += bytesRead;
  }
};
