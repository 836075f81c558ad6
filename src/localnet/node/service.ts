/**
 * The rules of one storage node. Metadata is kept only for a blob that the node has learnt to be
 * registered, and only if the blob ID commits to it; a sliver only if its pair's shard is this
 * node's and its Merkle root is the one in the metadata; a confirmation is signed only while
 * metadata and every sliver of every shard of this node are durable.
 */
import { LRUCache } from 'lru-cache';
import { messageOf } from '../../base/errors.ts';
import { type BlobId, blobIdToBytes, type SliverType, type SuiId } from '../../base/ids.ts';
import { type BlobShape, native } from '../../native.ts';
import { readMetadataHead, readSliver, sliverBytes } from './bcs.ts';
import { confirmationMessage } from './confirmation.ts';
import { Refusal } from './refusal.ts';
import type { BlobStatus, Registry } from './registry.ts';
import { pairOfShard, rotationOf, shardOfPair, sliverOfPair } from './shards.ts';
import type { NodeStore } from './store.ts';

const RS2 = 1;
const METADATA_CACHE_ENTRIES = 8;

/** What distinguishes a node from its neighbours. */
export interface NodeIdentity {
  /** Among the registry's nodes. */
  readonly index: number;
  readonly nShards: number;
  readonly blsSecret: Buffer;
  /** 48 bytes. */
  readonly blsPublic: Buffer;
}

/** A blob's metadata with what follows from it. */
export interface StoredMetadata {
  readonly bytes: Buffer;
  readonly size: number;
  readonly shape: BlobShape;
}

/** Answer of a confirmation endpoint. */
export interface SignedMessage {
  readonly serializedMessage: string;
  readonly signature: string;
}

/** One node's answers, without HTTP. */
export class NodeService {
  readonly identity: NodeIdentity;
  readonly registry: Registry;
  readonly store: NodeStore;
  /** Requests for recovery symbols being worked on. */
  recoveryRequests = 0;
  readonly #metadata = new LRUCache<BlobId, StoredMetadata>({ max: METADATA_CACHE_ENTRIES });
  readonly #onGone: (blobId: BlobId) => void;
  readonly #onSettled: () => void;

  constructor(identity: NodeIdentity, registry: Registry, store: NodeStore) {
    this.identity = identity;
    this.registry = registry;
    this.store = store;
    this.#onGone = blobId => void this.#forget(blobId);
    this.#onSettled = () => this.#dropForeign();
  }

