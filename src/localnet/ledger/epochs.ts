/**
 * Acts of the administrator on system objects: price votes take effect at once, stakes with the
 * next epoch, and an epoch ends when told so (or by time). Rewards of the epoch that ends go to the pools by shards, what does
 * not divide stays with the new epoch; nothing is burned, so that WAL adds up.
 */
import type { Epoch } from '../../base/ids.ts';
import type { GenesisNode, LedgerState } from '../feed.ts';
import { apportion, transition } from './committee.ts';
import { aggregateKey } from './genesis.ts';
import {
  StakingInnerField,
  StakingPool,
  type StakingState,
  SystemInnerField,
  type SystemState,
  Versioned,
} from './layouts.ts';
import { accountOf, closeEpoch } from './move/accounting.ts';
import { type Network, stateFieldId } from './move/context.ts';
import { isQuorum } from './move/encoding.ts';
import type { ObjectValue, StoredObject } from './objects.ts';
import type { View } from './store.ts';

/** The outer object (whose version must move along) and its state field. */
const stateOf = (view: View, objectId: string): { outer: StoredObject; field: StoredObject } => {
  const outer = view.object(objectId)!;
  const { version } = Versioned.parse(outer.contents);
  return { outer, field: view.object(stateFieldId(objectId, version))! };
};

/** System's state as reads see it. */
export const readSystem = (view: View, network: Network) =>
  SystemInnerField.parse(stateOf(view, network.ids.systemObject).field.contents).value;

/** Staking's state as reads see it. */
export const readStaking = (view: View, network: Network) =>
  StakingInnerField.parse(stateOf(view, network.ids.stakingObject).field.contents).value;

/** Objects after new prices (FROST a unit) were voted. */
export const withPrices = (
  view: View,
  network: Network,
  prices: { storage: bigint; write: bigint },
): ObjectValue[] => {
  const { outer, field } = stateOf(view, network.ids.systemObject);
  const data = SystemInnerField.parse(field.contents);
  data.value.storage_price_per_unit_size = prices.storage;
  data.value.write_price_per_unit_size = prices.write;
  return [outer, { ...field, contents: SystemInnerField.serialize(data).toBytes() }];
};

/** Shards of each node, in the nodes' order; none for a node outside the committee. */
const shardsOf = (
  committee: StakingState['committee'],
  nodes: readonly GenesisNode[],
): readonly (readonly number[])[] =>
  nodes.map(node => committee.contents.find(({ key }) => key === node.nodeId)?.value ?? []);

/** Shards by node index: the committee, and the one before it while shards move. */
export const readCommittees = (
  view: View,
  network: Network,
  nodes: readonly GenesisNode[],
): Pick<LedgerState, 'committee' | 'previous'> => {
  const staking = readStaking(view, network);
  const committee = shardsOf(staking.committee, nodes);
  return staking.epoch_state.$kind === 'EpochChangeSync'
    ? { committee, previous: shardsOf(staking.previous_committee, nodes) }
    : { committee };
};

/** Objects after nodes got other stakes (FROST, by node id): they count from the next epoch on. */
export const withStakes = (view: View, stakes: ReadonlyMap<string, bigint>): ObjectValue[] =>
  [...stakes].map(([nodeId, stake]) => {
    const object = view.object(nodeId)!;
    const pool = StakingPool.parse(object.contents);
    pool.wal_balance = stake;
    return { ...object, contents: StakingPool.serialize(pool).toBytes() };
  });

/** What the committee of the next epoch is, by stake. */
const nextShards = (
  view: View,
  nodes: readonly GenesisNode[],
  now: readonly (readonly number[])[],
): readonly (readonly number[])[] => {
  const stakes = nodes.map(({ nodeId }) => StakingPool.parse(view.object(nodeId)!.contents));
  const frost = stakes.map(pool => pool.wal_balance);
  if (frost.every(stake => stake === 0n)) return now;
  const nShards = now.reduce((sum, shards) => sum + shards.length, 0);
  return transition(now, apportion(frost, nShards));
};

