/**
 * Runs the commands of a programmable transaction. Values are linear: what a command takes by
 * value is gone, an object that nobody takes fails the transaction, a reference lives for one
 * command. Types are checked at every step; any misfit fails as Sui would fail it.
 */
import { GrpcTypes } from '@mysten/sui/grpc';
import { fromBase64, normalizeSuiAddress } from '@mysten/sui/utils';
import { argumentError, ExecutionFailure } from '../errors.ts';
import type { CoinData } from '../layouts.ts';
import type { StoredObject } from '../objects.ts';
import type { Argument, CallArg, Command, Transaction } from '../transaction.ts';
import { canonicalType, coinTypeOf, isObjectType, isTransferable, SUI_TYPE } from '../types.ts';
import type { MoveContext, MoveValue } from './context.ts';
import { ANY_COIN, type Parameter, readPure } from './function.ts';
import type { Packages } from './packages.ts';
import { Loans, type Slot, slotOf, wholeOf } from './slots.ts';

/** Base units of computation of a transaction and of a built-in command. */
const BASE_UNITS = 100;
const COMMAND_UNITS = 50;

/** Runs one transaction in a context; counts the computation it took even when it fails. */
export class Interpreter {
  computation = BASE_UNITS;
  readonly #context: MoveContext;
  readonly #packages: Packages;
  readonly #inputs: Slot[];
  readonly #gas: Slot;
  readonly #results: Slot[][] = [];
  readonly #loans = new Loans();

  constructor(
    context: MoveContext,
    packages: Packages,
    tx: Transaction,
    objects: ReadonlyMap<string, StoredObject>,
    gasCoin: MoveValue,
  ) {
    this.#context = context;
    this.#packages = packages;
    this.#gas = slotOf(gasCoin, { gas: true });
    this.#inputs = tx.inputs.map(input => this.#input(input, objects));
  }

  #input(input: CallArg, objects: ReadonlyMap<string, StoredObject>): Slot {
    if (input.$kind === 'Pure') return slotOf(undefined, { pure: fromBase64(input.Pure.bytes) });
    if (input.$kind !== 'Object') return slotOf(undefined);
    const shared = input.Object.$kind === 'SharedObject' ? input.Object.SharedObject : undefined;
    const id =
      shared?.objectId ??
      (input.Object.$kind === 'ImmOrOwnedObject'
        ? input.Object.ImmOrOwnedObject.objectId
        : undefined);
    const object = id === undefined ? undefined : objects.get(id);
    if (object === undefined) return slotOf(undefined);
    const fixed = shared === undefined ? 'no' : shared.mutable ? 'shared' : 'readonly';
    // A shared object that is only read must not be written back: it stays out of the changes.
    return slotOf(this.#context.hold(object, fixed !== 'readonly'), { fixed });
  }

  /** Runs all commands; throws ExecutionFailure with the command's index. */
  run(commands: readonly Command[]): void {
    for (const [index, command] of commands.entries()) {
      try {
        this.#loans.end();
        const values = this.#command(command);
        this.#results.push(values.map(value => slotOf(value)));
      } catch (error) {
        if (error instanceof ExecutionFailure) error.command ??= index;
        throw error;
      }
    }
    this.#checkLeftovers();
  }

