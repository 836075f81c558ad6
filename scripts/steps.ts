/**
 * Runs checks, prints one line each, and counts: a step that runs a test runner counts that
 * runner's tests, any other step counts as one.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A command to run in the project's directory. */
export interface Step {
  name: string;
  command: string[];
  cwd?: string;
  env?: Record<string, string>;
}

/** What came of the steps. */
export interface Outcome {
  passed: number;
  failed: number;
}

const top = fileURLToPath(new URL('..', import.meta.url));

/** A step that takes longer hangs; it is ended with everything it started. */
const STEP_LIMIT_MS = 30 * 60_000;

/** Runs a step to its end; what it printed. */
export const runCommand = (
  step: Step,
  limitMs = STEP_LIMIT_MS,
): Promise<{ status: number; output: string }> =>
  new Promise(resolve => {
    const child = spawn(step.command[0]!, step.command.slice(1), {
      cwd: step.cwd === undefined ? top : `${top}/${step.cwd}`,
      env: { ...process.env, ...step.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const chunks: Buffer[] = [];
    const limit = setTimeout(() => {
      chunks.push(Buffer.from(`\nended: not done within ${limitMs / 60_000} minutes\n`));
      process.kill(-child.pid!, 'SIGKILL');
    }, limitMs);
    child.stdout.on('data', chunk => chunks.push(chunk));
    child.stderr.on('data', chunk => chunks.push(chunk));
    child.on('error', error => resolve({ status: 127, output: error.message }));
    child.on('close', status => {
      clearTimeout(limit);
      resolve({ status: status ?? 1, output: Buffer.concat(chunks).toString('utf8') });
    });
  });

const sum = (text: string, pattern: RegExp): number =>
  [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);

/** Counts of the closing lines of vitest (`Tests  3 failed | 5 passed`), cargo test (`test result: … 5 passed; 0 failed`) and pjdfstest (`Summary: 0 failed, 1 skipped, 5 passed`). */
export const countTests = (output: string): Outcome | undefined => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  const plain = output.replace(/\x1b\[[0-9;]*m/g, '');
  const closing = plain
    .split('\n')
    .filter(line => /^(\s*Tests\s|test result:|Summary: \d)/.test(line))
    .join('\n');
  if (closing === '') return undefined;
  return { passed: sum(closing, /(\d+) passed/g), failed: sum(closing, /(\d+) failed/g) };
};

/** Runs a step and says what came of it, with the end of its output if it failed. */
const runStep = async (step: Step): Promise<Outcome> => {
  const start = performance.now();
  const { status, output } = await runCommand(step);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const tests = countTests(output) ?? { passed: status === 0 ? 1 : 0, failed: 0 };
  if (status !== 0 && tests.failed === 0) tests.failed = 1;
  const verdict = status === 0 ? 'ok' : 'FAILED';
  console.log(
    `${verdict.padEnd(6)} ${step.name} (${tests.passed} passed, ${tests.failed} failed, ${seconds} s)`,
  );
  if (status !== 0) console.log(output.split('\n').slice(-200).join('\n'));
  return tests;
};

/** Sum of outcomes. */
export const add = (...outcomes: Outcome[]): Outcome => ({
  passed: outcomes.reduce((total, { passed }) => total + passed, 0),
  failed: outcomes.reduce((total, { failed }) => total + failed, 0),
});

/** Runs all steps in this order, also after a failed one; those of a group at the same time. */
export const runSteps = async (steps: (Step | Step[])[]): Promise<Outcome> => {
  const outcomes: Outcome[] = [];
  for (const group of steps) outcomes.push(...(await Promise.all([group].flat().map(runStep))));
  return add(...outcomes);
};

/** Prints the closing line and ends the process. */
export const finish = (outcome: Outcome): never => {
  console.log(`${outcome.passed} passed, ${outcome.failed} failed`);
  process.exit(outcome.failed === 0 ? 0 : 1);
};

/** What takes seconds. */
export const quickSteps: Step[] = [
  { name: 'types', command: ['tsc', '--noEmit'] },
  { name: 'lint and format', command: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'import table', command: ['depcruise', '--config', '.dependency-cruiser.cjs', 'src'] },
  { name: 'Rust format', command: ['cargo', 'fmt', '--check'], cwd: 'native' },
];

/** Our Rust, compiled once more to be checked and tested. */
export const rustSteps: Step[] = [
  {
    name: 'clippy',
    command: [
      'cargo',
      'clippy',
      '--release',
      '--locked',
      '--quiet',
      '--all-targets',
      '--',
      '-D',
      'warnings',
    ],
    cwd: 'native',
  },
  {
    name: 'Rust tests',
    command: ['cargo', 'test', '--release', '--locked', '--quiet'],
    cwd: 'native',
  },
];

/** The addon, and our TypeScript on it. */
export const unitSteps: Step[] = [
  { name: 'addon', command: ['node', 'scripts/native.ts'] },
  { name: 'unit tests', command: ['vitest', 'run', '--project', 'unit', '--maxWorkers=2'] },
];