  /** Follows the registry from now on and drops what is no longer registered. */
  async open(): Promise<void> {
    await this.store.open();
    this.registry.on('gone', this.#onGone);
    this.registry.on('settled', this.#onSettled);
    for (const blobId of this.store.blobIds()) {
      if (!this.registry.isRegistered(blobId)) await this.#forget(blobId);
    }
    this.#dropForeign();
  }

  /** Stops following and holds no file any more. */
  close(): void {
    this.registry.off('gone', this.#onGone);
    this.registry.off('settled', this.#onSettled);
    this.store.close();
  }

  /** Status of the blob on the ledger, as this node knows it. */
  status(blobId: BlobId): BlobStatus {
    return this.registry.status(blobId);
  }

  /** BlobMetadata of an available blob as it lies on disk. */
  async metadataBytes(blobId: BlobId): Promise<Buffer> {
    const bytes = this.registry.isRegistered(blobId)
      ? await this.store.metadata(blobId)
      : undefined;
    if (bytes === undefined) throw metadataNotFound();
    return bytes;
  }

  /** Metadata of an available blob, parsed; refuses with METADATA_NOT_FOUND. */
  async metadata(blobId: BlobId): Promise<StoredMetadata> {
    const found = await this.#findMetadata(blobId);
    if (found === undefined) throw metadataNotFound();
    return found;
  }

  /** Is the metadata of an available blob here? */
  hasMetadata(blobId: BlobId): boolean {
    return this.registry.isRegistered(blobId) && this.store.hasMetadata(blobId);
  }

  /** Keeps metadata; true if it was new. */
  async putMetadata(blobId: BlobId, bytes: Buffer): Promise<boolean> {
    this.#requireRegistered(blobId);
    if (this.store.hasMetadata(blobId)) return false;
    const parsed = this.#parseMetadata(bytes);
    if (!native.verifyMetadata(bytes, this.identity.nShards, blobIdToBytes(blobId))) {
      throw new Refusal('INVALID_METADATA', 'the provided metadata does not belong to the blob ID');
    }
    await this.store.putMetadata(blobId, bytes);
    this.#metadata.set(blobId, parsed);
    await this.#dropIfGone(blobId);
    return true;
  }

  /** BCS of a sliver of an available blob. */
  async sliver(blobId: BlobId, pair: number, type: SliverType): Promise<Buffer> {
    this.requireIndex(pair);
    const bytes = this.registry.isRegistered(blobId)
      ? await this.#ownSliver(blobId, pair, type)
      : undefined;
    if (bytes === undefined) {
      throw new Refusal('SLIVER_NOT_FOUND', 'the requested sliver is unavailable');
    }
    return bytes;
  }

  /** Is the sliver of an available blob here? */
  hasSliver(blobId: BlobId, pair: number, type: SliverType): boolean {
    this.requireIndex(pair);
    this.#requireShard(blobId, pair, this.readableShards);
    return this.registry.isRegistered(blobId) && this.store.hasSliver(blobId, pair, type);
  }

  /** What a PUT of a sliver must look like; refuses before the body is read. */
  async expectSliver(blobId: BlobId, pair: number, type: SliverType): Promise<{ bytes: number }> {
    this.requireIndex(pair);
    this.#requireRegistered(blobId);
    const metadata = await this.#findMetadata(blobId);
    if (metadata === undefined) {
      throw new Refusal('MISSING_METADATA', 'blob metadata is required but missing');
    }
    this.#requireShard(blobId, pair, this.shards);
    return { bytes: sliverBytes(dataBytes(metadata.shape, type)) };
  }

  /** Verifies and keeps a sliver; true if it was new. `body`: BCS SliverData. */
  async putSliver(blobId: BlobId, pair: number, type: SliverType, body: Buffer): Promise<boolean> {
    await this.expectSliver(blobId, pair, type);
    const { bytes: metadata, shape } = await this.metadata(blobId);
    const { nShards } = this.identity;
    const sliver = readSliver(body);
    if (sliver === undefined) {
      throw new Refusal('INVALID_CONTENT_TYPE', 'unable to decode request body as BCS');
    }
    const index = sliverOfPair(pair, type, nShards);
    if (sliver.index !== index) {
      throw new Refusal(
        'SLIVER_INDEX_MISMATCH',
        `sliver index ${sliver.index} is inconsistent with sliver pair index ${pair}`,
      );
    }
    if (this.store.hasSliver(blobId, pair, type)) return false;
    const fits =
      sliver.symbolBytes === shape.symbolBytes && sliver.data.length === dataBytes(shape, type);
    if (!fits || !(await native.verifySliver(metadata, nShards, type, index, sliver.data))) {
      throw new Refusal('INVALID_SLIVER', 'the provided sliver is not the one of the metadata');
    }
    this.store.putSliver(blobId, pair, type, body);
    await this.#dropIfGone(blobId);
    return true;
  }

  /** Signs that everything of this blob that belongs here is durable; `objectId` if it is deletable. */
  async confirm(blobId: BlobId, objectId: SuiId | undefined): Promise<SignedMessage> {
    this.#requireRegistered(blobId);
    if (!(await this.store.syncBlob(blobId, this.pairs(blobId)))) {
      throw new Refusal('MISSING_SLIVERS', 'the required slivers are not all stored');
    }
    this.#requireRegistered(blobId);
    if (objectId !== undefined && !this.registry.isDeletable(blobId, objectId)) {
      throw notRegistered();
    }
    const message = confirmationMessage(this.registry.epoch, blobIdToBytes(blobId), objectId);
    return this.sign(message);
  }

  /** Signs whatever it is given. */
  sign(message: Buffer): SignedMessage {
    return {
      serializedMessage: message.toString('base64'),
      signature: native.blsSign(this.identity.blsSecret, message).toString('base64'),
    };
  }

  /** Shards that are this node's in this epoch. */
  get shards(): readonly number[] {
    return this.registry.shardsOf(this.identity.index);
  }

  /** Shards that it serves reads of: while shards move, those of the epoch before too. */
  get readableShards(): readonly number[] {
    const before = this.registry.previousShardsOf(this.identity.index);
    return before.length === 0 ? this.shards : [...new Set([...this.shards, ...before])];
  }

  /** Pairs of a blob that belong to this node. */
  pairs(blobId: BlobId): number[] {
    return this.#pairsOf(this.shards, blobId);
  }

  /** Pairs of a blob that this node serves reads of. */
  readablePairs(blobId: BlobId): number[] {
    return this.#pairsOf(this.readableShards, blobId);
  }

  #pairsOf(shards: readonly number[], blobId: BlobId): number[] {
    const { nShards } = this.identity;
    const rotation = rotationOf(blobIdToBytes(blobId), nShards);
    return shards.map(shard => pairOfShard(shard, rotation, nShards));
  }

  /** Refuses an index outside [0, n). */
  requireIndex(index: number): void {
    const { nShards } = this.identity;
    if (!Number.isInteger(index) || index < 0 || index >= nShards) {
      throw new Refusal('INDEX_OUT_OF_RANGE', `requires 0 <= index (${index}) < ${nShards}`);
    }
  }

  #requireRegistered(blobId: BlobId): void {
    if (!this.registry.isRegistered(blobId)) throw notRegistered();
  }

  #requireShard(blobId: BlobId, pair: number, shards: readonly number[]): void {
    const { nShards } = this.identity;
    const shard = shardOfPair(pair, rotationOf(blobIdToBytes(blobId), nShards), nShards);
    if (!shards.includes(shard)) {
      throw new Refusal(
        'SHARD_NOT_ASSIGNED',
        `shard ${shard} is not assigned to this node in epoch ${this.registry.epoch}`,
      );
    }
  }

  #ownSliver(blobId: BlobId, pair: number, type: SliverType): Promise<Buffer | undefined> {
    this.#requireShard(blobId, pair, this.readableShards);
    return this.store.sliver(blobId, pair, type);
  }

