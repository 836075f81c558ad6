/**
 * The ledger: accepts, executes and remembers transactions. One transaction is one commit; the
 * same bytes sent again get the stored result; a signed transaction holds the versions it uses
 * from the moment it is accepted, so another one over them is refused until the epoch ends.
 */
import { GrpcTypes } from '@mysten/sui/grpc';
import { normalizeSuiAddress } from '@mysten/sui/utils';
import { TuskError } from '../../base/errors.ts';
import { failpoint } from '../../base/failpoints.ts';
import type { LedgerEvent, LedgerState } from '../feed.ts';
import {
  GENESIS_SEQ,
  type LedgerParts,
  NOBODY,
  type Settings,
  systemTransaction,
} from './create.ts';
import {
  readCommittees,
  readStaking,
  readSystem,
  withNextEpoch,
  withPrices,
  withStakes,
  withSyncDone,
} from './epochs.ts';
import { GRPC, Rejection } from './errors.ts';
import { executeTransaction, type Machine, type Outcome } from './execute.ts';
import { netGas, storageCost } from './gas.ts';
import { digestOf, idOf } from './hash.ts';
import { loadInputs } from './inputs.ts';
import { Coin } from './layouts.ts';
import { invalidBlob } from './move/certificate.ts';
import { packagesOf } from './move/packages.ts';
import { type ObjectValue, sealObject } from './objects.ts';
import { type Simulation, simulate } from './resolve.ts';
import type { NewEvent, Store, View } from './store.ts';
import {
  checkExpiration,
  checkGas,
  checkLimits,
  checkSignature,
  decodeTransaction,
  type Transaction,
  transactionDigest,
} from './transaction.ts';
import { type NetworkIds, typeNames } from './types.ts';
import { balanceChanges, effectsToProto, timestamp, transactionToProto } from './wire.ts';

/** Events a call at most. */
const EVENTS_MAX = 1000;

/** A ledger over its database. */
export class Ledger {
  readonly machine: Machine;
  readonly store: Store;
  readonly #parts: LedgerParts;
  readonly #settings: Settings;
  readonly #waiting = new Set<() => void>();

  /** Opens a ledger that was created before. */
  constructor(store: Store, parts: LedgerParts) {
    this.store = store;
    this.#parts = parts;
    const ids = JSON.parse(store.meta('ids')!) as NetworkIds;
    this.#settings = JSON.parse(store.meta('settings')!) as Settings;
    const network = { ids, names: typeNames(ids) };
    this.machine = { network, packages: packagesOf(network) };
  }

  /** Wall clock of the ledger. */
  nowMs(): number {
    return this.#parts.clock.nowMs();
  }

  /** Sui's current epoch. */
  suiEpoch(): number {
    return Number(this.store.meta('suiEpoch'));
  }

  /** The state that reads see. */
  readView(): View {
    return this.store.view(this.readSeq());
  }

  /** Number of the newest commit that reads see. */
  readSeq(): number {
    const { clock, readLagMs } = this.#parts;
    if (readLagMs === 0) return this.store.lastSeq();
    return Math.max(GENESIS_SEQ, this.store.seqAt(clock.nowMs() - readLagMs));
  }

  /** The newest state. */
  view(): View {
    return this.store.view(this.store.lastSeq());
  }

