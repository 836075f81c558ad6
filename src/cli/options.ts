/** Parsers of option values. */
import { InvalidArgumentError } from 'commander';
import { messageOf } from '../base/errors.ts';
import { formatRatePlan, parseRatePlan } from '../base/rate.ts';

/** A whole number within bounds. */
export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}.`);
    }
    return value;
  };

const DURATION_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A duration like `90s`, `10m`, `24h`, in milliseconds; a bare number means seconds. */
export const duration = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('must be a duration like 90s, 10m or 24h.');
  return Number(match[1]) * DURATION_MS[match[2] ?? 's']!;
};

const SIZE_BYTES: Record<string, number> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** A size like `10G`, in bytes. */
export const byteSize = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
  const unit = SIZE_BYTES[match?.[2]?.toUpperCase() ?? '']!;
  const bytes = Math.floor(Number(match?.[1]) * unit);
  if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER))
    throw new InvalidArgumentError('must be a size like 512M or 10G.');
  return bytes;
};

/** A rate like `10M` or a timetable of rates, in its plainest form. */
export const ratePlan = (text: string): string => {
  try {
    return formatRatePlan(parseRatePlan(text));
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
};

/** An amount of a coin with up to 9 decimals, in its smallest unit. */
export const coinAmount = (text: string): bigint => {
  const match = /^(\d{1,10})(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('must be an amount like 2 or 0.25.');
  return BigInt(match[1]! + (match[2] ?? '').padEnd(9, '0'));
};