  #command(command: Command): readonly MoveValue[] {
    this.computation += COMMAND_UNITS;
    switch (command.$kind) {
      case 'MoveCall':
        return this.#moveCall(command.MoveCall);
      case 'SplitCoins':
        return this.#splitCoins(command.SplitCoins.coin, command.SplitCoins.amounts);
      case 'MergeCoins':
        return this.#mergeCoins(command.MergeCoins.destination, command.MergeCoins.sources);
      case 'TransferObjects':
        return this.#transfer(command.TransferObjects.objects, command.TransferObjects.address);
      default:
        throw new ExecutionFailure(
          'FEATURE_NOT_YET_SUPPORTED',
          `command ${command.$kind} is not supported by this ledger`,
        );
    }
  }

  #moveCall(call: Extract<Command, { $kind: 'MoveCall' }>['MoveCall']): readonly MoveValue[] {
    const target = this.#packages.find(
      normalizeSuiAddress(call.package),
      call.module,
      call.function,
    );
    this.computation += target.computation;
    if (call.arguments.length !== target.parameters.length)
      throw new ExecutionFailure(
        'ARITY_MISMATCH',
        `${call.module}::${call.function} takes ${target.parameters.length} arguments, not ${call.arguments.length}`,
      );
    if (call.typeArguments.length !== target.typeParameters)
      throw new ExecutionFailure(
        'TYPE_ARITY_MISMATCH',
        `${call.module}::${call.function} takes ${target.typeParameters} type arguments, not ${call.typeArguments.length}`,
      );
    const typeArgument = this.#coinType(call.typeArguments[0]);
    const args = target.parameters.map((parameter, index) => {
      const type =
        parameter.type === ANY_COIN ? ANY_COIN.replace('<T>', `<${typeArgument}>`) : parameter.type;
      return this.#argument(call.arguments[index]!, { ...parameter, type }, index);
    });
    return target.run(this.#context, args, typeArgument);
  }

  #coinType(text: string | undefined): string {
    if (text === undefined) return '';
    const type = canonicalType(text);
    if (type === SUI_TYPE || type === this.#context.network.names.wal) return type;
    throw new ExecutionFailure('TYPE_ARGUMENT_ERROR', `no coin type ${text} on this ledger`, {
      oneofKind: 'typeArgumentError',
      typeArgumentError: {
        typeArgument: 0,
        kind: GrpcTypes.TypeArgumentError_TypeArgumentErrorKind.TYPE_NOT_FOUND,
      },
    });
  }

  #splitCoins(coinArgument: Argument, amounts: readonly Argument[]): MoveValue[] {
    const coin = this.#coin(coinArgument, 0, 'mut');
    const data = coin.data as CoinData;
    const wanted = amounts.map(
      (amount, index) => this.#argument(amount, { by: 'value', type: 'u64' }, index + 1) as bigint,
    );
    return wanted.map(amount => {
      if (data.balance < amount)
        throw new ExecutionFailure(
          'INSUFFICIENT_COIN_BALANCE',
          `coin ${data.id} holds ${data.balance}, ${amount} were to be split off`,
        );
      data.balance -= amount;
      return this.#context.newCoin(coin.type, amount);
    });
  }

  #mergeCoins(destination: Argument, sources: readonly Argument[]): MoveValue[] {
    const into = this.#coin(destination, 0, 'mut');
    for (const [index, source] of sources.entries()) {
      const slot = this.#slot(source, index + 1);
      if (slot.gas)
        throw argumentError(index + 1, 'INVALID_GAS_COIN_USAGE', 'the gas coin cannot be merged');
      const from = this.#coin(source, index + 1, 'value');
      if (from.type !== into.type)
        throw argumentError(index + 1, 'TYPE_MISMATCH', `${from.type} is no ${into.type}`);
      (into.data as CoinData).balance += (from.data as CoinData).balance;
      this.#context.destroy((from.data as CoinData).id);
    }
    return [];
  }

  #transfer(objects: readonly Argument[], address: Argument): MoveValue[] {
    const to = this.#argument(address, { by: 'value', type: 'address' }, objects.length) as string;
    for (const [index, object] of objects.entries()) {
      const slot = this.#slot(object, index);
      const value = wholeOf(slot, index);
      if (!isTransferable(this.#context.network.names, value.type))
        throw argumentError(
          index,
          'INVALID_TRANSFER_OBJECT',
          `${value.type} cannot be transferred`,
        );
      this.#loans.take(slot, index);
      this.#context.transfer((value.data as { id: string }).id, to);
    }
    return [];
  }

  #coin(argument: Argument, index: number, by: Parameter['by']): MoveValue {
    const slot = this.#slot(argument, index);
    const value = wholeOf(slot, index);
    if (coinTypeOf(value.type) === undefined)
      throw argumentError(index, 'TYPE_MISMATCH', `${value.type} is no coin`);
    this.#loans.use(slot, by, index);
    return value;
  }

  #argument(argument: Argument, parameter: Parameter, index: number): unknown {
    const slot = this.#slot(argument, index);
    if (slot.pure !== undefined) return this.#pure(slot.pure, parameter, index);
    const value = wholeOf(slot, index);
    if (value.type !== parameter.type)
      throw argumentError(index, 'TYPE_MISMATCH', `${value.type} is no ${parameter.type}`);
    if (slot.gas && parameter.by === 'value')
      throw argumentError(
        index,
        'INVALID_GAS_COIN_USAGE',
        'the gas coin can be taken by value only by TransferObjects',
      );
    this.#loans.use(slot, parameter.by, index);
    return value.data;
  }

  #pure(bytes: Uint8Array, parameter: Parameter, index: number): unknown {
    try {
      const read = readPure(parameter.type, bytes);
      if (read !== undefined) return read.value;
    } catch {
      throw argumentError(
        index,
        'INVALID_BCS_BYTES',
        `${bytes.length} bytes are no ${parameter.type}`,
      );
    }
    throw argumentError(
      index,
      'INVALID_USAGE_OF_PURE_ARGUMENT',
      `${parameter.type} cannot be a pure argument`,
    );
  }

  #slot(argument: Argument, index: number): Slot {
    switch (argument.$kind) {
      case 'GasCoin':
        return this.#gas;
      case 'Input':
        return this.#inputs[argument.Input] ?? outOfBounds(index);
      case 'Result': {
        const results = this.#results[argument.Result] ?? outOfBounds(index);
        if (results.length === 1) return results[0]!;
        throw argumentError(
          index,
          'INVALID_RESULT_ARITY',
          `command ${argument.Result} has ${results.length} results`,
        );
      }
      case 'NestedResult': {
        const [command, result] = argument.NestedResult;
        const results = this.#results[command] ?? outOfBounds(index);
        const slot = results[result];
        if (slot !== undefined) return slot;
        throw argumentError(
          index,
          'SECONDARY_INDEX_OUT_OF_BOUNDS',
          `command ${command} has ${results.length} results`,
        );
      }
    }
  }

  #checkLeftovers(): void {
    for (const [command, slots] of this.#results.entries())
      for (const [result, slot] of slots.entries())
        if (slot.value && isObjectType(this.#context.network.names, slot.value.type))
          throw new ExecutionFailure(
            'UNUSED_VALUE_WITHOUT_DROP',
            `result ${result} of command ${command} (${slot.value.type}) was not used`,
            { oneofKind: 'indexError', indexError: { index: command, subresult: result } },
          );
  }
}

const outOfBounds = (index: number): never => {
  throw argumentError(index, 'INDEX_OUT_OF_BOUNDS', 'no such input or command');
};
