/**
 * The same random system calls on a mount and on a directory of the local disk, and what is done
 * to the mount between them. `posix-ops.py` makes the calls, one process a side.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect } from 'vitest';

/** One call; further fields are its arguments (posix-ops.py). */
export interface Call {
  readonly op: string;
  readonly [argument: string]: unknown;
}

/** A call, or the name of something that happens to the mount. */
export type Step = Call | { readonly event: string };

const program = fileURLToPath(new URL('./posix-ops.py', import.meta.url));
const ANSWER_MS = 60_000;
const NOBODY = 65_534;

/** Calls on one directory. */
class Side {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(directory: string) {
    this.#child = spawn('python3', [program, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! });
  }

  async run(calls: readonly Call[]): Promise<unknown[]> {
    const answer = once(this.#lines, 'line', { signal: AbortSignal.timeout(ANSWER_MS) });
    this.#child.stdin!.write(`${JSON.stringify(calls)}\n`);
    return JSON.parse((await answer)[0] as string) as unknown[];
  }

  async end(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}

const NAMES = ['a', 'b', 'c', 'd', '\xff\xfe', 'n'.repeat(255), 'n'.repeat(256)] as const;
const name = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom('a', 'b', 'c') },
  { weight: 1, arbitrary: fc.constantFrom(...NAMES) },
);
const path = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('a/a', 'a/b', 'a/c', 'b', 'b/a', 'b/b', 'c') },
  {
    weight: 3,
    arbitrary: fc
      .array(name, { minLength: 1, maxLength: 3, size: 'max' })
      .map(names => names.join('/')),
  },
);
const mode = fc.constantFrom(0o644, 0o600, 0o755, 0o777, 0o4755, 0o2775, 0o1777, 0o000, 0o070);
const offset = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4096, 8192, 65_536));
const length = fc.oneof(fc.nat(9000), fc.constantFrom(0, 1, 4096, 8192));
const id = fc.constantFrom(0, NOBODY, NOBODY, -1);
const xattr = fc.constantFrom('user.a', 'user.b', 'trusted.t', 'security.s', 'other.x', 'user.');
const asWho = fc.constantFrom(0, 0, 0, NOBODY);

const call = (op: string, fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Call> =>
  fc.record({ op: fc.constant(op), as: asWho, path, ...fields }) as fc.Arbitrary<Call>;

/** Flags of fallocate: whole, keeping the size, a hole, zeroes, and two that are refused. */
const how = fc.constantFrom(0, 1, 3, 0x10, 0x11, 2, 0x40);
const opening = fc.constantFrom(
  ...['RDWR|CREAT', 'RDWR|CREAT|EXCL', 'WRONLY|CREAT|TRUNC', 'RDONLY', 'RDONLY|DIRECTORY'],
  ...['RDWR|NOFOLLOW', 'WRONLY|CREAT|NOFOLLOW', 'RDONLY|TRUNC'],
);
const writing = fc.constantFrom(
  'WRONLY',
  'WRONLY|APPEND',
  'RDWR|CREAT',
  'WRONLY|TRUNC',
  'WRONLY|SYNC',
);
const byte = fc.integer({ min: 1, max: 255 });

const CALLS: Record<string, fc.Arbitrary<Call>> = {
  make: call('make', { flags: opening, mode }),
  write: call('write', { flags: writing, offset, length, byte }),
  read: call('read', { offset, length }),
  mkdir: call('mkdir', { mode }),
  mkfifo: call('mkfifo', { mode }),
  rmdir: call('rmdir', {}),
  unlink: call('unlink', {}),
  symlink: call('symlink', { to: path }),
  readlink: call('readlink', {}),
  link: call('link', { to: path }),
  rename: call('rename', { to: path, how: fc.constantFrom(0, 0, 0, 1, 2, 2, 3) }),
  truncate: call('truncate', { offset }),
  fallocate: call('fallocate', { how, offset, length }),
  copy: call('copy', { to: path, offset, toOffset: offset, length }),
  map: call('map', { offset, length, byte }),
  tmpfile: call('tmpfile', {
    path: fc.constantFrom('.', 'a', 'b'),
    to: fc.oneof(path, fc.constantFrom('t', 'a/t', 'b/t')),
    flags: fc.constantFrom('RDWR', 'EXCL'),
    mode,
    byte,
    length,
  }),
  seek: call('seek', {}),
  chmod: call('chmod', { mode }),
  chown: call('chown', { uid: id, gid: id }),
  utime: call('utime', {
    atime: fc.integer({ min: 0, max: 2 ** 50 }),
    mtime: fc.integer({ min: 0, max: 2 ** 50 }),
  }),
  setxattr: call('setxattr', { name: xattr, length: fc.nat(200), how: fc.nat(2) }),
  removexattr: call('removexattr', { name: xattr }),
  access: call('access', { how: fc.nat(7) }),
  list: call('list', {}),
  hold: call('hold', {}),
  use: call('use', { which: fc.nat(5), offset, length, byte }),
};
const MAKING = ['make', 'mkdir', 'write', 'make', 'mkdir', 'write', 'rename'] as const;

const root = (op: string, path: string, fields: Record<string, unknown> = {}): Call => ({
  ...{ op, as: 0, path, mode: 0o777, offset: 0, length: 9000, byte: 7, flags: 'RDWR|CREAT' },
  ...fields,
});
/** What there is to begin with. */
const FIRST: readonly Call[] = [
  ...[root('mkdir', 'a'), root('mkdir', 'a/a'), root('mkdir', 'b'), root('write', 'c')],
  ...[root('write', 'a/b'), root('write', 'b/a', { length: 100_000 })],
  ...[root('link', 'c', { to: 'b/b' }), root('symlink', 'a/c', { to: '../b/a' })],
];

const anyCall = fc.oneof(
  { weight: 40, arbitrary: fc.oneof(...MAKING.map(op => CALLS[op]!)) },
  { weight: 60, arbitrary: fc.oneof(...Object.values(CALLS)) },
);

/** So many random calls, behind those that make what there is to begin with. */
export const randomCalls = (seed: number, count: number): Call[] => [
  ...FIRST,
  ...fc.sample(anyCall, { seed, numRuns: count }),
];

/** Calls, with events among them. */
const steps = (events: readonly string[], maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 100, arbitrary: anyCall },
      { weight: 1, arbitrary: fc.constantFrom(...events).map(event => ({ event })) },
    ),
    { minLength: maxLength / 2, maxLength, size: 'max' },
  );