  /** Answer of `GET /localnet/state`. */
  state(): LedgerState {
    const { ids } = this.machine.network;
    const system = readSystem(this.view(), this.machine.network);
    return {
      epoch: system.committee.epoch,
      nShards: system.committee.n_shards,
      nodes: this.#settings.nodes,
      ...readCommittees(this.view(), this.machine.network, this.#settings.nodes),
      registrationDelayMs: this.#settings.registrationDelayMs,
      systemObjectId: ids.systemObject,
      stakingPoolId: ids.stakingObject,
    };
  }

  /** Length of an epoch in ms (0: endless) and when the current one began; undefined while its committee still takes over. */
  epochClock(): { epochMs: number; startedMs: number | undefined } {
    const { epoch_state, epoch_duration } = readStaking(this.view(), this.machine.network);
    const startedMs = epoch_state.EpochChangeDone;
    return {
      epochMs: Number(epoch_duration),
      startedMs: startedMs === undefined ? undefined : Number(startedMs),
    };
  }

  /** Executes signed bytes, once; returns protobuf ExecutedTransaction. */
  async execute(bytes: Uint8Array, signatures: readonly Uint8Array[]): Promise<Uint8Array> {
    const digest = transactionDigest(bytes);
    const known = this.store.transaction(digest);
    if (known !== undefined) return known.executed;
    const tx = decodeTransaction(bytes);
    checkLimits(tx);
    checkGas(tx);
    await checkSignature(bytes, tx.sender, signatures);
    return this.#accept(tx, digest, bytes, signatures);
  }

  /** From here on everything happens in one go: no other transaction comes between. */
  #accept(
    tx: Transaction,
    digest: string,
    bytes: Uint8Array,
    signatures: readonly Uint8Array[],
  ): Uint8Array {
    const known = this.store.transaction(digest);
    if (known !== undefined) return known.executed;
    const epoch = this.suiEpoch();
    checkExpiration(tx, epoch, this.machine.network.ids.chainId);
    const view = this.view();
    const { network, packages } = this.machine;
    const inputs = loadInputs(view, network.names, packages, tx);
    for (const { id, version } of inputs.owned) {
      const holder = this.store.lockHolder(id, version, epoch);
      if (holder !== undefined && holder !== digest)
        throw new Rejection(
          GRPC.failedPrecondition,
          `Failed to sign transaction: object ${id} version ${version} is already locked by a different transaction ${holder} until epoch ${epoch} ends`,
        );
    }
    this.store.lock(inputs.owned, digest, epoch);
    failpoint('ledger.locked');
    const outcome = executeTransaction(this.machine, view, tx, digest, inputs);
    return this.#commit(tx, digest, bytes, signatures, outcome, epoch);
  }

