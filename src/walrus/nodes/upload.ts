/**
 * Storing a blob on the nodes of a committee, many in parallel. Each node goes through metadata,
 * slivers, confirmation. Some nodes go first (FirstNodes), and the certificate is there as soon as a
 * quorum of shards has confirmed; the rest goes on as the tail, which slow and unreachable nodes do
 * not hold up. If the epoch changes meanwhile, the upload goes on in the new one: with its committee,
 * sending only what its nodes do not have.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { abortError, type Deadline, deadline } from '../../base/abort.ts';
import { after } from '../../base/clock.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import { log } from '../../base/log.ts';
import { type BlobShape, native } from '../../native.ts';
import { Confirmations, epochOfConfirmation, quorumOf } from '../certificate.ts';
import type {
  Certificate,
  Committee,
  EncodedFile,
  StorageNode,
  StoreProgress,
  StoreRun,
} from '../network.ts';
import { backoffMs, type Parts, pause, type RetryPolicy } from '../retry.ts';
import type { NodeClient, RawConfirmation, StoredObject } from './client.ts';
import { FirstNodes } from './first-nodes.ts';
import { rotationOf } from './places.ts';
import { byTrust } from './slivers.ts';
import type { UploadBudget } from './upload-budget.ts';
import { pairBytes, retryNode, storeOnNode, type UploadWork } from './upload-node.ts';
import { type ReadCommittee, Round } from './upload-round.ts';
import type { WirePool } from './wire-pool.ts';

/** How long a node may confirm for another epoch than the chain's before it counts as failed. */
const EPOCH_LAG_MS = 60_000;
const EPOCH_LAG: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 250, maxMs: 2_000 };

/** What an upload works with. */
export interface UploadParts extends Parts {
  readonly client: NodeClient;
  readonly budget: UploadBudget;
  readonly pool: WirePool;
  readonly committee: ReadCommittee;
}

/** What the caller asks for (see `Network.store`). */
export interface UploadOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: StoreProgress) => void;
  readonly tailMs: number;
}

