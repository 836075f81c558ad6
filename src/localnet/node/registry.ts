/**
 * What a storage node knows of the ledger: which blobs are registered, certified, permanent or
 * deletable, until when, and the epoch. It is fed with events in their order and holds nothing
 * durable: the ledger keeps all events, and a restart replays them. A blob without any live
 * registration does not exist for the nodes, from the moment the event is applied.
 */
import { EventEmitter } from 'node:events';
import type { BlobId, Epoch, SuiId } from '../../base/ids.ts';
import type { LedgerEvent } from '../feed.ts';

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

/** The nodes' common view of the ledger; emits `registered` and `gone` with a blob ID. */
export class Registry extends EventEmitter<{ registered: [BlobId]; gone: [BlobId] }> {
  readonly #blobs = new Map<BlobId, Map<SuiId, Registration>>();
  #epoch: Epoch;
  #applied = 0;
  /** Events known to have happened but not yet applied. */
  pending = 0;

  constructor(epoch: Epoch) {
    super();
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
    if (event.kind === 'epoch') this.#enter(event.epoch);
    else if (event.kind === 'deleted') this.#delete(event.blobId, event.objectId);
    else this.#record(event);
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
    if (event.kind === 'registered') this.emit('registered', event.blobId);
  }

  #delete(blobId: BlobId, objectId: SuiId): void {
    this.#blobs.get(blobId)?.delete(objectId);
    this.#forgetDead(blobId);
  }

  #enter(epoch: Epoch): void {
    this.#epoch = epoch;
    for (const [blobId, objects] of this.#blobs) {
      for (const [objectId, one] of objects) {
        if (one.endEpoch <= epoch) objects.delete(objectId);
      }
      this.#forgetDead(blobId);
    }
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
