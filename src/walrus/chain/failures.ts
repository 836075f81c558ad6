/**
 * What a failed execution means for us. The contract's aborts are known by module and code
 * (MystenLabs/walrus Move sources); everything else stays `tx_failed` with Sui's own words.
 */
import { GrpcTypes as Grpc, type GrpcTypes } from '@mysten/sui/grpc';
import { Transaction } from '@mysten/sui/transactions';
import { type ErrorCode, TuskError } from '../../base/errors.ts';
import type { TxResult } from '../network.ts';
import { REMOVE_HEAD } from './transactions.ts';

/** Why a transaction failed. */
export interface Failure {
  readonly code: ErrorCode;
  readonly text: string;
  readonly abort?: NonNullable<TxResult['abort']>;
}

/** `system::EWrongVersion`: the package was upgraded. */
const SYSTEM_WRONG_VERSION = 1;
/** The certificate is of another epoch: `messages::EIncorrectEpoch`, `system_state_inner::EInvalidIdEpoch`. */
const MESSAGE_INCORRECT_EPOCH = 1;
const STATE_INVALID_ID_EPOCH = 3;

const codeOf = (
  error: GrpcTypes.ExecutionError | undefined,
  abort: TxResult['abort'],
  calledFunction: string | undefined,
): ErrorCode => {
  const kinds = Grpc.ExecutionError_ExecutionErrorKind;
  if (error?.kind === kinds.INSUFFICIENT_GAS || error?.kind === kinds.INSUFFICIENT_COIN_BALANCE) {
    return 'unfunded';
  }
  if (calledFunction === REMOVE_HEAD) return 'conflicting_head';
  if (abort === undefined) return 'tx_failed';
  const { module, code } = abort;
  if (module === 'system' && code === SYSTEM_WRONG_VERSION) return 'stale_package';
  if (module === 'messages' && code === MESSAGE_INCORRECT_EPOCH) return 'epoch_changed';
  if (module === 'system_state_inner' && code === STATE_INVALID_ID_EPOCH) return 'epoch_changed';
  if (module === 'balance' || module === 'coin') return 'price_changed';
  return 'tx_failed';
};

/** Move functions that a transaction's commands call, by command. */
const calledFunctions = (bytes: Uint8Array): (string | undefined)[] =>
  Transaction.from(bytes)
    .getData()
    .commands.map(command => command.MoveCall?.function);

/** Reads Sui's error; `bytes` is the transaction, in which the failing command is looked up. */
export const describeFailure = (
  error: GrpcTypes.ExecutionError | undefined,
  bytes: Uint8Array,
): Failure => {
  const called =
    error?.command === undefined ? undefined : calledFunctions(bytes)[Number(error.command)];
  const details = error?.errorDetails;
  const abort =
    details?.oneofKind === 'abort'
      ? {
          module: details.abort.location?.module ?? '',
          fn: details.abort.location?.functionName ?? '',
          code: Number(details.abort.abortCode ?? 0n),
        }
      : undefined;
  const text = error?.description ?? 'the transaction failed without a reason';
  return { code: codeOf(error, abort, called), text, ...(abort === undefined ? {} : { abort }) };
};

const ADVICE: Partial<Record<ErrorCode, string>> = {
  conflicting_head:
    'another writer has moved the head of this volume; nothing of theirs was overwritten, mount the volume in one place only',
  price_changed: 'the price rose above the quote and its margin; nothing was paid but gas',
  stale_package: 'the Walrus package was upgraded meanwhile',
  epoch_changed: 'the epoch of Walrus changed meanwhile',
};

/** A failure as an error. */
export const failureError = (failure: Failure): TuskError => {
  const advice = ADVICE[failure.code];
  return new TuskError(
    failure.code,
    `the chain refuses the transaction${advice === undefined ? '' : `: ${advice}`} (${failure.text})`,
  );
};
