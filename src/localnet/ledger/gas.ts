/**
 * What a transaction costs in SUI, by Sui's schedule: computation in buckets times the gas price;
 * storage by the byte, of which 99 % come back when the object is rewritten or deleted.
 * Weights of single commands are this ledger's own (Sui counts bytecode).
 */
import { meteredBytes, type ObjectValue } from './objects.ts';

/** Lowest accepted price of a unit of computation, MIST. */
export const REFERENCE_GAS_PRICE = 1000n;
/** A budget covers at least so many units. */
export const MIN_GAS_UNITS = 1000n;
/** Largest budget, MIST (50 SUI). */
export const MAX_GAS_BUDGET = 50_000_000_000n;
/** MIST a byte: 100 units at 76 MIST. */
const STORAGE_PRICE_PER_BYTE = 7600n;
/** Computation is rounded up to the next of these. */
const BUCKETS = [1000, 5000, 10_000, 20_000, 50_000, 200_000, 1_000_000, 5_000_000];

/** Gas used, MIST. */
export interface GasUsed {
  readonly computation: bigint;
  readonly storage: bigint;
  /** What comes back to the payer. */
  readonly rebate: bigint;
  /** The part of old rebates that the storage fund keeps. */
  readonly nonRefundable: bigint;
}

/** What the payer pays; negative if storage comes back. */
export const netGas = (gas: GasUsed): bigint => gas.computation + gas.storage - gas.rebate;

/** Units charged for `units` of work. */
export const computationUnits = (units: number): bigint =>
  BigInt(BUCKETS.find(bucket => units <= bucket) ?? BUCKETS.at(-1)!);

/** Storage price of an object, which becomes its rebate. */
export const storageCost = (object: ObjectValue): bigint =>
  BigInt(meteredBytes(object)) * STORAGE_PRICE_PER_BYTE;

/** Splits the rebates of replaced versions into what comes back and what stays. */
export const splitRebate = (rebates: bigint): Pick<GasUsed, 'rebate' | 'nonRefundable'> => {
  const rebate = (rebates * 9900n + 5000n) / 10_000n;
  return { rebate, nonRefundable: rebates - rebate };
};

/** Budget that a full node suggests after a trial run. */
export const suggestedBudget = (gas: GasUsed, price: bigint): bigint => {
  const overhead = 1000n * price;
  const net = netGas(gas) + overhead;
  const computation = gas.computation + overhead;
  return net > computation ? net : computation;
};