/** A directory of the mount and one of the local disk, which are to answer alike. */
export class Pair {
  readonly #sides: readonly [Side, Side];
  readonly #directories: readonly string[];

  constructor(mount: string, local: string) {
    this.#directories = [mount, local];
    this.#sides = [new Side(mount), new Side(local)];
  }

  /** Makes the calls on both; throws where the answers differ. */
  async run(calls: readonly Call[]): Promise<void> {
    const [here, there] = await Promise.all(this.#sides.map(side => side.run(calls)));
    calls.forEach((call, i) => {
      expect({ call, answer: here![i] }).toEqual({ call, answer: there![i] });
    });
  }

  /** Closes what is open on both, and compares the trees. */
  compare(): Promise<void> {
    return this.run([{ op: 'release' }, { op: 'dump' }]);
  }

  /** Ends what makes the calls. */
  async end(): Promise<void> {
    await Promise.all(this.#sides.map(side => side.end()));
  }

  /** `end`, and both directories are removed. */
  async remove(): Promise<void> {
    await this.end();
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }
}

/** Does `plan` on both; an event gets no open files, and the trees are compared after each. */
const compare = async (
  pair: Pair,
  plan: readonly Step[],
  events: Readonly<Record<string, () => Promise<unknown>>>,
): Promise<void> => {
  let calls: Call[] = [...FIRST];
  for (const step of plan) {
    if ('op' in step) {
      calls.push(step);
      continue;
    }
    await pair.run([...calls, { op: 'release' }]);
    calls = [];
    await events[step.event]!();
    await pair.compare();
  }
  await pair.run(calls);
  await pair.compare();
};

/** What is compared. */
export interface Comparison {
  readonly runs: number;
  readonly stepsMax: number;
  /** No run begins later than this, unless a seed was given. */
  readonly budgetMs: number;
  /** Things that may happen to the mount between calls. */
  readonly events: Readonly<Record<string, () => Promise<unknown>>>;
  /** The two directories of a run, empty, open to everybody. */
  readonly directories: (run: number) => readonly [mount: string, local: string];
  /** The command that runs it again. */
  readonly again: string;
}

/** Random plans (`TUSK_SEED` gives the same again), each in directories of its own; how many were done. */
export const compareBeside = async (wanted: Comparison): Promise<number> => {
  const given = process.env.TUSK_SEED;
  const seed = Number(given ?? Date.now() % 1_000_000);
  const end = given === undefined ? performance.now() + wanted.budgetMs : Number.POSITIVE_INFINITY;
  let run = 0;
  const plans = steps(Object.keys(wanted.events), wanted.stepsMax);
  const property = fc.asyncProperty(plans, async plan => {
    if (performance.now() > end) return;
    const [mount, local] = wanted.directories(++run);
    const pair = new Pair(mount, local);
    try {
      await compare(pair, plan, wanted.events);
    } finally {
      await pair.remove();
    }
  });
  try {
    // Smaller counterexamples take minutes: they are looked for when a seed is run again.
    const endOnFailure = given === undefined;
    await fc.assert(property, { seed, numRuns: wanted.runs, endOnFailure });
  } catch (error) {
    console.log(`TUSK_SEED=${seed} ${wanted.again}`);
    throw error;
  }
  return run;
};
