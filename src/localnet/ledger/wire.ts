/** Transactions and their effects in the form of Sui's gRPC. */
import { GrpcTypes } from '@mysten/sui/grpc';
import { fromBase64, toBase64 } from '@mysten/sui/utils';
import { invalid } from './errors.ts';
import type { Outcome, SealedChange } from './execute.ts';
import { balanceOf, ownerToProto } from './objects.ts';
import type { Argument, CallArg, Command, Transaction } from './transaction.ts';
import { coinTypeOf } from './types.ts';

const ArgumentKind = GrpcTypes.Argument_ArgumentKind;
const InputKind = GrpcTypes.Input_InputKind;

/** Milliseconds as a protobuf timestamp. */
export const timestamp = (ms: number) => ({
  seconds: BigInt(Math.floor(ms / 1000)),
  nanos: (ms % 1000) * 1_000_000,
});

const argumentToProto = (argument: Argument): GrpcTypes.Argument => {
  switch (argument.$kind) {
    case 'GasCoin':
      return { kind: ArgumentKind.GAS };
    case 'Input':
      return { kind: ArgumentKind.INPUT, input: argument.Input };
    case 'Result':
      return { kind: ArgumentKind.RESULT, result: argument.Result };
    case 'NestedResult': {
      const [result, subresult] = argument.NestedResult;
      return { kind: ArgumentKind.RESULT, result, subresult };
    }
  }
};

const argumentFromProto = (argument: GrpcTypes.Argument | undefined): Argument => {
  if (argument?.kind === ArgumentKind.GAS) return { $kind: 'GasCoin', GasCoin: true };
  if (argument?.kind === ArgumentKind.INPUT && argument.input !== undefined)
    return { $kind: 'Input', Input: argument.input };
  if (argument?.kind !== ArgumentKind.RESULT || argument.result === undefined)
    throw invalid('an argument of a command is incomplete');
  return argument.subresult === undefined
    ? { $kind: 'Result', Result: argument.result }
    : { $kind: 'NestedResult', NestedResult: [argument.result, argument.subresult] };
};

const commandToProto = (command: Command): GrpcTypes.Command => {
  switch (command.$kind) {
    case 'MoveCall': {
      const { arguments: args, ...call } = command.MoveCall;
      const moveCall = { ...call, arguments: args.map(argumentToProto) };
      return { command: { oneofKind: 'moveCall', moveCall } };
    }
    case 'TransferObjects': {
      const transferObjects = {
        objects: command.TransferObjects.objects.map(argumentToProto),
        address: argumentToProto(command.TransferObjects.address),
      };
      return { command: { oneofKind: 'transferObjects', transferObjects } };
    }
    case 'SplitCoins': {
      const splitCoins = {
        coin: argumentToProto(command.SplitCoins.coin),
        amounts: command.SplitCoins.amounts.map(argumentToProto),
      };
      return { command: { oneofKind: 'splitCoins', splitCoins } };
    }
    case 'MergeCoins': {
      const mergeCoins = {
        coin: argumentToProto(command.MergeCoins.destination),
        coinsToMerge: command.MergeCoins.sources.map(argumentToProto),
      };
      return { command: { oneofKind: 'mergeCoins', mergeCoins } };
    }
    default:
      throw invalid(`command ${command.$kind} is not supported by this ledger`);
  }
};

/** A command from the wire; publishing, upgrading and vectors of objects are refused. */
export const commandFromProto = ({ command }: GrpcTypes.Command): Command => {
  const many = (list: readonly GrpcTypes.Argument[]) => list.map(argumentFromProto);
  switch (command.oneofKind) {
    case 'moveCall': {
      const { package: id = '', module = '', function: name = '' } = command.moveCall;
      const { typeArguments } = command.moveCall;
      const args = many(command.moveCall.arguments);
      return {
        $kind: 'MoveCall',
        MoveCall: { package: id, module, function: name, typeArguments, arguments: args },
      };
    }
    case 'transferObjects': {
      const { objects, address } = command.transferObjects;
      const TransferObjects = { objects: many(objects), address: argumentFromProto(address) };
      return { $kind: 'TransferObjects', TransferObjects };
    }
    case 'splitCoins': {
      const { coin, amounts } = command.splitCoins;
      const SplitCoins = { coin: argumentFromProto(coin), amounts: many(amounts) };
      return { $kind: 'SplitCoins', SplitCoins };
    }
    case 'mergeCoins': {
      const { coin, coinsToMerge } = command.mergeCoins;
      const MergeCoins = { destination: argumentFromProto(coin), sources: many(coinsToMerge) };
      return { $kind: 'MergeCoins', MergeCoins };
    }
    default:
      throw invalid(`command ${command.oneofKind} is not supported by this ledger`);
  }
};

const inputToProto = (input: CallArg): GrpcTypes.Input => {
  if (input.$kind === 'Pure') return { kind: InputKind.PURE, pure: fromBase64(input.Pure.bytes) };
  if (input.$kind !== 'Object') throw invalid(`input of kind ${input.$kind} is not supported`);
  const { Object: object } = input;
  if (object.$kind === 'SharedObject') {
    const { objectId, initialSharedVersion, mutable } = object.SharedObject;
    return { kind: InputKind.SHARED, objectId, version: BigInt(initialSharedVersion), mutable };
  }
  const receiving = object.$kind === 'Receiving';
  const { objectId, version, digest } = receiving ? object.Receiving : object.ImmOrOwnedObject;
  const kind = receiving ? InputKind.RECEIVING : InputKind.IMMUTABLE_OR_OWNED;
  return { kind, objectId, version: BigInt(version), digest };
};

