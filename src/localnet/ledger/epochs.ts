/**
 * Acts of the administrator on system objects: price votes take effect at once, an epoch ends
 * when told so (or by time). Rewards of the epoch that ends go to the pools by shards, what does
 * not divide stays with the new epoch; nothing is burned, so that WAL adds up.
 */
import type { Epoch } from '../../base/ids.ts';
import { StakingInnerField, StakingPool, SystemInnerField, Versioned } from './layouts.ts';
import { accountOf, closeEpoch } from './move/accounting.ts';
import { type Network, stateFieldId } from './move/context.ts';
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

/** Objects after the next epoch has begun, and its number. */
export const withNextEpoch = (
  view: View,
  network: Network,
  nowMs: number,
): { epoch: Epoch; objects: ObjectValue[] } => {
  const system = stateOf(view, network.ids.systemObject);
  const systemData = SystemInnerField.parse(system.field.contents);
  const { value: state } = systemData;
  const { rewards } = closeEpoch(state);
  state.committee.epoch += 1;
  const { epoch, n_shards } = state.committee;
  let left = rewards;
  const pools = state.committee.members.map((member): ObjectValue => {
    const object = view.object(member.node_id)!;
    const pool = StakingPool.parse(object.contents);
    const share = (rewards * BigInt(member.weight)) / BigInt(n_shards);
    left -= share;
    pool.rewards_pool += share;
    pool.latest_epoch = epoch;
    return { ...object, contents: StakingPool.serialize(pool).toBytes() };
  });
  accountOf(state.future_accounting, 0).rewards += left;
  const staking = stateOf(view, network.ids.stakingObject);
  const stakingData = StakingInnerField.parse(staking.field.contents);
  stakingData.value.epoch = epoch;
  stakingData.value.previous_committee = stakingData.value.committee;
  stakingData.value.epoch_state = {
    $kind: 'EpochChangeDone',
    EpochChangeDone: BigInt(nowMs),
  };
  return {
    epoch,
    objects: [
      system.outer,
      { ...system.field, contents: SystemInnerField.serialize(systemData).toBytes() },
      staking.outer,
      { ...staking.field, contents: StakingInnerField.serialize(stakingData).toBytes() },
      ...pools,
    ],
  };
};