/** Starts an upload. */
export const startUpload = (
  parts: UploadParts,
  file: EncodedFile,
  object: StoredObject,
  options: UploadOptions,
): StoreRun => {
  const upload = new Upload(parts, file, object, options);
  const ended = upload.run();
  const tail = () => {
    upload.goOn();
    return ended;
  };
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
  readonly #object: StoredObject;
  readonly #options: UploadOptions;
  readonly #shape: BlobShape;
  readonly #limit: Deadline;
  readonly #progress: StoreProgress;
  #failures = new Map<StorageNode, unknown>();
  #current: Round | undefined;
  /** Calls off the end of the tail, once there is a certificate. */
  #tail: (() => void) | undefined;
  /** Are the remaining nodes sent to behind the certificate? */
  #goesOn = false;

  constructor(parts: UploadParts, file: EncodedFile, object: StoredObject, options: UploadOptions) {
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
    this.#limit = deadline(options.signal, undefined);
    const bytesTotal = pairBytes(this.#shape) * file.nShards;
    this.#progress = { bytesSent: 0, bytesTotal, shardsConfirmed: 0 };
  }

  /** Runs to the end of the tail; never rejects. */
  async run(): Promise<{ shards: number; missing: string[] }> {
    let committee: Committee | undefined;
    try {
      committee = await this.#run();
    } catch (error) {
      this.#settle.reject(error);
    } finally {
      this.#tail?.();
      this.#tail = undefined;
      this.#limit.done();
    }
    return { shards: this.#storedShards(committee), missing: this.#missing() };
  }

  /** From the certificate on, or now, the remaining nodes are sent to. */
  goOn(): void {
    if (this.#goesOn) return;
    this.#goesOn = true;
    if (this.#tail !== undefined) this.#startTail();
  }

  #startTail(): void {
    this.#tail?.();
    this.#tail = after(this.#options.tailMs, () =>
      this.#limit.controller.abort(new TuskError('timeout', 'the tail of the upload ended')),
    );
    if (this.#goesOn) this.#current?.first.letAllGo();
  }

  /** Shards of the nodes of the last round that did not fail. */
  #storedShards(committee: Committee | undefined): number {
    const stored = committee?.nodes.filter(node => !this.#failures.has(node)) ?? [];
    return stored.reduce((sum, node) => sum + node.shards.length, 0);
  }

  /** Names of the nodes that failed, in the committee's order. */
  #missing(): string[] {
    return [...this.#failures.keys()].sort((a, b) => a.index - b.index).map(node => node.name);
  }

  /** Rounds until one is not overtaken by a new epoch; the committee of the last. */
  async #run(): Promise<Committee> {
    const handle = await open(this.#file.sliversPath, 'r');
    try {
      let committee = await this.#parts.committee(false, this.#limit.signal);
      for (;;) {
        const next = await this.#round(committee, handle);
        if (next === undefined) return committee;
        log('walrus').info({ blobId: this.#file.blobId, epoch: next.epoch }, 'epoch has changed');
        committee = next;
      }
    } finally {
      await handle.close();
    }
  }

  /** All nodes of one committee; answers a newer committee if there is one before the quorum. */
  async #round(committee: Committee, handle: FileHandle): Promise<Committee | undefined> {
    if (committee.nShards !== this.#file.nShards) {
      throw new TuskError(
        'epoch_changed',
        `blob ${this.#file.blobId} was encoded for ${this.#file.nShards} shards, the network has ${committee.nShards}: encode it again`,
      );
    }
    this.#failures = new Map();
    this.#progress.bytesSent = 0;
    const { client, clock, random } = this.#parts;
    const first = new FirstNodes(committee, byTrust(committee.nodes, client.health, random), clock);
    const round = new Round(this.#parts.committee, committee, first, this.#limit.signal);
    this.#current = round;
    const confirmations = new Confirmations(committee, this.#file.blobId, this.#object);
    const work = this.#work(committee, handle);
    const storeOn = async (node: StorageNode): Promise<void> => {
      await this.#storeOn(node, round, work, confirmations);
      if (this.#failures.has(node)) first.letAllGo();
      else first.confirmed(confirmations.shards);
    };
    try {
      await Promise.all(committee.nodes.map(storeOn));
    } finally {
      round.end();
    }
    if (round.next !== undefined) return round.next;
    for (const liar of confirmations.verify()) this.#lied(liar);
    if (!confirmations.isQuorum) throw await this.#tooFew(committee, confirmations.shards);
    return undefined;
  }

  #work(committee: Committee, handle: FileHandle): UploadWork {
    const { client, budget, pool, clock, random } = this.#parts;
    return {
      ...{ client, budget, pool, clock, random, handle },
      shardBytesMax: budget.limitBytes / committee.nShards,
      file: this.#file,
      object: this.#object,
      shape: this.#shape,
      rotation: rotationOf(this.#file.blobId, this.#file.nShards),
      onStored: bytes => {
        this.#progress.bytesSent += bytes;
        this.#options.onProgress?.(this.#progress);
      },
    };
  }

  /** One node from metadata to confirmation; a failure is noted, not thrown. */
  async #storeOn(
    node: StorageNode,
    round: Round,
    work: UploadWork,
    confirmations: Confirmations,
  ): Promise<void> {
    // A signal of the node's own: the listeners of all requests on one would slow each other down.
    const limit = deadline(round.signal, undefined);
    try {
      await round.first.turn(node, limit.signal);
      await storeOnNode(work, node, limit.signal);
      await this.#confirm(node, round, confirmations, limit.signal);
    } catch (error) {
      // A node that gave its shards away is the first to show that the committee is an old one.
      if (isReassigned(error) && this.#tail === undefined) await round.isOld();
      this.#failures.set(node, error);
      log('walrus').info({ node: node.name, why: messageOf(error) }, 'node not stored');
    } finally {
      limit.done();
    }
  }

  /** The node's confirmation, asked for again while node and chain are not in the same epoch. */
  async #confirm(
    node: StorageNode,
    round: Round,
    confirmations: Confirmations,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, clock, random } = this.#parts;
    const startMs = clock.monotonicMs();
    for (let failed = 1; ; failed++) {
      const raw = await retryNode(this.#parts, signal, () =>
        client.confirmation(node, this.#file.blobId, this.#object, signal),
      );
      if (raw.message.equals(confirmations.message)) {
        return this.#confirmed(node, raw, confirmations);
      }
      const epoch = epochOfConfirmation(raw.message, confirmations.message);
      if (epoch === undefined || !isSigned(node, raw)) throw this.#lied(node);
      // Behind the certificate it only matters that the node has everything.
      if (this.#tail !== undefined) return;
      if (epoch > round.committee.epoch) await round.isOld();
      if (clock.monotonicMs() - startMs > EPOCH_LAG_MS) {
        throw new TuskError(
          'epoch_changed',
          `storage node ${node.name} confirms for epoch ${epoch}, the chain is in ${round.committee.epoch}`,
          { details: { node: node.name } },
        );
      }
      await pause(clock, backoffMs(EPOCH_LAG, failed, random), signal);
    }
  }

  #confirmed(node: StorageNode, { signature }: RawConfirmation, confirmations: Confirmations) {
    confirmations.add(node, signature);
    if (confirmations.isQuorum && this.#tail === undefined) {
      for (const liar of confirmations.verify()) this.#lied(liar);
    }
    this.#progress.shardsConfirmed = confirmations.shards;
    this.#options.onProgress?.(this.#progress);
    if (!confirmations.isQuorum || this.#tail !== undefined) return;
    this.#settle.resolve(confirmations.certificate());
    this.#startTail();
  }

  /** Notes a node whose confirmation is none. */
  #lied(node: StorageNode): TuskError {
    this.#parts.client.health.lied(node, 'its confirmation does not verify');
    const error = new TuskError(
      'unverified',
      `the confirmation of storage node ${node.name} does not verify`,
      { details: { node: node.name } },
    );
    this.#failures.set(node, error);
    return error;
  }

  /** What is to be known of an upload without a quorum; the next attempt reads the chain anew. */
  async #tooFew(committee: Committee, shards: number): Promise<TuskError> {
    if (this.#options.signal.aborted) return abortError(this.#options.signal);
    await this.#parts.committee(true, this.#options.signal).catch(() => {});
    return new TuskError(
      'too_few_shards',
      `blob ${this.#file.blobId} was confirmed by nodes of ${shards} of ${committee.nShards} shards, ${quorumOf(committee.nShards)} are needed; missing: ${this.#missing().join(', ')}. What was stored stays stored; it is tried again.`,
      {
        cause: [...this.#failures.values()][0],
        details: { shards, needed: quorumOf(committee.nShards) },
      },
    );
  }
}

const isReassigned = (error: unknown): boolean =>
  error instanceof TuskError && error.details.reason === 'SHARD_NOT_ASSIGNED';

const isSigned = (node: StorageNode, { message, signature }: RawConfirmation): boolean => {
  try {
    return native.blsVerify(node.publicKey, message, signature);
  } catch {
    return false;
  }
};
