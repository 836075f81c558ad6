/**
 * The one error class of the project. `code` says what happened, `kind` what to do about it:
 * retry logic reads `kind` only; the exit code of the command line follows from `code` or `kind`.
 * Expected POSIX outcomes on the hot path are returned as negative errno, never thrown.
 */

/** What to do about an error. */
export type ErrorKind = 'transient' | 'permanent' | 'corrupt' | 'budget' | 'bug';

/** What happened; each code has one usual kind. */
const KIND_OF = {
  usage: 'permanent',
  not_found: 'permanent',
  already_exists: 'permanent',
  busy: 'permanent',
  damaged: 'corrupt',
  newer_format: 'permanent',
  wrong_passphrase: 'permanent',
  wrong_key: 'permanent',
  no_fuse: 'permanent',
  mount_failed: 'permanent',
  disk_full: 'transient',
  io: 'transient',
  pending: 'transient',
  timeout: 'transient',
  aborted: 'transient',
  network: 'transient',
  node_refused: 'transient',
  too_few_shards: 'transient',
  blocked: 'transient',
  epoch_changed: 'transient',
  stale_package: 'transient',
  price_changed: 'transient',
  tx_failed: 'permanent',
  tx_expired: 'transient',
  object_locked: 'transient',
  conflicting_head: 'permanent',
  unfunded: 'budget',
  over_budget: 'budget',
  expired: 'permanent',
  unverified: 'corrupt',
  identity_mismatch: 'permanent',
  unsupported: 'permanent',
  internal: 'bug',
} as const satisfies Record<string, ErrorKind>;

/** What happened, as one word of a closed list. */
export type ErrorCode = keyof typeof KIND_OF;

/** Facts that go with an error: path, blob, node … */
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean | undefined>>;

/** An error with a code, a kind, a message for people, and facts for the log. */
export class TuskError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly details: ErrorDetails;

  /** `message`: what happened, to which path or blob, what is safe, what to do. */
  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; kind?: ErrorKind; details?: ErrorDetails } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.kind = options.kind ?? KIND_OF[code];
    this.details = options.details ?? {};
  }
}

/** True if the same call may succeed later. */
export const isTransient = (error: unknown): boolean =>
  error instanceof TuskError && error.kind === 'transient';

/** Text of whatever was thrown; fetch keeps its reason in the cause. */
export const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.message === 'fetch failed' && error.cause instanceof Error
    ? messageOf(error.cause)
    : error.message;
};

/** `code` of a Node.js system error (`ENOENT` …), if it is one. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;

/** A disk or a quota that is full, as Node.js or SQLite says. */
export const isDiskFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'SQLITE_FULL'].includes(systemCode(error) ?? '');

/** A mount that nobody serves any more: so the kernel says, or ECONNABORTED to who was just asking. */
export const isDeadMount = (error: unknown): boolean =>
  ['ENOTCONN', 'ECONNABORTED'].includes(systemCode(error) ?? '');
