/**
 * A transaction as its sender signed it: decoding, limits of Sui, signature, expiration. What is
 * checked here needs no object of the ledger.
 */
import { bcs } from '@mysten/sui/bcs';
import { toBase64 } from '@mysten/sui/utils';
import { verifyTransactionSignature } from '@mysten/sui/verify';
import { messageOf } from '../../base/errors.ts';
import { invalid } from './errors.ts';
import { MAX_GAS_BUDGET, MIN_GAS_UNITS, REFERENCE_GAS_PRICE } from './gas.ts';
import { digestOf } from './hash.ts';

type Data = typeof bcs.TransactionDataV1.$inferType;
/** An input of a programmable transaction. */
export type CallArg = typeof bcs.CallArg.$inferType;
/** A command of a programmable transaction. */
export type Command = typeof bcs.Command.$inferType;
/** Where a command takes a value from. */
export type Argument = typeof bcs.Argument.$inferType;
/** Id, version and digest of an object. */
export interface ObjectRef {
  readonly objectId: string;
  readonly version: number;
  readonly digest: string;
}

/** A programmable transaction with everything decided. */
export interface Transaction {
  readonly sender: string;
  readonly gas: {
    readonly owner: string;
    readonly payment: readonly ObjectRef[];
    readonly price: bigint;
    readonly budget: bigint;
  };
  readonly expiration: Data['expiration'];
  readonly inputs: readonly CallArg[];
  readonly commands: readonly Command[];
}

/** Sui's limits. */
export const LIMITS = {
  transactionBytes: 128 * 1024,
  pureBytes: 16 * 1024,
  commands: 1024,
  inputs: 2048,
  gasObjects: 256,
} as const;

/** Object reference from its BCS form. */
export const refOf = (ref: { objectId: string; version: string | number; digest: string }) => ({
  objectId: ref.objectId,
  version: Number(ref.version),
  digest: ref.digest,
});

/** Decodes signed bytes; anything but a canonical programmable transaction is refused. */
export const decodeTransaction = (bytes: Uint8Array): Transaction => {
  if (bytes.length > LIMITS.transactionBytes)
    throw invalid(
      `serialized transaction size ${bytes.length} exceeds the maximum of ${LIMITS.transactionBytes}`,
    );
  let data: Data;
  try {
    const parsed = bcs.TransactionData.parse(bytes);
    if (Buffer.compare(bcs.TransactionData.serialize(parsed).toBytes(), bytes) !== 0)
      throw new RangeError('not in canonical form');
    data = parsed.V1;
  } catch (cause) {
    throw invalid(`invalid transaction bytes: ${messageOf(cause)}`);
  }
  if (data.kind.$kind !== 'ProgrammableTransaction')
    throw invalid('only programmable transactions can be executed');
  return {
    sender: data.sender,
    gas: {
      owner: data.gasData.owner,
      payment: data.gasData.payment.map(refOf),
      price: BigInt(data.gasData.price),
      budget: BigInt(data.gasData.budget),
    },
    expiration: data.expiration,
    inputs: data.kind.ProgrammableTransaction.inputs,
    commands: data.kind.ProgrammableTransaction.commands,
  };
};

/** BCS of a transaction. */
export const encodeTransaction = (tx: Transaction): Uint8Array =>
  bcs.TransactionData.serialize({
    V1: {
      kind: {
        ProgrammableTransaction: { inputs: [...tx.inputs], commands: [...tx.commands] },
      },
      sender: tx.sender,
      gasData: { ...tx.gas, payment: [...tx.gas.payment] },
      expiration: tx.expiration,
    },
  }).toBytes();

/** base58 digest of a transaction's bytes. */
export const transactionDigest = (bytes: Uint8Array): string => digestOf('TransactionData', bytes);

/** Commands that the interpreter knows. */
const COMMANDS = new Set(['MoveCall', 'SplitCoins', 'MergeCoins', 'TransferObjects']);

/** All arguments of a command, in order. */
export const argumentsOf = (command: Command): readonly Argument[] => {
  switch (command.$kind) {
    case 'MoveCall':
      return command.MoveCall.arguments;
    case 'SplitCoins':
      return [command.SplitCoins.coin, ...command.SplitCoins.amounts];
    case 'MergeCoins':
      return [command.MergeCoins.destination, ...command.MergeCoins.sources];
    case 'TransferObjects':
      return [...command.TransferObjects.objects, command.TransferObjects.address];
    default:
      return [];
  }
};

