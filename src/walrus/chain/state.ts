/**
 * What the chain says of Walrus: committee, prices, package. Read with plain object reads, cached
 * here, and read anew when a caller asks for it (epoch change, upgraded package, repeated
 * failures). Node order is that of the system committee, shards are those of the staking
 * committee, joined by node id.
 */
import { GrpcTypes as Grpc, type GrpcTypes } from '@mysten/sui/grpc';
import { raceSignal, throwIfAborted } from '../../base/abort.ts';
import { TuskError } from '../../base/errors.ts';
import type { SuiId } from '../../base/ids.ts';
import type { Committee, Prices, StorageNode } from '../network.ts';
import { type Parts, pause } from '../retry.ts';
import { innerId, StakingInner, StakingPool, SystemInner, Versioned } from './layouts.ts';
import type { SuiRpc } from './rpc.ts';

const PRICES_FOR_MS = 30_000;
/** A committee this old is read anew behind whoever asks for it: shards move, and nodes change their addresses. */
const COMMITTEE_FOR_MS = 60_000;
/** An epoch change touches the system object before the staking object settles. */
const SETTLE_TRIES = 20;
const SETTLE_MS = 250;
const MASK = ['object_id', 'version', 'digest', 'owner', 'object_type', 'contents'];

/** What transactions refer to. */
export interface SystemRefs {
  /** Package that calls go to. */
  readonly packageId: SuiId;
  /** Package that types carry. */
  readonly originalPackage: SuiId;
  readonly systemObject: SuiId;
  readonly systemInitialVersion: bigint;
  /** Type of WAL, as `0x…::wal::WAL`. */
  readonly walType: string;
}

interface View<T> {
  readonly outer: GrpcTypes.Object;
  readonly packageId: SuiId;
  readonly inner: T;
}

type System = typeof SystemInner.$inferType;
type Staking = typeof StakingInner.$inferType;

/** When the current epoch began; not said while shards still move into it. */
const startOf = ({ epoch_state: { EpochChangeDone, NextParamsSelected } }: Staking): number =>
  Number(EpochChangeDone ?? NextParamsSelected ?? 0);

const contentsOf = (object: GrpcTypes.Object | undefined, id: SuiId): Uint8Array => {
  const bytes = object?.contents?.value;
  if (bytes !== undefined) return bytes;
  throw new TuskError(
    'not_found',
    `the chain has no object ${id}: the network's settings name another Walrus, or it was reset`,
    { details: { id } },
  );
};

/** Walrus' state on one chain. */
export class ChainState {
  readonly #rpc: SuiRpc;
  readonly #parts: Parts;
  readonly #systemId: SuiId;
  readonly #stakingId: SuiId;
  #versions = new Map<SuiId, bigint>();
  #committee: Committee | undefined;
  /** When the last read of it began. */
  #committeeMs = 0;
  /** The first read of it, while it is under way. */
  #first: Promise<Committee> | undefined;
  #prices: { readonly prices: Prices; readonly atMs: number } | undefined;
  #walType: string | undefined;

  constructor(rpc: SuiRpc, systemObjectId: SuiId, stakingPoolId: SuiId, parts: Parts) {
    this.#rpc = rpc;
    this.#systemId = systemObjectId;
    this.#stakingId = stakingPoolId;
    this.#parts = parts;
  }

