/** `0x2::coin`: the few functions that storage transactions need, with Sui's abort codes. */
import { normalizeSuiAddress } from '@mysten/sui/utils';
import { abort } from '../errors.ts';
import type { CoinData } from '../layouts.ts';
import { coinOf, type TypeNames } from '../types.ts';
import { declarer, type MoveFunction } from './function.ts';

/** Address of Sui's framework. */
export const FRAMEWORK = normalizeSuiAddress('0x2');

/** Takes `amount` out of a coin, or aborts as `balance::split` does. */
export const splitBalance = (coin: CoinData, amount: bigint): void => {
  if (coin.balance < amount) throw abort(FRAMEWORK, 'balance', 'split', 2, 'ENotEnough');
  coin.balance -= amount;
};

/** Functions of module `coin`. */
export const coinFunctions = (names: TypeNames): Record<string, MoveFunction> => {
  const declare = declarer(names);
  return {
    'coin::zero': declare('', 'Coin<T>', (context, t: string) => context.newCoin(coinOf(t), 0n)),
    'coin::destroy_zero': declare('Coin<T>', '', (context, coin: CoinData) => {
      if (coin.balance !== 0n) throw abort(FRAMEWORK, 'balance', 'destroy_zero', 0, 'ENonZero');
      context.destroy(coin.id);
      return undefined;
    }),
    'coin::value': declare('&Coin<T>', 'u64', (_context, coin: CoinData) => ({
      type: 'u64',
      data: coin.balance,
    })),
    'coin::split': declare(
      '&mut Coin<T>, u64',
      'Coin<T>',
      (context, coin: CoinData, amount: bigint, t: string) => {
        splitBalance(coin, amount);
        return context.newCoin(coinOf(t), amount);
      },
    ),
    'coin::join': declare(
      '&mut Coin<T>, Coin<T>',
      '',
      (context, coin: CoinData, other: CoinData) => {
        coin.balance += other.balance;
        context.destroy(other.id);
        return undefined;
      },
    ),
  };
};
