/**
 * Two ways to fail: a `Rejection` (the ledger refuses the request, nothing happened, a gRPC
 * status says why) and an `ExecutionFailure` (the transaction is final, gas is charged, the
 * effects carry the error).
 */
import { GrpcTypes } from '@mysten/sui/grpc';
import { type ErrorCode, TuskError } from '../../base/errors.ts';

/** gRPC status codes that the ledger answers. */
export const GRPC = {
  invalidArgument: 3,
  notFound: 5,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

const CODE: Record<number, ErrorCode> = {
  [GRPC.notFound]: 'not_found',
  [GRPC.failedPrecondition]: 'object_locked',
  [GRPC.unimplemented]: 'unsupported',
  [GRPC.internal]: 'internal',
  [GRPC.unavailable]: 'network',
};

/** A request refused before anything was executed. */
export class Rejection extends TuskError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(CODE[status] ?? 'usage', message);
    this.status = status;
  }
}

/** Refuses a malformed or unacceptable request. */
export const invalid = (message: string): Rejection => new Rejection(GRPC.invalidArgument, message);

const Kind = GrpcTypes.ExecutionError_ExecutionErrorKind;
/** Kinds of execution errors, as Sui's protocol names them. */
type FailureKind = keyof typeof Kind;
type Details = GrpcTypes.ExecutionError['errorDetails'];

/** A failure while a transaction executes. */
export class ExecutionFailure extends TuskError {
  readonly failure: FailureKind;
  readonly failureDetails: Details;
  /** Index of the command that failed; set by the interpreter. */
  command: number | undefined;

  constructor(failure: FailureKind, message: string, details: Details = { oneofKind: undefined }) {
    super('tx_failed', message);
    this.failure = failure;
    this.failureDetails = details;
  }

  /** The error as the effects carry it. */
  toProto(): GrpcTypes.ExecutionError {
    const where = this.command === undefined ? '' : ` in command ${this.command}`;
    return {
      description: `${this.message}${where}`,
      kind: Kind[this.failure],
      ...(this.command === undefined ? {} : { command: BigInt(this.command) }),
      errorDetails: this.failureDetails,
    };
  }
}

/** An abort of a Move function. `name` is the constant of the contract, for people. */
export const abort = (
  packageId: string,
  module: string,
  functionName: string,
  code: number,
  name: string,
): ExecutionFailure =>
  new ExecutionFailure(
    'MOVE_ABORT',
    `Move abort in ${packageId}::${module}::${functionName}: code ${code} (${name})`,
    {
      oneofKind: 'abort',
      abort: { abortCode: BigInt(code), location: { package: packageId, module, functionName } },
    },
  );

const ArgumentKind = GrpcTypes.CommandArgumentError_CommandArgumentErrorKind;

/** A command's argument that does not fit. */
export const argumentError = (
  argument: number,
  kind: keyof typeof ArgumentKind,
  message: string,
): ExecutionFailure =>
  new ExecutionFailure('COMMAND_ARGUMENT_ERROR', `argument ${argument}: ${kind}: ${message}`, {
    oneofKind: 'commandArgumentError',
    commandArgumentError: { argument, kind: ArgumentKind[kind] },
  });
