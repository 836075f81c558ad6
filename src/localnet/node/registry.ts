/**
 * What a storage node knows of the ledger: which blobs are registered, certified, permanent or
 * deletable, until when, and the epoch. It is fed with events in their order and holds nothing
 * durable: the ledger keeps all events, and a restart replays them. A blob without any live
 * registration does not exist for the nodes, from the moment the event is applied; neither does one
 * that was found to be inconsistent. It also says who holds which shards, now and before.
 */
import { EventEmitter } from 'node:events';
import type { BlobId, Epoch, SuiId } from '../../base/ids.ts';
import type { GenesisNode, LedgerEvent } from '../feed.ts';

interface Registration {
  readonly deletable: boolean;
  endEpoch: Epoch;
  certifiedEpoch: Epoch | undefined;
  /** The event behind the present state: Sui's id of an event. */
  event: StatusEvent;
}

interface StatusEvent {
  readonly txDigest: string;
  readonly eventSeq: string;
}

interface DeletableCounts {
  readonly count_deletable_total: number;
  readonly count_deletable_certified: number;
}

/** Answer to `GET …/status`, in the official JSON shape. */
export type BlobStatus =
  | 'nonexistent'
  | { readonly invalid: { readonly event: StatusEvent } }
  | {
      readonly permanent: {
        readonly endEpoch: Epoch;
        readonly isCertified: boolean;
        readonly statusEvent: StatusEvent;
        readonly deletableCounts: DeletableCounts;
        readonly initialCertifiedEpoch: Epoch | null;
      };
    }
  | {
      readonly deletable: {
        readonly initialCertifiedEpoch: Epoch | null;
        readonly deletableCounts: DeletableCounts;
      };
    };

type Shards = readonly (readonly number[])[];

