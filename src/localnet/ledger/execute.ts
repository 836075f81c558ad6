/**
 * One transaction from checked inputs to sealed objects: runs the commands, charges gas, gives
 * every changed object the same new version. A failed transaction changes nothing but the gas
 * coin, yet every object it could have changed gets a new version, as on Sui.
 */
import { fromBase58 } from '@mysten/sui/utils';
import { ExecutionFailure } from './errors.ts';
import { computationUnits, type GasUsed, netGas, splitRebate, storageCost } from './gas.ts';
import type { Inputs } from './inputs.ts';
import { Coin, type CoinData } from './layouts.ts';
import { type Change, MoveContext, type MoveValue, type Network } from './move/context.ts';
import { Interpreter } from './move/interpreter.ts';
import type { Packages } from './move/packages.ts';
import { balanceOf, type StoredObject, sealObject } from './objects.ts';
import type { NewEvent, View } from './store.ts';
import type { Transaction } from './transaction.ts';

/** A changed object with its new version. */
export interface SealedChange extends Omit<Change, 'after'> {
  readonly after: StoredObject | undefined;
}

/** What a transaction did. */
export interface Outcome {
  readonly failure: ExecutionFailure | undefined;
  readonly changes: readonly SealedChange[];
  readonly gas: GasUsed;
  /** Object id of the coin that paid; undefined in a trial run without coins. */
  readonly gasCoin: string;
  readonly version: number;
  readonly events: readonly NewEvent[];
}

/** What executing needs beside the transaction. */
export interface Machine {
  readonly network: Network;
  readonly packages: Packages;
}

const costsOf = (changes: readonly Change[], computation: bigint): GasUsed => {
  let storage = 0n;
  let rebates = 0n;
  for (const { before, after } of changes) {
    if (after !== undefined) storage += storageCost(after);
    if (before !== undefined) rebates += before.storageRebate;
  }
  return { computation, storage, ...splitRebate(rebates) };
};

/** Takes gas coins in: the first one holds what all are worth, less the budget. */
const smash = (context: MoveContext, inputs: Inputs, budget: bigint): MoveValue => {
  const [first, ...others] = inputs.gas as [StoredObject, ...StoredObject[]];
  const coin = context.hold(first);
  for (const other of others) {
    (coin.data as CoinData).balance += balanceOf(other)!;
    context.hold(other);
    context.destroy(other.id);
  }
  (coin.data as CoinData).balance -= budget;
  return coin;
};

/** Runs the commands; on failure the changes are those of a transaction that does nothing. */
const run = (machine: Machine, view: View, tx: Transaction, digest: string, inputs: Inputs) => {
  const attempt = (commands: Transaction['commands']) => {
    const context = new MoveContext(machine.network, view, fromBase58(digest));
    const coin = smash(context, inputs, tx.gas.budget);
    const interpreter = new Interpreter(context, machine.packages, tx, inputs.objects, coin);
    let failure: ExecutionFailure | undefined;
    try {
      interpreter.run(commands);
    } catch (error) {
      if (!(error instanceof ExecutionFailure)) throw error;
      failure = error;
    }
    const computation = computationUnits(interpreter.computation) * tx.gas.price;
    const changes = failure === undefined ? context.changes() : [];
    return { failure, changes, events: context.events, computation };
  };
  const nothing = (failure: ExecutionFailure, computation: bigint) => ({
    ...attempt([]),
    failure,
    computation,
  });
  const first = attempt(tx.commands);
  const done = first.failure === undefined ? first : nothing(first.failure, first.computation);
  const gas = costsOf(done.changes, done.computation);
  if (netGas(gas) <= tx.gas.budget) return { ...done, gas };
  const broke = new ExecutionFailure(
    'INSUFFICIENT_GAS',
    `gas budget ${tx.gas.budget} does not cover ${netGas(gas)}`,
  );
  const rest = nothing(done.failure ?? broke, done.computation);
  const least = costsOf(rest.changes, rest.computation);
  const over = netGas(least) - tx.gas.budget;
  const charged = over > 0n ? { ...least, computation: least.computation - over } : least;
  return { ...rest, gas: charged };
};

/** Executes a transaction against a view; nothing is stored. */
export const executeTransaction = (
  machine: Machine,
  view: View,
  tx: Transaction,
  digest: string,
  inputs: Inputs,
): Outcome => {
  const { failure, changes, events, gas } = run(machine, view, tx, digest, inputs);
  const gasCoin = inputs.gas[0]!.id;
  const versions = [
    ...inputs.objects.values(),
    ...inputs.gas,
    ...changes.flatMap(c => c.before ?? []),
  ];
  const version = 1 + Math.max(...versions.map(object => object.version));
  const sealed = changes.map((change): SealedChange => {
    let { after } = change;
    if (after === undefined) return { ...change, after };
    if (change.id === gasCoin) {
      const coin = Coin.parse(after.contents);
      coin.balance += tx.gas.budget - netGas(gas);
      after = { ...after, contents: Coin.serialize(coin).toBytes() };
    }
    const { names } = machine.network;
    return { ...change, after: sealObject(names, after, version, digest, storageCost(after)) };
  });
  sealed.sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    failure,
    changes: sealed,
    gas,
    gasCoin,
    version,
    events: failure === undefined ? events : [],
  };
};
