/**
 * `npm run fuzz [-- --seconds N] [TARGET…]`: builds the targets of native/fuzz with libFuzzer's
 * coverage counters and runs each for 10 seconds (in `npm run soak`, for its share of the time), one
 * a processor. Inputs that reached something new are kept for the next run; one that fails is kept
 * in a file that is named, and the exit status is 1.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TARGETS = ['metadata', 'sliver', 'proof', 'certificate', 'decode', 'frame'];

/** What libFuzzer needs: a counter an edge, their places, and the operands of comparisons. */
const COVERAGE = [
  '-Cpasses=sancov-module',
  ...['level=4', 'inline-8bit-counters', 'pc-table', 'trace-compares'].map(
    option => `-Cllvm-args=-sanitizer-coverage-${option}`,
  ),
].join(' ');

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string' } },
  allowPositionals: true,
});
const targets = positionals.length > 0 ? positionals : TARGETS;
const workers = availableParallelism();
const minutes = process.env.TUSK_MINUTES;
const share = minutes === undefined ? 10 : (Number(minutes) * 60 * workers) / targets.length;
const seconds = Math.ceil(Number(values.seconds ?? share));
if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds} is no time`);

const fuzz = fileURLToPath(new URL('../native/fuzz/', import.meta.url));
const built = process.env.CARGO_TARGET_DIR ?? `${fuzz}target`;
// With a target named, build scripts are not instrumented.
const host = spawnSync('rustc', ['--print', 'host-tuple'], { encoding: 'utf8' }).stdout.trim();
const build = spawnSync(
  'cargo',
  ['build', '--release', '--locked', '--quiet', '--target', host, '--target-dir', built],
  { cwd: fuzz, stdio: 'inherit', env: { ...process.env, RUSTFLAGS: COVERAGE } },
);
if (build.status !== 0) process.exit(build.status ?? 1);

/** Runs one target to its end; false if an input failed. */
const run = (target: string): Promise<boolean> =>
  new Promise(resolve => {
    const corpus = `${built}/corpus/${target}`;
    mkdirSync(corpus, { recursive: true });
    const failing = `${built}/failing-${target}-`;
    const child = spawn(
      `${built}/${host}/release/${target}`,
      [
        `-max_total_time=${seconds}`,
        ...['-max_len=4096', '-len_control=0', '-timeout=30', '-rss_limit_mb=1024'],
        ...[`-artifact_prefix=${failing}`, '-print_final_stats=1', corpus],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, RUST_BACKTRACE: '1' } },
    );
    let output = '';
    child.stderr.on('data', chunk => {
      output = (output + chunk).slice(-100_000);
    });
    child.on('error', error => {
      output += error.message;
      resolve(false);
    });
    child.on('close', status => {
      const runs = /number_of_executed_units: (\d+)/.exec(output)?.[1] ?? '0';
      const edges = [...output.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? '0';
      const verdict = status === 0 ? 'ok' : 'FAILED';
      console.log(`${verdict.padEnd(6)} ${target}: ${runs} inputs, ${edges} edges`);
      if (status !== 0) console.log(output.slice(-8000));
      resolve(status === 0);
    });
  });

const waiting = [...targets];
let failed = 0;
const work = async (): Promise<void> => {
  for (let target = waiting.shift(); target !== undefined; target = waiting.shift())
    if (!(await run(target))) failed++;
};
await Promise.all(Array.from({ length: workers }, work));
process.exit(failed === 0 ? 0 : 1);
