/**
 * BCS layouts of every object that the ledger keeps, field for field as Walrus' and Sui's Move
 * sources declare them: what the SDK and our own client parse. Integers of 64 bits and more are
 * bigints here. `Element<G1>` and `Element<UncompressedG1>` are byte vectors.
 */
import { type BcsType, bcs } from '@mysten/sui/bcs';

const big = (type: BcsType<string, string | number | bigint>) =>
  type.transform({ input: (value: bigint) => value, output: text => BigInt(text) });

/** u64 as a bigint. */
export const u64 = big(bcs.u64());
/** u256 as a bigint. */
export const u256 = big(bcs.u256());

const u16 = bcs.u16();
const u32 = bcs.u32();
const id = bcs.Address;
const bytes = bcs.byteVector();

const vecMap = <K, KI, V, VI>(key: BcsType<K, KI>, value: BcsType<V, VI>) =>
  bcs.struct('VecMap', { contents: bcs.vector(bcs.struct('Entry', { key, value })) });
const table = (name: string) => bcs.struct(name, { id, size: u64 });

/** `0x2::coin::Coin<T>`. */
export const Coin = bcs.struct('Coin', { id, balance: u64 });

/** `storage_resource::Storage`. */
export const Storage = bcs.struct('Storage', {
  id,
  start_epoch: u32,
  end_epoch: u32,
  storage_size: u64,
});

/** `blob::Blob`. */
export const Blob = bcs.struct('Blob', {
  id,
  registered_epoch: u32,
  blob_id: u256,
  size: u64,
  encoding_type: bcs.u8(),
  certified_epoch: bcs.option(u32),
  storage: Storage,
  deletable: bcs.bool(),
});

/** `metadata::Metadata`: a blob's attributes. */
export const Metadata = bcs.struct('Metadata', { metadata: vecMap(bcs.string(), bcs.string()) });

/** The dynamic field of a blob that holds its attributes. */
export const MetadataField = bcs.struct('Field', { id, name: bytes, value: Metadata });

/** `system::System` and `staking::Staking`, which look alike. */
export const Versioned = bcs.struct('Versioned', {
  id,
  version: u64,
  package_id: id,
  new_package_id: bcs.option(id),
});

const SystemInner = bcs.struct('SystemStateInnerV1', {
  committee: bcs.struct('BlsCommittee', {
    members: bcs.vector(
      bcs.struct('BlsCommitteeMember', { public_key: bytes, weight: u16, node_id: id }),
    ),
    n_shards: u16,
    epoch: u32,
    total_aggregated_key: bytes,
  }),
  total_capacity_size: u64,
  used_capacity_size: u64,
  storage_price_per_unit_size: u64,
  write_price_per_unit_size: u64,
  future_accounting: bcs.struct('FutureAccountingRingBuffer', {
    current_index: u32,
    length: u32,
    ring_buffer: bcs.vector(
      bcs.struct('FutureAccounting', { epoch: u32, used_capacity: u64, rewards: u64 }),
    ),
  }),
  event_blob_certification_state: bcs.struct('EventBlobCertificationState', {
    latest: bcs.option(bcs.struct('EventBlob', { blob_id: u256, ending_checkpoint: u64 })),
    aggregate_weights: vecMap(
      bcs.struct('EventBlob', { blob_id: u256, ending_checkpoint: u64 }),
      u16,
    ),
  }),
  deny_list_sizes: id,
});

/** The dynamic field of System that holds its state. */
export const SystemInnerField = bcs.struct('Field', { id, name: u64, value: SystemInner });

const Committee = vecMap(id, bcs.vector(u16));

const StakingInner = bcs.struct('StakingInnerV1', {
  n_shards: u16,
  epoch_duration: u64,
  first_epoch_start: u64,
  pools: table('ObjectTable'),
  epoch: u32,
  active_set: id,
  next_committee: bcs.option(Committee),
  committee: Committee,
  previous_committee: Committee,
  next_epoch_params: bcs.option(
    bcs.struct('EpochParams', {
      total_capacity_size: u64,
      storage_price_per_unit_size: u64,
      write_price_per_unit_size: u64,
    }),
  ),
  epoch_state: bcs.enum('EpochState', {
    EpochChangeSync: u16,
    EpochChangeDone: u64,
    NextParamsSelected: u64,
  }),
  next_epoch_public_keys: id,
});

/** The dynamic field of Staking that holds its state. */
export const StakingInnerField = bcs.struct('Field', { id, name: u64, value: StakingInner });

const byEpoch = vecMap(u32, u64);
const Authorized = bcs.enum('Authorized', { Address: id, ObjectID: id });

/** `staking_pool::StakingPool`: one a storage node; its object id is the node id. */
export const StakingPool = bcs.struct('StakingPool', {
  id,
  state: bcs.enum('PoolState', { Active: null, Withdrawing: u32, Withdrawn: null }),
  voting_params: bcs.struct('VotingParams', {
    storage_price: u64,
    write_price: u64,
    node_capacity: u64,
  }),
  node_info: bcs.struct('StorageNodeInfo', {
    name: bcs.string(),
    node_id: id,
    network_address: bcs.string(),
    public_key: bytes,
    next_epoch_public_key: bcs.option(bytes),
    network_public_key: bytes,
    metadata: id,
  }),
  activation_epoch: u32,
  latest_epoch: u32,
  wal_balance: u64,
  num_shares: u64,
  pending_shares_withdraw: byEpoch,
  pre_active_withdrawals: byEpoch,
  pending_commission_rate: byEpoch,
  commission_rate: u16,
  exchange_rates: table('Table'),
  pending_stake: byEpoch,
  rewards_pool: u64,
  commission: u64,
  commission_receiver: Authorized,
  governance_authorized: Authorized,
  extra_fields: table('Bag'),
});

/** A coin's fields. */
export type CoinData = typeof Coin.$inferType;
/** A storage resource's fields. */
export type StorageData = typeof Storage.$inferType;
/** A Blob object's fields. */
export type BlobData = typeof Blob.$inferType;
/** Attributes. */
export type MetadataData = typeof Metadata.$inferType;
/** System's or Staking's outer fields. */
export type VersionedData = typeof Versioned.$inferType;
/** System's state. */
export type SystemState = typeof SystemInner.$inferType;
/** Staking's state. */
export type StakingState = typeof StakingInner.$inferType;
/** A pool's fields. */
export type PoolData = typeof StakingPool.$inferType;
