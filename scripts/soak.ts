/**
 * `npm run soak [-- --minutes N]`: long runs with faults. The time (12 hours unless told otherwise)
 * is divided among the parts; each runs again and again, with new seeds, until its share is over,
 * and at least once. One line a part, the output of what failed (seeds are in it), and the counts.
 */
import { parseArgs } from 'node:util';
import { add, countTests, finish, type Outcome, runCommand, type Step } from './steps.ts';

interface Part extends Step {
  /** Part of the time. */
  share: number;
}

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '720' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes} is no time`);

/** A run that takes longer than this beyond its part's time hangs. */
const RUN_LIMIT_MS = 3_600_000;

const tests = (project: string, ...files: string[]): string[] => [
  ...['vitest', 'run', '--project', project],
  ...files.map(file => `test/${file}.test.ts`),
];

const parts: Part[] = [
  { name: 'fsx, flushed and evicted', share: 0.15, command: tests('drive', 'drive/fsx') },
  { name: 'a drive’s life', share: 0.1, command: tests('drive', 'drive/week') },
  { name: 'power cuts', share: 0.1, command: tests('crash', 'crash/power') },
  { name: 'a full disk', share: 0.1, command: tests('crash', 'crash/full') },
  { name: 'kills', share: 0.15, command: tests('crash', 'crash/kill', 'crash/flush') },
  { name: 'programs', share: 0.1, command: tests('soak', 'soak/programs') },
  { name: 'nodes that misbehave', share: 0.05, command: tests('net', 'net/misbehaviour') },
  {
    name: 'fio, dbench, stress-ng',
    share: 0.1,
    command: tests('mount', 'mount/load', 'mount/vfs'),
  },
  { name: 'fuzz targets of the codec', share: 0.1, command: ['node', 'scripts/fuzz.ts'] },
  {
    name: 'memory and descriptors',
    share: 0.05,
    command: tests('soak', 'soak/growth', 'soak/flush-memory'),
  },
];

/** Runs a part until its time is over. */
const runPart = async (part: Part): Promise<Outcome> => {
  const total: Outcome = { passed: 0, failed: 0 };
  const start = performance.now();
  const limitMs = minutes * 60_000 * part.share;
  let failures = '';
  let runs = 0;
  do {
    const seed = `${Date.now() % 100_000}`;
    const env = { TUSK_SEED: seed, TUSK_MINUTES: `${minutes * part.share}` };
    const { status, output } = await runCommand({ ...part, env }, limitMs + RUN_LIMIT_MS);
    const counts = countTests(output) ?? { passed: status === 0 ? 1 : 0, failed: 0 };
    total.passed += counts.passed;
    total.failed += status === 0 ? 0 : Math.max(1, counts.failed);
    if (status !== 0)
      failures += `TUSK_SEED=${seed} ${part.command.join(' ')}\n${output.slice(-20_000)}\n`;
    runs++;
  } while (performance.now() - start < limitMs);
  const took = ((performance.now() - start) / 60_000).toFixed(1);
  const verdict = total.failed === 0 ? 'ok' : 'FAILED';
  console.log(
    `${verdict.padEnd(6)} ${part.name} (${runs} runs, ${total.passed} passed, ${total.failed} failed, ${took} min)`,
  );
  if (failures !== '') console.log(failures);
  return total;
};

const outcomes: Outcome[] = [];
for (const part of parts) outcomes.push(await runPart(part));
finish(add(...outcomes));
