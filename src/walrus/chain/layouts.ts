/**
 * BCS layouts of the Walrus objects that are read from the chain (MystenLabs/walrus, Move sources).
 * Only the leading fields that are needed are named where later ones may be added by an upgrade:
 * BCS has no end mark, so the rest is simply not read.
 */
import { bcs } from '@mysten/sui/bcs';
import { deriveDynamicFieldID } from '@mysten/sui/utils';
import type { SuiId } from '../../base/ids.ts';

const Element = bcs.byteVector();

/** System and Staking objects: an envelope that names the version of its inner object. */
export const Versioned = bcs.struct('Versioned', {
  id: bcs.Address,
  version: bcs.u64(),
  package_id: bcs.Address,
  new_package_id: bcs.option(bcs.Address),
});

const BlsCommitteeMember = bcs.struct('BlsCommitteeMember', {
  public_key: Element,
  weight: bcs.u16(),
  node_id: bcs.Address,
});

const BlsCommittee = bcs.struct('BlsCommittee', {
  members: bcs.vector(BlsCommitteeMember),
  n_shards: bcs.u16(),
  epoch: bcs.u32(),
  total_aggregated_key: Element,
});

/** Dynamic field that holds SystemStateInnerV1, up to the prices. */
export const SystemInner = bcs.struct('SystemInner', {
  id: bcs.Address,
  name: bcs.u64(),
  committee: BlsCommittee,
  total_capacity_size: bcs.u64(),
  used_capacity_size: bcs.u64(),
  storage_price_per_unit_size: bcs.u64(),
  write_price_per_unit_size: bcs.u64(),
});

const Committee = bcs.vector(
  bcs.struct('CommitteeEntry', { key: bcs.Address, value: bcs.vector(bcs.u16()) }),
);

/** Dynamic field that holds StakingInnerV1, up to the state of the epoch. */
export const StakingInner = bcs.struct('StakingInner', {
  id: bcs.Address,
  name: bcs.u64(),
  n_shards: bcs.u16(),
  epoch_duration: bcs.u64(),
  first_epoch_start: bcs.u64(),
  pools: bcs.struct('ObjectTable', { id: bcs.Address, size: bcs.u64() }),
  epoch: bcs.u32(),
  active_set: bcs.Address,
  next_committee: bcs.option(Committee),
  committee: Committee,
  previous_committee: Committee,
  next_epoch_params: bcs.option(
    bcs.struct('EpochParams', {
      total_capacity_size: bcs.u64(),
      storage_price_per_unit_size: bcs.u64(),
      write_price_per_unit_size: bcs.u64(),
    }),
  ),
  epoch_state: bcs.enum('EpochState', {
    EpochChangeSync: bcs.u16(),
    EpochChangeDone: bcs.u64(),
    NextParamsSelected: bcs.u64(),
  }),
});

/** StakingPool up to the node's own description. */
export const StakingPool = bcs.struct('StakingPool', {
  id: bcs.Address,
  state: bcs.enum('PoolState', { Active: null, Withdrawing: bcs.u32(), Withdrawn: null }),
  voting_params: bcs.struct('VotingParams', {
    storage_price: bcs.u64(),
    write_price: bcs.u64(),
    node_capacity: bcs.u64(),
  }),
  node_info: bcs.struct('StorageNodeInfo', {
    name: bcs.string(),
    node_id: bcs.Address,
    network_address: bcs.string(),
    public_key: Element,
    next_epoch_public_key: bcs.option(Element),
    network_public_key: bcs.byteVector(),
  }),
});

/** Storage resource. */
export const Storage = bcs.struct('Storage', {
  id: bcs.Address,
  start_epoch: bcs.u32(),
  end_epoch: bcs.u32(),
  storage_size: bcs.u64(),
});

/** Blob object; `blob_id` as its 32 bytes (a u256, little endian). */
export const Blob = bcs.struct('Blob', {
  id: bcs.Address,
  registered_epoch: bcs.u32(),
  blob_id: bcs.bytes(32),
  size: bcs.u64(),
  encoding_type: bcs.u8(),
  certified_epoch: bcs.option(bcs.u32()),
  storage: Storage,
  deletable: bcs.bool(),
});

/** Dynamic field that holds the attributes of a Blob object. */
export const Attributes = bcs.struct('Attributes', {
  id: bcs.Address,
  name: bcs.byteVector(),
  entries: bcs.vector(bcs.struct('Entry', { key: bcs.string(), value: bcs.string() })),
});

/** Id of the inner object of System or Staking. */
export const innerId = (outer: SuiId, version: bigint): SuiId =>
  deriveDynamicFieldID(outer, 'u64', bcs.u64().serialize(version).toBytes());

/** Id of the field that holds a Blob object's attributes. */
export const attributesId = (blobObject: SuiId): SuiId =>
  deriveDynamicFieldID(blobObject, 'vector<u8>', bcs.string().serialize('metadata').toBytes());
