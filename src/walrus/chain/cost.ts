/**
 * What storing costs, by Walrus' own arithmetic: encoded bytes in whole units of 1 MiB, times
 * price, times epochs; plus once the write price.
 */
import type { Frost } from '../../base/ids.ts';
import { STORAGE_UNIT_BYTES } from '../../base/limits.ts';
import { native } from '../../native.ts';
import type { Prices, Quote } from '../network.ts';

const unitsOf = (bytes: number): bigint => BigInt(Math.ceil(bytes / STORAGE_UNIT_BYTES));

/** Cost of a new blob of `size` bytes for `epochsAhead` epochs. */
export const quoteBlob = (
  size: number,
  nShards: number,
  epochsAhead: number,
  prices: Prices,
): Quote => {
  const { encodedBytes } = native.blobShape(size, nShards);
  const units = unitsOf(encodedBytes);
  return {
    encodedBytes,
    storage: units * prices.storagePerUnitEpoch * BigInt(epochsAhead),
    write: units * prices.writePerUnit,
  };
};

/** Cost of keeping `storageBytes` of reserved storage for `epochs` more. */
export const quoteExtension = (storageBytes: number, epochs: number, prices: Prices): Frost =>
  unitsOf(storageBytes) * prices.storagePerUnitEpoch * BigInt(epochs);

/** What the coin passed to Walrus holds: the quote and a tenth for a price that moves, never above `walMax`. */
export const withMargin = (quote: Frost, walMax: Frost): Frost => {
  const padded = quote + (quote + 9n) / 10n;
  return padded < walMax ? padded : walMax;
};
