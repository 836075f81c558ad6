/**
 * Keeps a node's part whole: at its start, a while after blobs were certified, and whenever shards
 * move to it, it fetches what it lacks of certified blobs, from the node that held the shard before, or else rebuilds it from recovery
 * symbols. When everything is there it says so on the ledger; a blob that turns out to be
 * inconsistent is proved so to the others and marked invalid.
 */
import { systemClock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import { type BlobId, blobIdToBytes, type Epoch, type SliverType } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { GenesisNode } from '../feed.ts';
import { type BlobMetadata, fetchMetadata, fetchSliver } from '../peers.ts';
import { writeSliver } from './bcs.ts';
import { certifyInvalid, type InvalidCertificate } from './inconsistency.ts';
import { recoverSliver } from './recovery.ts';
import type { NodeService } from './service.ts';
import { rotationOf, shardOfPair, sliverOfPair } from './shards.ts';

/** Writers may still be sending when a quorum has certified a blob. */
const GRACE_MS = 30_000;
const RETRY_MS = 250;
const RETRY_MS_MAX = 5_000;

/** What a node tells the ledger. */
export interface Chain {
  /** Node `index` holds what it must hold in this epoch. */
  syncDone(epoch: Epoch, index: number): Promise<void>;
  /** Nodes of more than f shards attest that a blob is inconsistent. */
  invalidate(certificate: InvalidCertificate): Promise<void>;
}

/** Fetches and rebuilds what one node lacks, while it runs. */
export class Sync {
  readonly #node: NodeService;
  readonly #chain: Chain;
  readonly #abort = new AbortController();
  #wake = Promise.withResolvers<void>();
  #ended: Promise<void> = Promise.resolve();
  #grace: NodeJS.Timeout | undefined;
  readonly #onCommittee = () => this.#wake.resolve();
  readonly #onCertified = () => {
    this.#grace ??= setTimeout(() => {
      this.#grace = undefined;
      this.#wake.resolve();
    }, GRACE_MS);
  };

  constructor(node: NodeService, chain: Chain) {
    this.#node = node;
    this.#chain = chain;
  }

  /** Begins in the background. */
  start(): void {
    this.#node.registry.on('committee', this.#onCommittee);
    this.#node.registry.on('certified', this.#onCertified);
    this.#ended = this.#run();
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#node.registry.off('committee', this.#onCommittee);
    this.#node.registry.off('certified', this.#onCertified);
    clearTimeout(this.#grace);
    this.#abort.abort();
    this.#wake.resolve();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    for (let waitMs = RETRY_MS; !signal.aborted; ) {
      this.#wake = Promise.withResolvers();
      let complete = false;
      try {
        complete = await this.#pass();
      } catch (error) {
        if (signal.aborted) return;
        log('localnet').warn({ error: messageOf(error) }, 'a node could not complete its part');
      }
      const pause = complete ? [] : [systemClock.sleep(waitMs, signal).catch(() => undefined)];
      waitMs = complete ? RETRY_MS : Math.min(2 * waitMs, RETRY_MS_MAX);
      await Promise.race([this.#wake.promise, ...pause]);
    }
  }

  /** Gets what can be had now; true if nothing is missing any more, which the ledger is told. */
  async #pass(): Promise<boolean> {
    const { registry, identity, store } = this.#node;
    const { epoch } = registry;
    let complete = true;
    for (const blobId of store.keepsSlivers ? registry.certified() : []) {
      if (!(await this.#complete(blobId))) complete = false;
    }
    if (!complete) return false;
    if (registry.isChanging && this.#node.shards.length > 0) {
      await this.#chain.syncDone(epoch, identity.index);
    }
    return registry.epoch === epoch;
  }

  async #complete(blobId: BlobId): Promise<boolean> {
    const types = ['primary', 'secondary'] as const;
    const missing = this.#node
      .pairs(blobId)
      .flatMap(pair => types.map(type => ({ pair, type })))
      .filter(({ pair, type }) => !this.#node.store.hasSliver(blobId, pair, type));
    if (missing.length === 0) return true;
    const metadata = await this.#metadata(blobId);
    if (metadata === undefined) return false;
    let complete = true;
    for (const { pair, type } of missing) {
      this.#abort.signal.throwIfAborted();
      if (!this.#node.registry.isRegistered(blobId)) return true;
      if (!(await this.#obtain(blobId, metadata, pair, type))) complete = false;
    }
    return complete;
  }

  /** All other nodes, each node beginning with its neighbour. */
  #peers(): GenesisNode[] {
    const { nodes } = this.#node.registry;
    const { index } = this.#node.identity;
    return [...nodes.slice(index + 1), ...nodes.slice(0, index)];
  }

  async #metadata(blobId: BlobId): Promise<BlobMetadata | undefined> {
    const { nShards } = this.#node.identity;
    if (this.#node.hasMetadata(blobId)) return this.#node.metadata(blobId);
    const found = await fetchMetadata(this.#peers(), blobId, nShards, this.#abort.signal);
    if (found !== undefined) await this.#node.putMetadata(blobId, found.bytes);
    return found;
  }

  async #obtain(
    blobId: BlobId,
    metadata: BlobMetadata,
    pair: number,
    type: SliverType,
  ): Promise<boolean> {
    const { signal } = this.#abort;
    const { nShards } = this.#node.identity;
    const { registry } = this.#node;
    const index = sliverOfPair(pair, type, nShards);
    const shard = shardOfPair(pair, rotationOf(blobIdToBytes(blobId), nShards), nShards);
    const before = registry.previousOwner(shard);
    const place = { pair, type, index };
    let data =
      before === undefined || before.index === this.#node.identity.index
        ? undefined
        : await fetchSliver(before, blobId, metadata, nShards, place, signal);
    if (data === undefined) {
      const target = { type, index };
      const peers = this.#peers();
      const recovered = await recoverSliver(peers, blobId, metadata, nShards, target, signal);
      if (recovered === undefined) return false;
      if ('inconsistent' in recovered) {
        await this.#invalidate(blobId, type, index, recovered.inconsistent);
        return false;
      }
      data = recovered.data;
    }
    const body = writeSliver({ data, symbolBytes: metadata.shape.symbolBytes, index });
    await this.#node.putSliver(blobId, pair, type, body);
    return true;
  }

  async #invalidate(
    blobId: BlobId,
    type: SliverType,
    index: number,
    symbols: Parameters<typeof certifyInvalid>[5],
  ): Promise<void> {
    const { registry } = this.#node;
    const members = registry.nodes
      .map(node => ({ ...node, shards: registry.shardsOf(node.index) }))
      .filter(node => node.shards.length > 0);
    const { signal } = this.#abort;
    const certificate = await certifyInvalid(
      this.#node,
      members,
      blobId,
      type,
      index,
      symbols,
      signal,
    );
    log('localnet').warn({ blobId, certified: certificate !== undefined }, 'inconsistent blob');
    if (certificate !== undefined) await this.#chain.invalidate(certificate);
  }
}
