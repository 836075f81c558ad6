/**
 * What all commands share: exit codes, output and errors. Data goes to stdout, prose to stderr;
 * with `--json` stdout is one JSON value and nothing else.
 */
import { explained } from '../base/addon.ts';
import { type ErrorCode, TuskError } from '../base/errors.ts';

/** Exit codes of the command line. */
export const Exit = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  pending: 4,
  temporary: 5,
  corrupt: 6,
  unfunded: 7,
  expiring: 8,
  wrongPassphrase: 12,
} as const;

const EXIT_OF_CODE: Partial<Record<ErrorCode, number>> = {
  usage: Exit.usage,
  not_found: Exit.notFound,
  pending: Exit.pending,
  wrong_passphrase: Exit.wrongPassphrase,
};

const EXIT_OF_KIND = {
  transient: Exit.temporary,
  permanent: Exit.failed,
  corrupt: Exit.corrupt,
  budget: Exit.unfunded,
  bug: Exit.failed,
} as const;

/** The exit code of an error. */
export const exitCodeOf = (error: unknown): number =>
  error instanceof TuskError ? (EXIT_OF_CODE[error.code] ?? EXIT_OF_KIND[error.kind]) : Exit.failed;

/** A line of prose for the person, on stderr. */
export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** JSON with money as decimal strings. */
export const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v.toString() : v), 2);

/** Data on stdout: as JSON, or as lines of text. */
export const print = (json: boolean, value: unknown, text: () => string): void => {
  process.stdout.write(`${json ? toJson(value) : text()}\n`);
};

/** Says what went wrong and leaves with the right exit code. */
export const fail = (error: unknown): never => {
  say(`tuskfs: ${explained(error)}`);
  if (process.env.TUSKFS_DEBUG !== undefined && error instanceof Error) say(error.stack ?? '');
  process.exit(exitCodeOf(error));
};