/** Pools with the rewards of an epoch, shared by the weights of the committee that ends. */
const rewarded = (view: View, state: SystemState, rewards: bigint, epoch: Epoch): ObjectValue[] => {
  const { members, n_shards } = state.committee;
  let left = rewards;
  const pools = members.map((member): ObjectValue => {
    const object = view.object(member.node_id)!;
    const pool = StakingPool.parse(object.contents);
    const share = (rewards * BigInt(member.weight)) / BigInt(n_shards);
    left -= share;
    pool.rewards_pool += share;
    pool.latest_epoch = epoch;
    return { ...object, contents: StakingPool.serialize(pool).toBytes() };
  });
  accountOf(state.future_accounting, 0).rewards += left;
  return pools;
};

/** What becomes of an epoch change. */
export interface EpochChange {
  readonly epoch: Epoch;
  readonly objects: ObjectValue[];
  /** Shards by node index, if they move. */
  readonly committee?: readonly (readonly number[])[];
}

/**
 * Objects after the next epoch has begun. Where the committee stays as it is there is nothing to
 * synchronise, and the change is done at once.
 */
export const withNextEpoch = (
  view: View,
  network: Network,
  nodes: readonly GenesisNode[],
  nowMs: number,
): EpochChange => {
  const system = stateOf(view, network.ids.systemObject);
  const systemData = SystemInnerField.parse(system.field.contents);
  const { value: state } = systemData;
  const staking = stateOf(view, network.ids.stakingObject);
  const stakingData = StakingInnerField.parse(staking.field.contents);
  const before = shardsOf(stakingData.value.committee, nodes);
  const { rewards } = closeEpoch(state);
  const epoch = state.committee.epoch + 1;
  const pools = rewarded(view, state, rewards, epoch);
  const after = nextShards(view, nodes, before);
  const moves = JSON.stringify(after) !== JSON.stringify(before);
  state.committee.epoch = epoch;
  stakingData.value.epoch = epoch;
  stakingData.value.previous_committee = stakingData.value.committee;
  if (moves) {
    const members = nodes.flatMap((node, index) =>
      after[index]!.length === 0 ? [] : [{ node, shards: [...after[index]!] }],
    );
    state.committee.members = members.map(({ node, shards }) => ({
      public_key: Buffer.from(node.publicKey, 'hex'),
      weight: shards.length,
      node_id: node.nodeId,
    }));
    state.committee.total_aggregated_key = aggregateKey(members.map(({ node }) => node.publicKey));
    const contents = members.map(({ node, shards }) => ({ key: node.nodeId, value: shards }));
    stakingData.value.committee = { contents };
  }
  stakingData.value.epoch_state = moves
    ? { $kind: 'EpochChangeSync', EpochChangeSync: 0 }
    : { $kind: 'EpochChangeDone', EpochChangeDone: BigInt(nowMs) };
  return {
    epoch,
    objects: [
      system.outer,
      { ...system.field, contents: SystemInnerField.serialize(systemData).toBytes() },
      staking.outer,
      { ...staking.field, contents: StakingInnerField.serialize(stakingData).toBytes() },
      ...pools,
    ],
    ...(moves ? { committee: after } : {}),
  };
};

/**
 * Objects after nodes with `weight` shards in all have said that they hold what they must; done
 * once that is a quorum. Undefined if no change of that epoch is under way.
 */
export const withSyncDone = (
  view: View,
  network: Network,
  epoch: Epoch,
  weight: number,
  nowMs: number,
): { objects: ObjectValue[]; done: boolean } | undefined => {
  const { outer, field } = stateOf(view, network.ids.stakingObject);
  const data = StakingInnerField.parse(field.contents);
  const { value } = data;
  if (value.epoch !== epoch || value.epoch_state.$kind !== 'EpochChangeSync') return undefined;
  const done = isQuorum(weight, value.n_shards);
  value.epoch_state = done
    ? { $kind: 'EpochChangeDone', EpochChangeDone: BigInt(nowMs) }
    : { $kind: 'EpochChangeSync', EpochChangeSync: weight };
  const contents = StakingInnerField.serialize(data).toBytes();
  return { objects: [outer, { ...field, contents }], done };
};
