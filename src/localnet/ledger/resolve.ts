/**
 * What a full node does for a wallet: fills in the versions of objects, runs the transaction on
 * trial, proposes price, budget and gas coins. Works on the view that reads see, so a lagging
 * reader gets lagging versions.
 */
import type { GrpcTypes } from '@mysten/sui/grpc';
import { GrpcTypes as Grpc } from '@mysten/sui/grpc';
import { normalizeSuiAddress } from '@mysten/sui/utils';
import { messageOf } from '../../base/errors.ts';
import { ExecutionFailure, GRPC, invalid, Rejection } from './errors.ts';
import { executeTransaction, type Machine, type Outcome } from './execute.ts';
import { MAX_GAS_BUDGET, REFERENCE_GAS_PRICE, suggestedBudget } from './gas.ts';
import { loadInputs } from './inputs.ts';
import { Coin } from './layouts.ts';
import { balanceOf, type StoredObject, sealObject } from './objects.ts';
import type { View } from './store.ts';
import {
  argumentsOf,
  type CallArg,
  type Command,
  checkGas,
  checkLimits,
  decodeTransaction,
  encodeTransaction,
  LIMITS,
  type Transaction,
  transactionDigest,
} from './transaction.ts';
import { commandFromProto, pureFromProto } from './wire.ts';

/** A trial run: the completed transaction and what it would do. */
export interface Simulation {
  readonly tx: Transaction;
  readonly digest: string;
  readonly outcome: Outcome;
}

/** Does any call take this input as `&mut` or by value? Other commands only take owned objects. */
const isMutated = (machine: Machine, commands: readonly Command[], index: number): boolean =>
  commands.some(command => {
    if (command.$kind !== 'MoveCall') return false;
    const call = command.MoveCall;
    const places = call.arguments.flatMap((argument, place) =>
      argument.$kind === 'Input' && argument.Input === index ? place : [],
    );
    if (places.length === 0) return false;
    try {
      const { parameters } = machine.packages.find(
        normalizeSuiAddress(call.package),
        call.module,
        call.function,
      );
      return places.some(place => parameters[place]?.by !== 'ref');
    } catch (error) {
      if (error instanceof ExecutionFailure) return true;
      throw error;
    }
  });

const resolveInput = (
  machine: Machine,
  view: View,
  input: GrpcTypes.Input,
  index: number,
  commands: readonly Command[],
): CallArg => {
  const Kind = Grpc.Input_InputKind;
  if (input.kind === Kind.PURE || (input.kind === undefined && input.pure !== undefined))
    return pureFromProto(input);
  if (input.objectId === undefined) throw invalid(`input ${index} names no object`);
  const objectId = normalizeSuiAddress(input.objectId);
  const object = view.object(objectId);
  if (object === undefined) throw new Rejection(GRPC.notFound, `Object ${objectId} not found`);
  if (object.owner.kind === 'object')
    throw invalid(`object ${objectId} belongs to another object and cannot be an input`);
  if (object.owner.kind === 'shared') {
    const mutable = input.mutable ?? isMutated(machine, commands, index);
    const initialSharedVersion = String(object.owner.initialVersion);
    return {
      $kind: 'Object',
      Object: {
        $kind: 'SharedObject',
        SharedObject: { objectId, initialSharedVersion, mutable },
      },
    };
  }
  const version = String(input.version ?? object.version);
  const digest = input.digest ?? object.digest;
  return {
    $kind: 'Object',
    Object: { $kind: 'ImmOrOwnedObject', ImmOrOwnedObject: { objectId, version, digest } },
  };
};

/** Reads the request's transaction, with objects filled in. */
const completed = (machine: Machine, view: View, wire: GrpcTypes.Transaction): Transaction => {
  if (wire.bcs?.value !== undefined) return decodeTransaction(wire.bcs.value);
  const kind = wire.kind?.data;
  if (kind?.oneofKind !== 'programmableTransaction')
    throw invalid('only programmable transactions can be simulated');
  const { inputs, commands: wireCommands } = kind.programmableTransaction;
  const commands = wireCommands.map(commandFromProto);
  const sender = normalizeSuiAddress(wire.sender ?? '0x0');
  const Expires = Grpc.TransactionExpiration_TransactionExpirationKind;
  return {
    sender,
    gas: {
      owner: wire.gasPayment?.owner ? normalizeSuiAddress(wire.gasPayment.owner) : sender,
      price: wire.gasPayment?.price ?? 0n,
      budget: wire.gasPayment?.budget ?? 0n,
      payment: (wire.gasPayment?.objects ?? []).map(ref => ({
        objectId: normalizeSuiAddress(ref.objectId ?? ''),
        version: Number(ref.version ?? 0n),
        digest: ref.digest ?? '',
      })),
    },
    expiration:
      wire.expiration?.kind === Expires.EPOCH
        ? { $kind: 'Epoch', Epoch: String(wire.expiration.epoch ?? 0n) as never }
        : { $kind: 'None', None: true },
    inputs: inputs.map((input, index) => resolveInput(machine, view, input, index, commands)),
    commands,
  };
};

