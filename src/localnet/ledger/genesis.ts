/**
 * The first state of a localnet: system and staking objects with their states, and one staking
 * pool a storage node. Committee members stand in the same order in both states: certificates
 * count by it.
 */
import { normalizeSuiAddress, toBase58 } from '@mysten/sui/utils';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { TuskError } from '../../base/errors.ts';
import { EPOCHS_AHEAD_MAX } from '../../base/limits.ts';
import type { Random } from '../../base/random.ts';
import type { GenesisNode } from '../feed.ts';
import { idOf } from './hash.ts';
import {
  type PoolData,
  StakingInnerField,
  StakingPool,
  type StakingState,
  SystemInnerField,
  type SystemState,
  Versioned,
} from './layouts.ts';
import { stateFieldId } from './move/context.ts';
import type { ObjectValue, Owner } from './objects.ts';
import { type NetworkIds, typeNames } from './types.ts';

/** What a localnet is born with. */
export interface GenesisOptions {
  readonly nodes: readonly GenesisNode[];
  readonly nShards: number;
  /** FROST a unit and epoch; mainnet began at 100,000, the default. */
  readonly storagePrice?: bigint;
  /** FROST a unit written; mainnet began at 20,000, the default. */
  readonly writePrice?: bigint;
  /** Encoded bytes that all nodes together sell, 8 TiB by default. */
  readonly capacityBytes?: bigint;
  /** Length of an epoch; 0 (the default): epochs end only by `epoch advance`. */
  readonly epochMs?: number;
  /** Delay until storage nodes act on a registration, 500 ms by default. */
  readonly registrationDelayMs?: number;
}

/** First epoch of Walrus. Epoch 0 is before genesis, as on mainnet. */
const FIRST_EPOCH = 1;
/** Sui's own epochs are counted apart; they start here so that nobody mixes the two. */
export const FIRST_SUI_EPOCH = 1000;
/** Version of the contract's state, as in the current sources. */
const CONTRACT_VERSION = 4n;
/** Stake that a node is born with for each of its shards: 1,000 WAL. */
const GENESIS_STAKE = 1_000_000_000_000n;
/** Part of the rewards that a node keeps, in hundredths of a percent; nobody stakes here. */
const POOL_COMMISSION = 1000;

/** Fresh ids of a network. */
export const newIds = (random: Random): NetworkIds => {
  const id = () => idOf(random.bytes(32));
  return {
    chainId: toBase58(random.bytes(32)),
    originalPackage: id(),
    currentPackage: id(),
    walPackage: id(),
    systemObject: id(),
    stakingObject: id(),
  };
};

/** Every shard has exactly one node, every node at least one shard. */
const checkShards = ({ nodes, nShards }: GenesisOptions): void => {
  const seen = new Set<number>();
  for (const node of nodes) {
    if (node.shards.length === 0)
      throw new TuskError('usage', `node ${node.name} of the localnet has no shard`);
    for (const shard of node.shards) {
      if (shard < 0 || shard >= nShards || seen.has(shard))
        throw new TuskError(
          'usage',
          `shard ${shard} of node ${node.name} is out of range or taken`,
        );
      seen.add(shard);
    }
  }
  if (seen.size !== nShards)
    throw new TuskError('usage', `${nShards - seen.size} of ${nShards} shards have no node`);
};

const hex = (text: string) => Buffer.from(text, 'hex');

/** Sum of all members' public keys (hex), compressed. */
export const aggregateKey = (publicKeys: readonly string[]): Uint8Array => {
  const { Point } = bls12_381.G1;
  return publicKeys.reduce((sum, key) => sum.add(Point.fromHex(key)), Point.ZERO).toBytes();
};

const systemState = (options: GenesisOptions, denyList: string): SystemState => ({
  committee: {
    members: options.nodes.map(node => ({
      public_key: hex(node.publicKey),
      weight: node.shards.length,
      node_id: node.nodeId,
    })),
    n_shards: options.nShards,
    epoch: FIRST_EPOCH,
    total_aggregated_key: aggregateKey(options.nodes.map(node => node.publicKey)),
  },
  total_capacity_size: options.capacityBytes ?? 8n * 2n ** 40n,
  used_capacity_size: 0n,
  storage_price_per_unit_size: options.storagePrice ?? 100_000n,
  write_price_per_unit_size: options.writePrice ?? 20_000n,
  future_accounting: {
    current_index: 0,
    length: EPOCHS_AHEAD_MAX,
    ring_buffer: Array.from({ length: EPOCHS_AHEAD_MAX }, (_, offset) => ({
      epoch: FIRST_EPOCH + offset,
      used_capacity: 0n,
      rewards: 0n,
    })),
  },
  event_blob_certification_state: { latest: null, aggregate_weights: { contents: [] } },
  deny_list_sizes: denyList,
});

