/**
 * Money and capacity of the system (contract `system_state_inner`, `storage_accounting`): what is
 * paid goes to the rewards of the epochs it pays for, what is reserved counts in each of them.
 */
import type { CoinData, SystemState } from '../layouts.ts';
import { splitBalance } from './coin.ts';
import { storageUnits } from './encoding.ts';

type Accounting = SystemState['future_accounting'];

/** The entry of the epoch that is `offset` epochs ahead. */
export const accountOf = (accounting: Accounting, offset: number) =>
  accounting.ring_buffer[(accounting.current_index + offset) % accounting.length]!;

/** Pays storage of `bytes` for the epochs [from, to), counted from the current one. */
export const payStorage = (
  state: SystemState,
  bytes: bigint,
  from: number,
  to: number,
  payment: CoinData,
): void => {
  const due = state.storage_price_per_unit_size * storageUnits(bytes);
  for (let offset = from; offset < to; offset++) {
    splitBalance(payment, due);
    accountOf(state.future_accounting, offset).rewards += due;
  }
};

/** Pays for writing a blob of that encoded size. */
export const payWrite = (state: SystemState, encodedBytes: bigint, payment: CoinData): void => {
  const due = state.write_price_per_unit_size * storageUnits(encodedBytes);
  splitBalance(payment, due);
  accountOf(state.future_accounting, 0).rewards += due;
};

/** Reserves `bytes` in the epochs [from, to); false if the capacity does not suffice in one of them. */
export const useCapacity = (
  state: SystemState,
  bytes: bigint,
  from: number,
  to: number,
): boolean => {
  for (let offset = from; offset < to; offset++) {
    const account = accountOf(state.future_accounting, offset);
    account.used_capacity += bytes;
    if (offset === 0) state.used_capacity_size = account.used_capacity;
    if (account.used_capacity > state.total_capacity_size) return false;
  }
  return true;
};

/** Moves the ring on by one epoch and returns the entry of the epoch that ended. */
export const closeEpoch = (state: SystemState) => {
  const accounting = state.future_accounting;
  const at = accounting.current_index;
  const ended = accounting.ring_buffer[at]!;
  accounting.ring_buffer[at] = {
    epoch: ended.epoch + accounting.length,
    used_capacity: 0n,
    rewards: 0n,
  };
  accounting.current_index = (at + 1) % accounting.length;
  state.used_capacity_size = accountOf(accounting, 0).used_capacity;
  return ended;
};