const usesGasCoin = (tx: Transaction): boolean =>
  tx.commands.some(command => argumentsOf(command).some(({ $kind }) => $kind === 'GasCoin'));

/** SUI coins of the payer that are no inputs, the largest first. */
const candidates = (machine: Machine, view: View, tx: Transaction): StoredObject[] => {
  const { suiCoin } = machine.network.names;
  const inputs = new Set(
    tx.inputs.flatMap(input =>
      input.$kind === 'Object' && input.Object.$kind === 'ImmOrOwnedObject'
        ? input.Object.ImmOrOwnedObject.objectId
        : [],
    ),
  );
  return view
    .owned(tx.gas.owner, suiCoin, '', 10_000)
    .filter(coin => !inputs.has(coin.id))
    .sort((a, b) => (balanceOf(a)! < balanceOf(b)! ? 1 : -1));
};

/** Coins that cover the budget; all of them when the transaction itself spends the gas coin. */
const selectGas = (
  machine: Machine,
  view: View,
  tx: Transaction,
): Transaction['gas']['payment'] => {
  const chosen: StoredObject[] = [];
  let worth = 0n;
  for (const coin of candidates(machine, view, tx)) {
    if (chosen.length === LIMITS.gasObjects) break;
    if (worth >= tx.gas.budget && !usesGasCoin(tx)) break;
    chosen.push(coin);
    worth += balanceOf(coin)!;
  }
  if (worth < tx.gas.budget || chosen.length === 0)
    throw invalid(
      `Unable to perform gas selection due to insufficient SUI balance for account ${tx.gas.owner} to satisfy required budget ${tx.gas.budget}: its free coins hold ${worth}`,
    );
  return chosen.map(({ id, version, digest }) => ({ objectId: id, version, digest }));
};

/** BCS of a transaction that came in pieces, which may be malformed. */
const encoded = (tx: Transaction): Uint8Array => {
  try {
    return encodeTransaction(tx);
  } catch (cause) {
    throw invalid(`malformed transaction: ${messageOf(cause)}`);
  }
};

const attempt = (
  machine: Machine,
  view: View,
  tx: Transaction,
  mock?: StoredObject,
): Simulation => {
  const digest = transactionDigest(encoded(tx));
  const inputs = loadInputs(view, machine.network.names, machine.packages, tx);
  const gas = mock === undefined ? inputs.gas : [mock];
  const outcome = executeTransaction(machine, view, tx, digest, { ...inputs, gas });
  return { tx, digest, outcome };
};

/** A coin that exists only in a trial run. */
const mockCoin = ({ network: { names } }: Machine, owner: string): StoredObject => {
  const id = `0x${'ff'.repeat(32)}`;
  const contents = Coin.serialize({ id, balance: 2n ** 60n }).toBytes();
  const address = { kind: 'address' as const, address: owner };
  const value = { id, type: names.suiCoin, owner: address, contents };
  return sealObject(names, value, 1, `${'1'.repeat(32)}`, 988_000n);
};

/** Completes a transaction and runs it on trial. */
export const simulate = (
  machine: Machine,
  view: View,
  request: GrpcTypes.SimulateTransactionRequest,
): Simulation => {
  if (request.transaction === undefined) throw invalid('no transaction given');
  let tx = completed(machine, view, request.transaction);
  checkLimits(tx);
  const price = tx.gas.price === 0n ? REFERENCE_GAS_PRICE : tx.gas.price;
  tx = { ...tx, gas: { ...tx.gas, price } };
  if (tx.gas.budget === 0n) {
    const trial = { ...tx, gas: { ...tx.gas, budget: MAX_GAS_BUDGET, payment: [] } };
    const { outcome } = attempt(machine, view, trial, mockCoin(machine, tx.gas.owner));
    tx = { ...tx, gas: { ...tx.gas, budget: suggestedBudget(outcome.gas, price) } };
  }
  if (tx.gas.payment.length === 0) {
    if (!request.doGasSelection) return attempt(machine, view, tx, mockCoin(machine, tx.gas.owner));
    tx = { ...tx, gas: { ...tx.gas, payment: selectGas(machine, view, tx) } };
  }
  checkGas(tx);
  return attempt(machine, view, tx);
};