const stakingState = (options: GenesisOptions, id: () => string, nowMs: number): StakingState => {
  const committee = {
    contents: options.nodes.map(node => ({ key: node.nodeId, value: [...node.shards] })),
  };
  return {
    n_shards: options.nShards,
    epoch_duration: BigInt(options.epochMs ?? 0),
    first_epoch_start: BigInt(nowMs),
    pools: { id: id(), size: BigInt(options.nodes.length) },
    epoch: FIRST_EPOCH,
    active_set: id(),
    next_committee: null,
    committee,
    previous_committee: { contents: [] },
    next_epoch_params: null,
    epoch_state: { $kind: 'EpochChangeDone', EpochChangeDone: BigInt(nowMs) },
    next_epoch_public_keys: id(),
  };
};

const pool = (node: GenesisNode, options: GenesisOptions, state: SystemState, id: () => string) => {
  const empty = { contents: [] };
  const authorized = {
    $kind: 'Address' as const,
    Address: normalizeSuiAddress('0x0'),
  };
  const data: PoolData = {
    id: node.nodeId,
    state: { $kind: 'Active', Active: true },
    voting_params: {
      storage_price: state.storage_price_per_unit_size,
      write_price: state.write_price_per_unit_size,
      node_capacity: state.total_capacity_size / BigInt(options.nodes.length),
    },
    node_info: {
      name: node.name,
      node_id: node.nodeId,
      network_address: node.address,
      public_key: hex(node.publicKey),
      next_epoch_public_key: null,
      network_public_key: hex(node.networkPublicKey),
      metadata: id(),
    },
    activation_epoch: 0,
    latest_epoch: FIRST_EPOCH,
    wal_balance: GENESIS_STAKE * BigInt(node.shards.length),
    num_shares: 0n,
    pending_shares_withdraw: empty,
    pre_active_withdrawals: empty,
    pending_commission_rate: empty,
    commission_rate: POOL_COMMISSION,
    exchange_rates: { id: id(), size: 0n },
    pending_stake: empty,
    rewards_pool: 0n,
    commission: 0n,
    commission_receiver: authorized,
    governance_authorized: authorized,
    extra_fields: { id: id(), size: 0n },
  };
  return data;
};

/** All objects of genesis. */
export const genesisObjects = (
  ids: NetworkIds,
  options: GenesisOptions,
  random: Random,
  nowMs: number,
): ObjectValue[] => {
  checkShards(options);
  const names = typeNames(ids);
  const id = () => idOf(random.bytes(32));
  const shared: Owner = { kind: 'shared', initialVersion: 1 };
  const state = systemState(options, id());
  const outer = (objectId: string) =>
    Versioned.serialize({
      id: objectId,
      version: CONTRACT_VERSION,
      package_id: ids.currentPackage,
      new_package_id: null,
    }).toBytes();
  const systemField = stateFieldId(ids.systemObject, CONTRACT_VERSION);
  const stakingField = stateFieldId(ids.stakingObject, CONTRACT_VERSION);
  const name = CONTRACT_VERSION;
  const staking = stakingState(options, id, nowMs);
  return [
    { id: ids.systemObject, type: names.system, owner: shared, contents: outer(ids.systemObject) },
    {
      id: systemField,
      type: names.systemField,
      owner: { kind: 'object', parent: ids.systemObject },
      contents: SystemInnerField.serialize({ id: systemField, name, value: state }).toBytes(),
    },
    {
      id: ids.stakingObject,
      type: names.staking,
      owner: shared,
      contents: outer(ids.stakingObject),
    },
    {
      id: stakingField,
      type: names.stakingField,
      owner: { kind: 'object', parent: ids.stakingObject },
      contents: StakingInnerField.serialize({ id: stakingField, name, value: staking }).toBytes(),
    },
    ...options.nodes.map(node => ({
      id: node.nodeId,
      type: names.pool,
      owner: shared,
      contents: StakingPool.serialize(pool(node, options, state, id)).toBytes(),
    })),
  ];
};
