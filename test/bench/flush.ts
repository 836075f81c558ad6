/**
 * The flush bench: the rows of the mount bench on a mounted volume, at rest and while it flushes at
 * full speed to a localnet (which runs at nice 19, as it would be other machines). Before each row
 * under flush, so much is staged that the flush outlasts the row; a row in which it ended does not
 * count. The peer is the same mount at rest.
 */
import { mkdir } from 'node:fs/promises';
import { getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { Sandbox, until } from '../support/sandbox.ts';
import { buildClient, type Run, rateOf } from './client.ts';
import { chosen, type RowPlan } from './plan.ts';
import { type BenchRow, median } from './rows.ts';
import { cpuSeconds, memoryMb } from './usage.ts';

const VOLUME = 'flushed';
const NICE = 19;
/** Staged before a row, in files of their own: several packs. */
const STAGED_MIB = 256;
/** Tries of rows that the flush did not outlast. */
const TRIES = 3;
/** Rows are smaller than those of the mount bench: the flush must outlast them. */
const SMALLER = 4;

/** Runs the rows `rounds` times at rest and under flush. */
export const benchFlush = async (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
): Promise<BenchRow[]> => {
  const plan = chosen(only).filter(({ program }) => program === undefined);
  const client = await buildClient();
  const sandbox = new Sandbox('bench');
  try {
    const own = getPriority();
    setPriority(NICE);
    await sandbox.startLocalnet();
    setPriority(own);
    await sandbox.create(VOLUME);
    const mount = await sandbox.mount(VOLUME);
    const bench = new FlushBench(sandbox, mount, client);
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}\n`);
      await sandbox.sync(VOLUME);
      await bench.rows(plan, false, `rest-${round}`);
      let left = await bench.rows(plan, true, `flush-${round}`);
      // A row changes what it works on: whoever runs again does so from the beginning.
      for (let tries = 1; left.length > 0 && tries < TRIES; tries++)
        left = await bench.rows(chosen(left), true, `flush-${round}-${tries}`);
      for (const row of left) progress(`${row}: the flush never lasted as long\n`);
    }
    const peak = memoryMb(await sandbox.pid(VOLUME), 'VmHWM');
    return [
      ...bench.result(plan, only),
      { bench: 'flush', row: 'memory', unit: 'MB', tuskfs: peak, peers: {} },
    ];
  } finally {
    await sandbox.close();
  }
};

interface Figures {
  readonly rest: number[];
  readonly flush: number[];
}

class FlushBench {
  readonly #sandbox: Sandbox;
  readonly #mount: string;
  readonly #client: Awaited<ReturnType<typeof buildClient>>;
  readonly #rates = new Map<string, Figures>();
  /** Milliseconds; from the row `stat`. */
  readonly #p99: Figures = { rest: [], flush: [] };
  /** Processor time of the nodes while rows ran under flush, in percent of one processor. */
  readonly #nodes: number[] = [];

  constructor(sandbox: Sandbox, mount: string, client: Awaited<ReturnType<typeof buildClient>>) {
    this.#sandbox = sandbox;
    this.#mount = mount;
    this.#client = client;
  }

  /** The rows, once, in a directory of their own; returns those that the flush did not outlast. */
  async rows(plan: readonly RowPlan[], underFlush: boolean, name: string): Promise<string[]> {
    const left: string[] = [];
    const directory = join(this.#mount, name);
    await mkdir(directory);
    for (const { row, unit, count } of plan) {
      const work = () =>
        this.#client(row, directory, Math.ceil(count / SMALLER), ['--mount', this.#mount]);
      const run = underFlush ? await this.#underFlush(work) : await work();
      if (run === undefined) {
        left.push(row);
        continue;
      }
      const key = underFlush ? 'flush' : 'rest';
      let figures = this.#rates.get(row);
      if (figures === undefined) this.#rates.set(row, (figures = { rest: [], flush: [] }));
      figures[key].push(rateOf(unit, run));
      if (run.p99Seconds > 0) this.#p99[key].push(run.p99Seconds * 1000);
    }
    return left;
  }

  result(plan: readonly RowPlan[], only: readonly string[]): BenchRow[] {
    const rows: BenchRow[] = [];
    const add = (row: string, unit: string, { rest, flush }: Figures): void => {
      if (rest.length === 0 || flush.length === 0) return;
      const peers = { rest: median(rest) };
      rows.push({ bench: 'flush', row, unit, tuskfs: median(flush), peers });
    };
    for (const { row, unit } of plan)
      if (only.length === 0 || only.includes(row)) add(row, unit, this.#rates.get(row)!);
    add('stat-p99', 'ms', this.#p99);
    if (this.#nodes.length > 0)
      rows.push({
        ...{ bench: 'flush', row: 'nodes-cpu', unit: '%', peers: {} },
        tuskfs: median(this.#nodes),
      });
    return rows;
  }

  /** The row while a flush runs from its beginning to its end; undefined if it did not last that long. */
  async #underFlush(work: () => Promise<Run>): Promise<Run | undefined> {
    const { pid } = await this.#sandbox.localnet();
    await this.#stage();
    await until('a flush runs', () => this.#isFlushing(), 60_000);
    const [before, start] = [cpuSeconds(pid), performance.now()];
    const run = await work();
    const seconds = (performance.now() - start) / 1000;
    if (!(await this.#isFlushing())) return undefined;
    this.#nodes.push(((cpuSeconds(pid) - before) / seconds) * 100);
    return run;
  }

  /** Stages random bytes until there are enough. */
  async #stage(): Promise<void> {
    const { received, local } = (await this.#sandbox.status(VOLUME)).durability;
    const missingMib = STAGED_MIB - Math.floor((received.bytes + local.bytes) / 2 ** 20);
    if (missingMib <= 0) return;
    const name = `staged-${performance.now()}`;
    await this.#sandbox.sh(`head -c ${missingMib}M /dev/urandom > ${join(this.#mount, name)}`);
  }

  async #isFlushing(): Promise<boolean> {
    const { flush } = await this.#sandbox.status(VOLUME);
    return flush.state !== 'idle';
  }
}