  async #findMetadata(blobId: BlobId): Promise<StoredMetadata | undefined> {
    if (!this.registry.isRegistered(blobId)) return undefined;
    const cached = this.#metadata.get(blobId);
    if (cached !== undefined) return cached;
    const bytes = await this.store.metadata(blobId);
    if (bytes === undefined) return undefined;
    const parsed = this.#parseMetadata(bytes);
    this.#metadata.set(blobId, parsed);
    return parsed;
  }

  #parseMetadata(bytes: Buffer): StoredMetadata {
    const head = readMetadataHead(bytes);
    if (head === undefined) {
      throw new Refusal('INVALID_CONTENT_TYPE', 'unable to decode request body as BCS');
    }
    if (head.encodingType !== RS2) {
      throw new Refusal(
        'UNSUPPORTED_ENCODING_TYPE',
        `unsupported encoding type ${head.encodingType}, supported types are: [RS2]`,
      );
    }
    try {
      const shape = native.blobShape(head.size, this.identity.nShards);
      return { bytes, size: head.size, shape };
    } catch (error) {
      throw new Refusal(
        'INVALID_METADATA',
        `the provided metadata failed to verify: ${messageOf(error)}`,
      );
    }
  }

  #forget(blobId: BlobId): Promise<void> {
    this.#metadata.delete(blobId);
    return this.store.forget(blobId);
  }

  /** Slivers of shards that have moved away. */
  #dropForeign(): void {
    for (const blobId of this.store.blobIds()) {
      this.store.keepPairs(blobId, new Set(this.readablePairs(blobId)));
    }
  }

  /** The registration may have ended while bytes were on their way to the disk. */
  async #dropIfGone(blobId: BlobId): Promise<void> {
    if (this.registry.isRegistered(blobId)) return;
    await this.#forget(blobId);
    throw notRegistered();
  }
}

const dataBytes = (shape: BlobShape, type: SliverType): number =>
  type === 'primary' ? shape.primaryBytes : shape.secondaryBytes;

const metadataNotFound = (): Refusal =>
  new Refusal('METADATA_NOT_FOUND', 'the requested metadata is unavailable');

const notRegistered = (): Refusal =>
  new Refusal('NOT_REGISTERED', 'the blob has not been registered or has already expired');