/** Limits that hold for executed and simulated transactions alike. */
export const checkLimits = (tx: Transaction): void => {
  if (tx.commands.length > LIMITS.commands)
    throw invalid(`${tx.commands.length} commands exceed the maximum of ${LIMITS.commands}`);
  if (tx.commands.length === 0) throw invalid('a transaction needs at least one command');
  for (const command of tx.commands)
    if (!COMMANDS.has(command.$kind))
      throw invalid(`command ${command.$kind} is not supported by this ledger`);
  if (tx.inputs.length > LIMITS.inputs)
    throw invalid(`${tx.inputs.length} inputs exceed the maximum of ${LIMITS.inputs}`);
  for (const [index, input] of tx.inputs.entries()) {
    if (input.$kind === 'FundsWithdrawal')
      throw invalid(`input ${index}: this ledger keeps no address balances, only coins`);
    if (input.$kind !== 'Pure') continue;
    const size = Buffer.byteLength(input.Pure.bytes, 'base64');
    if (size > LIMITS.pureBytes)
      throw invalid(
        `input ${index}: size limit exceeded: ${size} bytes of a pure argument, at most ${LIMITS.pureBytes}`,
      );
  }
};

/** Rules for gas that need no coin: owner, price, budget, number of coins. */
export const checkGas = ({ gas, sender }: Transaction): void => {
  if (gas.owner !== sender)
    throw invalid(`gas owner ${gas.owner} is not the sender ${sender}: sponsors are not supported`);
  if (gas.payment.length === 0) throw invalid('no gas payment given');
  if (gas.payment.length > LIMITS.gasObjects)
    throw invalid(`${gas.payment.length} gas objects exceed the maximum of ${LIMITS.gasObjects}`);
  if (gas.price < REFERENCE_GAS_PRICE)
    throw invalid(`gas price ${gas.price} under reference gas price (RGP) ${REFERENCE_GAS_PRICE}`);
  const least = MIN_GAS_UNITS * gas.price;
  if (gas.budget < least) throw invalid(`gas budget: ${gas.budget} is lower than min: ${least}`);
  if (gas.budget > MAX_GAS_BUDGET)
    throw invalid(`gas budget: ${gas.budget} is higher than max: ${MAX_GAS_BUDGET}`);
};

/** Refuses a transaction outside the epochs it is valid in. */
export const checkExpiration = (tx: Transaction, epoch: number, chainId: string): void => {
  const { expiration } = tx;
  if (expiration.$kind === 'None') return;
  if (expiration.$kind === 'Epoch') {
    if (Number(expiration.Epoch) < epoch)
      throw invalid(`transaction expired: valid until epoch ${expiration.Epoch}, now ${epoch}`);
    return;
  }
  if (expiration.$kind !== 'ValidDuring')
    throw invalid(`expiration of kind ${expiration.$kind} is not supported`);
  const { minEpoch, maxEpoch, chain } = expiration.ValidDuring;
  if (chain !== chainId) throw invalid(`transaction is for chain ${chain}, this is ${chainId}`);
  if (minEpoch !== null && Number(minEpoch) > epoch)
    throw invalid(`transaction is valid from epoch ${minEpoch} on, now ${epoch}`);
  if (maxEpoch !== null && Number(maxEpoch) < epoch)
    throw invalid(`transaction expired: valid until epoch ${maxEpoch}, now ${epoch}`);
};

/** Checks that exactly the sender signed these bytes. */
export const checkSignature = async (
  bytes: Uint8Array,
  sender: string,
  signatures: readonly Uint8Array[],
): Promise<void> => {
  const [signature] = signatures;
  if (signature === undefined || signatures.length !== 1)
    throw invalid(`expect 1 signer signature but got ${signatures.length}`);
  try {
    const key = await verifyTransactionSignature(bytes, toBase64(signature));
    if (key.toSuiAddress() === sender) return;
  } catch (cause) {
    throw invalid(`signature is not valid: ${messageOf(cause)}`);
  }
  throw invalid(`signature is not valid: required signer ${sender} did not sign`);
};
