/** The program that makes the calls of the mount benches: `native/bench`. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** This checkout. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A row that takes longer than this has failed. */
export const ROW_TIMEOUT_MS = 180_000;

/** What one run of a row took. */
export interface Run {
  readonly operations: number;
  readonly bytes: number;
  readonly seconds: number;
  /** The 99th percentile of a call, where calls are timed one by one; else 0. */
  readonly p99Seconds: number;
  /** Until all that was written was durable. */
  readonly localSeconds: number;
}

/** Builds the program; runs one of its rows below a directory. */
export const buildClient = async (): Promise<
  (row: string, directory: string, count: number, options: readonly string[]) => Promise<Run>
> => {
  const cwd = join(ROOT, 'native');
  await run('cargo', ['build', '--release', '--locked', '--quiet', '-p', 'tuskfs-bench'], { cwd });
  const target = process.env.CARGO_TARGET_DIR ?? join(cwd, 'target');
  const program = join(target, 'release', 'tuskfs-bench');
  return async (row, directory, count, options) => {
    const args = [row, directory, String(count), ...options];
    const { stdout } = await run(program, args, { timeout: ROW_TIMEOUT_MS });
    return JSON.parse(stdout) as Run;
  };
};

/** Megabytes or operations a second. */
export const rateOf = (unit: string, { operations, bytes, seconds }: Run): number =>
  unit === 'MB/s' ? bytes / 1e6 / seconds : operations / seconds;
