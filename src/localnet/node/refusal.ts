/**
 * How a storage node says no: the official JSON error with HTTP status, machine-readable reason and
 * domain. Status words and reasons are those of Walrus' node API.
 */
import { TuskError } from '../../base/errors.ts';

const HTTP_OF_STATUS = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  NOT_FOUND: 404,
  SIZE_EXCEEDED: 413,
  INTERNAL: 500,
  UNAVAILABLE: 503,
} as const;

type Status = keyof typeof HTTP_OF_STATUS;

const REASONS = {
  NOT_REGISTERED: 'FAILED_PRECONDITION',
  INVALID_METADATA: 'INVALID_ARGUMENT',
  UNSUPPORTED_ENCODING_TYPE: 'INVALID_ARGUMENT',
  INDEX_OUT_OF_RANGE: 'INVALID_ARGUMENT',
  SLIVER_INDEX_MISMATCH: 'INVALID_ARGUMENT',
  INVALID_SLIVER: 'INVALID_ARGUMENT',
  INVALID_PROOF: 'INVALID_ARGUMENT',
  INVALID_CONTENT_TYPE: 'INVALID_ARGUMENT',
  INVALID_FILTER: 'INVALID_ARGUMENT',
  RECOVERY_SYMBOL_OUT_OF_RANGE: 'INVALID_ARGUMENT',
  SHARD_NOT_ASSIGNED: 'FAILED_PRECONDITION',
  MISSING_SLIVERS: 'FAILED_PRECONDITION',
  NO_SYMBOLS_SPECIFIED: 'FAILED_PRECONDITION',
  NO_TARGET_SLIVERS_SPECIFIED: 'FAILED_PRECONDITION',
  SYMBOL_NOT_PRESENT_AT_SHARDS: 'FAILED_PRECONDITION',
  MISSING_METADATA: 'FAILED_PRECONDITION',
  METADATA_NOT_FOUND: 'NOT_FOUND',
  SLIVER_NOT_FOUND: 'NOT_FOUND',
  ENDPOINT_NOT_FOUND: 'NOT_FOUND',
  BODY_TOO_LARGE: 'SIZE_EXCEEDED',
  UNAVAILABLE: 'UNAVAILABLE',
  INTERNAL_ERROR: 'INTERNAL',
} as const satisfies Record<string, Status>;

/** Why a node refuses. */
export type Reason = keyof typeof REASONS;

/** A refusal on its way to becoming an HTTP answer. */
export class Refusal extends TuskError {
  readonly reason: Reason;
  readonly httpStatus: number;

  constructor(reason: Reason, message: string) {
    super('node_refused', message);
    this.reason = reason;
    this.httpStatus = HTTP_OF_STATUS[REASONS[reason]];
  }

  /** The JSON body. */
  toJson(): unknown {
    const global = this.reason === 'INTERNAL_ERROR' || this.reason === 'UNAVAILABLE';
    return {
      error: {
        status: REASONS[this.reason],
        code: this.httpStatus,
        message: this.message,
        details: [
          {
            '@type': 'ErrorInfo',
            // On PUT of a sliver the official node gives missing metadata the same reason, as a 400.
            reason: this.reason === 'MISSING_METADATA' ? 'METADATA_NOT_FOUND' : this.reason,
            domain: global ? 'global' : 'storage.walrus.space',
            metadata: {},
          },
        ],
      },
    };
  }
}