/** The nodes' common view of the ledger; emits `registered`, `certified` and `gone` with a blob ID, `committee` when shards begin to move and `settled` when they have. */
export class Registry extends EventEmitter<{
  registered: [BlobId];
  certified: [BlobId];
  gone: [BlobId];
  committee: [];
  settled: [];
}> {
  /** All nodes, by index, with their shards at genesis. */
  readonly nodes: readonly GenesisNode[];
  readonly #blobs = new Map<BlobId, Map<SuiId, Registration>>();
  readonly #invalid = new Map<BlobId, StatusEvent>();
  #committee: Shards;
  #previous: Shards | undefined;
  #epoch: Epoch;
  #applied = 0;
  /** Events known to have happened but not yet applied. */
  pending = 0;

  constructor(epoch: Epoch, nodes: readonly GenesisNode[]) {
    super();
    this.nodes = nodes;
    this.#committee = nodes.map(node => node.shards);
    this.setMaxListeners(0);
    this.#epoch = epoch;
  }

  /** Epoch, as far as the node has learnt. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** Number of the last event applied. */
  get applied(): number {
    return this.#applied;
  }

  /** Applies the next event. */
  apply(event: LedgerEvent): void {
    this.#applied = event.seq;
    switch (event.kind) {
      case 'epoch':
        this.#enter(event.epoch, event.committee);
        break;
      case 'epochDone':
        this.#settle();
        break;
      case 'deleted':
        this.#delete(event.blobId, event.objectId);
        break;
      case 'invalidated':
        this.#invalidate(event.blobId, event);
        break;
      default:
        this.#record(event);
    }
  }

  /** Shards of node `index` in this epoch. */
  shardsOf(index: number): readonly number[] {
    return this.#committee[index] ?? [];
  }

  /** Shards of node `index` in the epoch before, while they move; it still serves reads of them. */
  previousShardsOf(index: number): readonly number[] {
    return this.#previous?.[index] ?? [];
  }

  /** Do shards move? */
  get isChanging(): boolean {
    return this.#previous !== undefined;
  }

  /** The node that held a shard before it moved to another. */
  previousOwner(shard: number): GenesisNode | undefined {
    const index = this.#previous?.findIndex(shards => shards.includes(shard)) ?? -1;
    return this.nodes[index];
  }

  /** Blobs that every node must hold its part of. */
  certified(): BlobId[] {
    return [...this.#blobs.keys()].filter(blobId =>
      this.#live(blobId).some(one => one.certifiedEpoch !== undefined),
    );
  }

  /** Is there a live registration of the blob? */
  isRegistered(blobId: BlobId): boolean {
    return this.#live(blobId).length > 0;
  }

  /** Is this Blob object live and deletable? */
  isDeletable(blobId: BlobId, objectId: SuiId): boolean {
    const found = this.#blobs.get(blobId)?.get(objectId);
    return found?.deletable === true && found.endEpoch > this.#epoch;
  }

  /** Resolves to true once the blob is registered, to false after `waitMs`. */
  waitForRegistration(blobId: BlobId, waitMs: number): Promise<boolean> {
    if (this.isRegistered(blobId)) return Promise.resolve(true);
    return new Promise(resolve => {
      const settle = (found: boolean) => {
        clearTimeout(timer);
        this.off('registered', onRegistered);
        resolve(found);
      };
      const onRegistered = (id: BlobId) => {
        if (id === blobId) settle(true);
      };
      const timer = setTimeout(settle, waitMs, false);
      this.on('registered', onRegistered);
    });
  }

  /** The blob's status as of the epoch that the node knows. */
  status(blobId: BlobId): BlobStatus {
    const event = this.#invalid.get(blobId);
    if (event !== undefined) return { invalid: { event } };
    const live = this.#live(blobId);
    if (live.length === 0) return 'nonexistent';
    const deletable = live.filter(one => one.deletable);
    const deletableCounts = {
      count_deletable_total: deletable.length,
      count_deletable_certified: deletable.filter(one => one.certifiedEpoch !== undefined).length,
    };
    const certified = live.flatMap(one => one.certifiedEpoch ?? []);
    const initialCertifiedEpoch = certified.length === 0 ? null : Math.min(...certified);
    const latest = latestPermanent(live);
    if (latest === undefined) return { deletable: { initialCertifiedEpoch, deletableCounts } };
    return {
      permanent: {
        endEpoch: latest.endEpoch,
        isCertified: latest.certifiedEpoch !== undefined,
        statusEvent: latest.event,
        deletableCounts,
        initialCertifiedEpoch,
      },
    };
  }

  #live(blobId: BlobId): Registration[] {
    if (this.#invalid.has(blobId)) return [];
    const objects = this.#blobs.get(blobId)?.values() ?? [];
    return [...objects].filter(one => one.endEpoch > this.#epoch);
  }

  #record(event: Extract<LedgerEvent, { kind: 'registered' | 'certified' | 'extended' }>): void {
    const objects = this.#blobs.get(event.blobId) ?? new Map<SuiId, Registration>();
    this.#blobs.set(event.blobId, objects);
    const before = objects.get(event.objectId);
    objects.set(event.objectId, {
      deletable: event.deletable,
      endEpoch: event.endEpoch,
      certifiedEpoch: event.kind === 'certified' ? event.epoch : before?.certifiedEpoch,
      event: { txDigest: event.txDigest, eventSeq: String(event.eventSeq) },
    });
    if (event.kind !== 'extended') this.emit(event.kind, event.blobId);
  }

  #delete(blobId: BlobId, objectId: SuiId): void {
    this.#blobs.get(blobId)?.delete(objectId);
    this.#forgetDead(blobId);
  }

  #invalidate(blobId: BlobId, { txDigest, eventSeq }: LedgerEvent): void {
    this.#invalid.set(blobId, { txDigest, eventSeq: String(eventSeq) });
    this.emit('gone', blobId);
  }

  #settle(): void {
    this.#previous = undefined;
    this.emit('settled');
  }

  #enter(epoch: Epoch, committee: Shards | undefined): void {
    this.#epoch = epoch;
    this.#previous = committee && this.#committee;
    this.#committee = committee ?? this.#committee;
    for (const [blobId, objects] of this.#blobs) {
      for (const [objectId, one] of objects) {
        if (one.endEpoch <= epoch) objects.delete(objectId);
      }
      this.#forgetDead(blobId);
    }
    if (committee !== undefined) this.emit('committee');
  }

  #forgetDead(blobId: BlobId): void {
    if (this.#blobs.get(blobId)?.size !== 0) return;
    this.#blobs.delete(blobId);
    this.emit('gone', blobId);
  }
}

/** The permanent registration that counts: certified before registered, then the longest. */
const latestPermanent = (live: readonly Registration[]): Registration | undefined =>
  live
    .filter(one => !one.deletable)
    .sort(
      (a, b) =>
        Number(b.certifiedEpoch !== undefined) - Number(a.certifiedEpoch !== undefined) ||
        b.endEpoch - a.endEpoch,
    )[0];