  /** Reads an envelope and its inner object; one call while the version stays what it was. */
  async #read<T>(
    id: SuiId,
    layout: { parse(bytes: Uint8Array): T },
    signal: AbortSignal | undefined,
  ): Promise<View<T>> {
    const known = this.#versions.get(id);
    const ids = known === undefined ? [id] : [id, innerId(id, known)];
    const [outer, guess] = await this.#rpc.objects(ids, MASK, signal);
    const envelope = Versioned.parse(contentsOf(outer, id));
    const version = BigInt(envelope.version);
    const field = innerId(id, version);
    const inner = version === known ? guess : (await this.#rpc.objects([field], MASK, signal))[0];
    const parsed = layout.parse(contentsOf(inner, field));
    this.#versions.set(id, version);
    return { outer: outer!, packageId: envelope.package_id, inner: parsed };
  }

  /** System as it is now; also refreshes the cached prices when the epoch's length is known. */
  #system(signal?: AbortSignal): Promise<View<System>> {
    return this.#read(this.#systemId, SystemInner, signal);
  }

  /** Prices, never older than 30 s, nor of an epoch that is known to be over; `fresh` reads them now. */
  async prices(fresh: boolean, signal?: AbortSignal): Promise<Prices> {
    const nowMs = this.#parts.clock.monotonicMs();
    const { prices: known, atMs } = this.#prices ?? {};
    const isOver = known !== undefined && known.epoch < (this.#committee?.epoch ?? 0);
    if (!fresh && known !== undefined && !isOver && nowMs - atMs! < PRICES_FOR_MS) return known;
    const [system, staking] = await Promise.all([
      this.#system(signal),
      this.#read(this.#stakingId, StakingInner, signal),
    ]);
    const prices: Prices = {
      storagePerUnitEpoch: BigInt(system.inner.storage_price_per_unit_size),
      writePerUnit: BigInt(system.inner.write_price_per_unit_size),
      epoch: system.inner.committee.epoch,
      epochMs: Number(staking.inner.epoch_duration),
      epochStartMs: startOf(staking.inner),
    };
    this.#prices = { prices, atMs: nowMs };
    return prices;
  }

  /** Package, system object and WAL's type, for a transaction that is about to be built. */
  async refs(signal?: AbortSignal): Promise<SystemRefs> {
    const { outer, packageId } = await this.#system(signal);
    const originalPackage = (outer.objectType ?? '').split('::')[0] ?? '';
    const owner = outer.owner;
    if (owner?.kind !== Grpc.Owner_OwnerKind.SHARED || owner.version === undefined) {
      throw new TuskError('unsupported', `${this.#systemId} is no shared object: wrong settings`);
    }
    this.#walType ??= await this.#readWalType(originalPackage, signal);
    return {
      packageId,
      originalPackage,
      systemObject: this.#systemId,
      systemInitialVersion: owner.version,
      walType: this.#walType,
    };
  }

  /** The type argument of the coin that staking takes: the only place where the chain names WAL. */
  async #readWalType(originalPackage: SuiId, signal?: AbortSignal): Promise<string> {
    const answer = await this.#rpc.call('GetFunction', signal, (client, abort) =>
      client.movePackageService.getFunction(
        { packageId: originalPackage, moduleName: 'staking', name: 'stake_with_pool' },
        { abort },
      ),
    );
    const coin = answer.function?.parameters[1]?.body;
    const wal = coin?.typeParameterInstantiation[0]?.typeName;
    if (wal === undefined) throw new TuskError('unsupported', "the chain does not name WAL's type");
    return wal;
  }

  /**
   * The committee as it was last read; read now if `fresh`, or if it never was. One that is old is
   * answered, and read anew for those who come later. A read that fails leaves what is known: nodes
   * may be within reach while the chain is not.
   */
  async committee(fresh: boolean, signal?: AbortSignal): Promise<Committee> {
    throwIfAborted(signal);
    const nowMs = this.#parts.clock.monotonicMs();
    if (fresh) {
      this.#committeeMs = nowMs;
      const read = await this.#readCommittee(signal);
      // Of two reads at once the one that began before the epoch did may end last.
      if (this.#committee === undefined || read.epoch >= this.#committee.epoch)
        this.#committee = read;
      return this.#committee;
    }
    if (this.#committee !== undefined) {
      if (nowMs - this.#committeeMs >= COMMITTEE_FOR_MS) this.committee(true).catch(() => {});
      return this.#committee;
    }
    // Many may wait for it, so it does not end with one of them.
    this.#first ??= this.committee(true).finally(() => {
      this.#first = undefined;
    });
    return signal === undefined ? this.#first : raceSignal(this.#first, signal);
  }

  async #readCommittee(signal?: AbortSignal): Promise<Committee> {
    for (let tries = 1; ; tries++) {
      const [system, staking] = await Promise.all([
        this.#system(signal),
        this.#read(this.#stakingId, StakingInner, signal),
      ]);
      const settled = system.inner.committee.epoch === staking.inner.epoch;
      if (settled) return this.#join(system.inner, staking.inner, signal);
      if (tries === SETTLE_TRIES) {
        throw new TuskError(
          'epoch_changed',
          `Walrus is changing from epoch ${system.inner.committee.epoch} to ${staking.inner.epoch}; try again in a moment`,
        );
      }
      await pause(this.#parts.clock, SETTLE_MS, signal);
    }
  }

  async #join(system: System, staking: Staking, signal?: AbortSignal): Promise<Committee> {
    const { members, epoch, n_shards: nShards } = system.committee;
    const changing = staking.epoch_state.$kind === 'EpochChangeSync' && epoch > 1;
    const previous = changing ? await this.#before(staking, nShards, signal) : undefined;
    const shardsOf = new Map(staking.committee.map(entry => [entry.key, entry.value]));
    const ids = members.map(member => member.node_id);
    const pools = await this.#rpc.objects(ids, MASK, signal);
    const nodes = members.map((member, index): StorageNode => {
      const info = StakingPool.parse(contentsOf(pools[index], member.node_id)).node_info;
      const { node_id: id, public_key: key } = member;
      return nodeOf(info, Buffer.from(key), id, index, shardsOf.get(id) ?? []);
    });
    const nodeOfShard = nodesByShard(nodes, nShards);
    return { epoch, nShards, nodes, nodeOfShard, ...(previous && { previous }) };
  }

  /** The committee of the epoch before, for reading: it signs nothing any more. */
  async #before(
    staking: Staking,
    nShards: number,
    signal?: AbortSignal,
  ): Promise<Committee | undefined> {
    const entries = staking.previous_committee;
    if (entries.length === 0) return undefined;
    const ids = entries.map(({ key }) => key);
    const pools = await this.#rpc.objects(ids, MASK, signal);
    const nodes = entries.map(({ key, value }, index): StorageNode => {
      const info = StakingPool.parse(contentsOf(pools[index], key)).node_info;
      return nodeOf(info, Buffer.from(info.public_key), key, index, value);
    });
    const nodeOfShard = nodesByShard(nodes, nShards);
    return { epoch: staking.epoch - 1, nShards, nodes, nodeOfShard };
  }
}

const nodeOf = (
  info: (typeof StakingPool.$inferType)['node_info'],
  publicKey: Buffer,
  nodeId: SuiId,
  index: number,
  shards: readonly number[],
): StorageNode => ({
  index,
  nodeId,
  name: info.name,
  address: info.network_address,
  publicKey,
  networkPublicKey: Buffer.from(info.network_public_key),
  shards,
});

const nodesByShard = (nodes: readonly StorageNode[], nShards: number): StorageNode[] => {
  const byShard = new Array<StorageNode>(nShards);
  for (const node of nodes) for (const shard of node.shards) byShard[shard] = node;
  for (let shard = 0; shard < nShards; shard++) {
    if (byShard[shard] === undefined) {
      throw new TuskError('epoch_changed', `the committee on chain gives shard ${shard} to nobody`);
    }
  }
  return byShard;
};