  #commit(
    tx: Transaction,
    digest: string,
    bytes: Uint8Array,
    signatures: readonly Uint8Array[],
    outcome: Outcome,
    epoch: number,
  ): Uint8Array {
    const { gas } = outcome;
    let result: Uint8Array = new Uint8Array();
    const executed = (seq: number, atMs: number): Uint8Array => {
      result = GrpcTypes.ExecutedTransaction.toBinary({
        digest,
        transaction: transactionToProto(tx, digest, bytes),
        signatures: signatures.map(value => ({
          bcs: { name: 'UserSignature', value },
          signature: { oneofKind: undefined },
        })),
        effects: effectsToProto(outcome, digest, epoch),
        checkpoint: BigInt(seq),
        timestamp: timestamp(atMs),
        balanceChanges: balanceChanges(outcome),
      });
      return result;
    };
    const count = (key: string, plus: bigint) => String(BigInt(this.store.meta(key)!) + plus);
    this.#store({
      digest,
      sender: tx.sender,
      ok: outcome.failure === undefined,
      written: outcome.changes.flatMap(change => change.after ?? []),
      removed: outcome.changes.flatMap(change => (change.after === undefined ? change.id : [])),
      events: outcome.events,
      meta: {
        gasCollected: count('gasCollected', gas.computation),
        storageFund: count('storageFund', netGas(gas) - gas.computation),
      },
      executed,
    });
    return result;
  }

  #store(commit: Parameters<Store['commit']>[0]): void {
    this.store.commit(commit, this.#parts.clock.nowMs(), this.readSeq());
    failpoint('ledger.committed');
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Completes a transaction and runs it on trial, on what reads see. */
  simulate(request: GrpcTypes.SimulateTransactionRequest): Simulation {
    return simulate(this.machine, this.readView(), request);
  }

  /** Events behind `since`; waits up to `waitMs` for the first one. */
  async events(since: number, waitMs: number, signal: AbortSignal): Promise<LedgerEvent[]> {
    const deadlineMs = this.#parts.clock.monotonicMs() + waitMs;
    for (;;) {
      if (signal.aborted) return [];
      const events = this.store.events(since, EVENTS_MAX);
      const leftMs = deadlineMs - this.#parts.clock.monotonicMs();
      if (events.length > 0 || leftMs <= 0) return events;
      await this.#nextCommit(leftMs, signal);
    }
  }

  #nextCommit(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      signal.addEventListener('abort', done, { once: true });
      this.#waiting.add(done);
    });
  }

  /** Makes new coins for an address; amounts in FROST and MIST. */
  faucet(address: string, wal: bigint, sui: bigint): { digest: string; coins: string[] } {
    const { names } = this.machine.network;
    const owner = { kind: 'address' as const, address: normalizeSuiAddress(address) };
    const coin = (type: string, balance: bigint): ObjectValue => {
      const id = idOf(this.#parts.random.bytes(32));
      return { id, type, owner, contents: Coin.serialize({ id, balance }).toBytes() };
    };
    const values = [
      ...(wal > 0n ? [coin(names.walCoin, wal)] : []),
      ...(sui > 0n ? [coin(names.suiCoin, sui)] : []),
    ];
    return { digest: this.#system(values, []), coins: values.map(value => value.id) };
  }

  /** New prices at once, FROST a unit. */
  setPrices(prices: { storage: bigint; write: bigint }): void {
    this.#system(withPrices(this.view(), this.machine.network, prices), []);
  }

  /** Current prices, FROST a unit. */
  prices(): { storage: bigint; write: bigint } {
    const state = readSystem(this.view(), this.machine.network);
    return {
      storage: state.storage_price_per_unit_size,
      write: state.write_price_per_unit_size,
    };
  }

  /** Stakes of nodes (WAL in FROST, by index), as delegators would set them: they count from the next epoch on. */
  setStakes(stakes: ReadonlyMap<number, bigint>): void {
    const { nodes } = this.#settings;
    const byId = new Map<string, bigint>();
    for (const [index, stake] of stakes) {
      const node = nodes[index];
      if (node === undefined) throw new TuskError('not_found', `there is no node ${index}`);
      byId.set(node.nodeId, stake);
    }
    this.#system(withStakes(this.view(), byId), []);
  }

  /** Begins the next epoch of Walrus and of Sui; returns Walrus' new epoch. `busy` while the last change is not done. */
  advanceEpoch(): number {
    const nowMs = this.#parts.clock.nowMs();
    const view = this.view();
    const { network } = this.machine;
    if (readStaking(view, network).epoch_state.$kind === 'EpochChangeSync')
      throw new TuskError(
        'busy',
        'the next epoch cannot begin: nodes of too few shards have taken over those of this one. Start nodes that are stopped, or wait',
      );
    const { nodes } = this.#settings;
    const { epoch, objects, committee } = withNextEpoch(view, network, nodes, nowMs);
    const suiEpoch = this.suiEpoch() + 1;
    const event = { kind: 'epoch' as const, epoch, ...(committee && { committee }) };
    this.#system(objects, [event], { suiEpoch: String(suiEpoch), syncDone: '[]' });
    this.store.dropLocksBefore(suiEpoch);
    return epoch;
  }

  /** A node holds everything that it must hold in this epoch (contract `staking::epoch_sync_done`). */
  syncDone(epoch: number, index: number): void {
    const { committee } = this.state();
    const done = new Set(JSON.parse(this.store.meta('syncDone') ?? '[]') as number[]).add(index);
    const weight = [...done].reduce((sum, one) => sum + (committee[one]?.length ?? 0), 0);
    const nowMs = this.#parts.clock.nowMs();
    const change = withSyncDone(this.view(), this.machine.network, epoch, weight, nowMs);
    if (change === undefined) return;
    const events: NewEvent[] = change.done ? [{ kind: 'epochDone', epoch }] : [];
    this.#system(change.objects, events, { syncDone: JSON.stringify([...done]) });
  }

  /** Marks a blob invalid by the certificate of f + 1 shards (contract `system::invalidate_blob_id`). */
  invalidate(signature: Uint8Array, bitmap: Uint8Array, message: Uint8Array): void {
    const { network } = this.machine;
    const { committee } = readSystem(this.view(), network);
    const blobId = invalidBlob(committee, signature, bitmap, message, network);
    const event = { kind: 'invalidated' as const, blobId, epoch: committee.epoch };
    this.#system([], [event]);
  }

  /** A change made by no signed transaction. */
  #system(values: ObjectValue[], events: NewEvent[], meta: Record<string, string> = {}): string {
    const view = this.view();
    const { ids, names } = this.machine.network;
    const name = `${ids.chainId} ${this.store.lastSeq() + 1}`;
    const digest = digestOf('TransactionData', Buffer.from(name));
    const before = values.map(value => view.object(value.id));
    const version = 1 + Math.max(0, ...before.map(object => object?.version ?? 0));
    // Nobody pays for storage here: old objects keep their rebate, new ones bring theirs along.
    let gift = 0n;
    const written = values.map((value, index) => {
      const cost = before[index]?.storageRebate ?? storageCost(value);
      if (before[index] === undefined) gift += cost;
      return sealObject(names, value, version, digest, cost);
    });
    const fund = BigInt(this.store.meta('storageFund')!) + gift;
    this.#store({
      digest,
      sender: NOBODY,
      ok: true,
      written,
      removed: [],
      events,
      meta: { ...meta, storageFund: String(fund) },
      executed: (seq, atMs) => systemTransaction(digest, seq, atMs),
    });
    return digest;
  }
}