/** A pure input from the wire. */
export const pureFromProto = (input: GrpcTypes.Input): CallArg => ({
  $kind: 'Pure',
  Pure: { bytes: toBase64(input.pure ?? new Uint8Array()) },
});

const expirationToProto = (tx: Transaction): GrpcTypes.TransactionExpiration => {
  const Kind = GrpcTypes.TransactionExpiration_TransactionExpirationKind;
  const { expiration } = tx;
  if (expiration.$kind === 'Epoch') return { kind: Kind.EPOCH, epoch: BigInt(expiration.Epoch) };
  if (expiration.$kind !== 'ValidDuring') return { kind: Kind.NONE };
  const { minEpoch, maxEpoch, chain, nonce } = expiration.ValidDuring;
  return {
    kind: Kind.VALID_DURING,
    chain,
    nonce,
    ...(minEpoch === null ? {} : { minEpoch: BigInt(minEpoch) }),
    ...(maxEpoch === null ? {} : { epoch: BigInt(maxEpoch) }),
  };
};

/** A whole transaction on the wire. */
export const transactionToProto = (
  tx: Transaction,
  digest: string,
  bytes?: Uint8Array,
): GrpcTypes.Transaction => ({
  ...(bytes === undefined ? {} : { bcs: { name: 'TransactionData', value: bytes } }),
  digest,
  version: 1,
  kind: {
    kind: GrpcTypes.TransactionKind_Kind.PROGRAMMABLE_TRANSACTION,
    data: {
      oneofKind: 'programmableTransaction',
      programmableTransaction: {
        inputs: tx.inputs.map(inputToProto),
        commands: tx.commands.map(commandToProto),
      },
    },
  },
  sender: tx.sender,
  gasPayment: {
    owner: tx.gas.owner,
    price: tx.gas.price,
    budget: tx.gas.budget,
    objects: tx.gas.payment.map(ref => ({ ...ref, version: BigInt(ref.version) })),
  },
  expiration: expirationToProto(tx),
});

const changeToProto = ({ id, before, after, operation }: SealedChange): GrpcTypes.ChangedObject => {
  const In = GrpcTypes.ChangedObject_InputObjectState;
  const Out = GrpcTypes.ChangedObject_OutputObjectState;
  const Operation = GrpcTypes.ChangedObject_IdOperation;
  return {
    objectId: id,
    inputState: before === undefined ? In.DOES_NOT_EXIST : In.EXISTS,
    ...(before && {
      inputVersion: BigInt(before.version),
      inputDigest: before.digest,
      inputOwner: ownerToProto(before.owner),
    }),
    outputState: after === undefined ? Out.DOES_NOT_EXIST : Out.OBJECT_WRITE,
    ...(after && {
      outputVersion: BigInt(after.version),
      outputDigest: after.digest,
      outputOwner: ownerToProto(after.owner),
    }),
    idOperation: Operation[operation],
    objectType: (after ?? before)?.type ?? '',
  };
};

/** Effects on the wire. */
export const effectsToProto = (
  outcome: Outcome,
  digest: string,
  epoch: number,
): GrpcTypes.TransactionEffects => {
  const { failure, gas } = outcome;
  const changedObjects = outcome.changes.map(changeToProto);
  const gasObject = changedObjects.find(change => change.objectId === outcome.gasCoin);
  return {
    version: 2,
    status:
      failure === undefined ? { success: true } : { success: false, error: failure.toProto() },
    epoch: BigInt(epoch),
    gasUsed: {
      computationCost: gas.computation,
      storageCost: gas.storage,
      storageRebate: gas.rebate,
      nonRefundableStorageFee: gas.nonRefundable,
    },
    transactionDigest: digest,
    ...(gasObject && { gasObject }),
    dependencies: [
      ...new Set(outcome.changes.flatMap(change => change.before?.previousTransaction ?? [])),
    ],
    lamportVersion: BigInt(outcome.version),
    changedObjects,
    unchangedConsensusObjects: [],
    unchangedLoadedRuntimeObjects: [],
  };
};

/** What every address gained or lost, by coin type. */
export const balanceChanges = (outcome: Outcome): GrpcTypes.BalanceChange[] => {
  const sums = new Map<string, { address: string; coinType: string; amount: bigint }>();
  const add = (object: SealedChange['after'], sign: bigint): void => {
    const coinType = object && coinTypeOf(object.type);
    if (object?.owner.kind !== 'address' || coinType === undefined) return;
    const { address } = object.owner;
    const key = `${address} ${coinType}`;
    const sum = sums.get(key) ?? { address, coinType, amount: 0n };
    sum.amount += sign * balanceOf(object)!;
    sums.set(key, sum);
  };
  for (const { before, after } of outcome.changes) {
    add(before, -1n);
    add(after, 1n);
  }
  return [...sums.values()]
    .filter(sum => sum.amount !== 0n)
    .map(sum => ({ ...sum, amount: String(sum.amount) }));
};
