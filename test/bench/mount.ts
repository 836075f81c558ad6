/**
 * The mount bench: one list of rows run in every peer's directory, interleaved (each row in one
 * peer after the other), medians of several rounds. The calls are made by a small Rust program,
 * `native/bench`, so that what is timed is the file system. Before a cold row the kernel forgets
 * the mounts' names, attributes and pages, so that the daemons answer; disks stay warm. After a
 * row everything that it wrote is made durable. A peer that fails a row gives no value there.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../src/base/errors.ts';
import { buildClient, ROOT, ROW_TIMEOUT_MS, type Run, rateOf } from './client.ts';
import { gocryptfs, type Peer, passthrough, plain, rclone, tuskfs } from './peers.ts';
import { chosen, type RowPlan } from './plan.ts';
import { type BenchRow, median } from './rows.ts';

const run = promisify(execFile);

const MEBI = 2 ** 20;
/** A real tree of some thousand files, which every checkout has. */
const TREE = 'node_modules/@mysten';

/** Figures of one row and peer, a round each. */
interface Figures {
  readonly rates: number[];
  readonly localMs: number[];
  requests: Readonly<Record<string, number>>;
}

/** What the programs of the system work on. */
interface RealTree {
  /** A tar file, and the entries in it. */
  readonly archive: string;
  readonly entries: number;
  /** Files of the checkout that this is; 0 if it is none. */
  readonly tracked: number;
}

/** Runs the rows `rounds` times; `only` and `wanted` name rows and peers, none: all. */
export const benchMount = async (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
  wanted: readonly string[],
): Promise<BenchRow[]> => {
  const plan = chosen(only);
  const client = await buildClient();
  const work = await mkdtemp(join(tmpdir(), 'tuskfs-bench-'));
  const peers: Peer[] = [];
  try {
    const tree = await realTree(work);
    peers.push(await tuskfs(work));
    for (const start of [plain, passthrough, rclone, gocryptfs]) {
      if (wanted.length > 0 && !wanted.includes(start.peer)) continue;
      const peer = await start(work);
      if (typeof peer === 'string') progress(`${start.peer} is left out: ${peer}\n`);
      else peers.push(peer);
    }
    const rows = plan.filter(({ program }) => !GIT.has(program ?? '') || tree.tracked > 0);
    const bench = new MountBench(client, tree, peers, rows, progress);
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}\n`);
      await bench.round(`round-${round}`);
    }
    return bench.rows().filter(({ row }) => only.length === 0 || only.includes(row));
  } finally {
    for (const peer of peers) await peer.stop();
    await rm(work, { recursive: true, force: true });
  }
};

const GIT: ReadonlySet<string> = new Set(['clone', 'status']);

const realTree = async (work: string): Promise<RealTree> => {
  const archive = join(work, 'tree.tar');
  const output = { maxBuffer: 64 * MEBI };
  const { stdout } = await run('tar', ['-cf', archive, '-C', ROOT, '-v', TREE], output);
  const tracked = await run('git', ['-C', ROOT, 'ls-files'], output).catch(() => ({ stdout: '' }));
  const lines = (text: string): number => text.split('\n').length - 1;
  return { archive, entries: lines(stdout), tracked: lines(tracked.stdout) };
};

type Client = Awaited<ReturnType<typeof buildClient>>;

class MountBench {
  readonly #client: Client;
  readonly #tree: RealTree;
  readonly #peers: Peer[];
  readonly #plan: readonly RowPlan[];
  readonly #progress: (text: string) => void;
  /** By row and peer. */
  readonly #figures = new Map<RowPlan, Map<string, Figures>>();

  constructor(
    client: Client,
    tree: RealTree,
    peers: readonly Peer[],
    plan: readonly RowPlan[],
    progress: (text: string) => void,
  ) {
    this.#client = client;
    this.#tree = tree;
    this.#peers = [...peers];
    this.#plan = plan;
    this.#progress = progress;
  }

  /** Every row in every peer, in a fresh directory of each; another peer begins each round. */
  async round(name: string): Promise<void> {
    const failed = new Set<string>();
    for (const { directory } of this.#peers) {
      await mkdir(join(directory, name));
      // A kernel that was never asked to open a file does not know yet that nobody wants to hear of it.
      await writeFile(join(directory, name, 'first'), '');
      await readFile(join(directory, name, 'first'));
    }
    for (const plan of this.#plan) {
      for (const peer of this.#peers) {
        if ([plan.row, ...plan.needs].some(row => failed.has(`${peer.name} ${row}`))) continue;
        await this.#measure(peer, plan, join(peer.directory, name)).catch(error => {
          if (peer.name === 'tuskfs') throw error;
          failed.add(`${peer.name} ${plan.row}`);
          this.#progress(`${peer.name} failed ${plan.row}: ${messageOf(error)}\n`);
        });
      }
    }
    for (const peer of this.#peers)
      await rm(join(peer.directory, name), { recursive: true, force: true }).catch(error => {
        if (peer.name === 'tuskfs') throw error;
        this.#progress(`${peer.name} keeps what it should remove: ${messageOf(error)}\n`);
      });
    this.#peers.push(this.#peers.shift()!);
  }

  /** Medians of all rounds. */
  rows(): BenchRow[] {
    return [...this.#figures].map(([{ row, unit }, peers]) => {
      const medians = (of: (figures: Figures) => readonly number[]) =>
        Object.fromEntries([...peers].map(([name, figures]) => [name, median(of(figures))]));
      const { tuskfs: ours, ...others } = medians(figures => figures.rates);
      return {
        ...{ bench: 'mount', row, unit, tuskfs: ours!, peers: others },
        localMs: medians(figures => figures.localMs),
        requests: peers.get('tuskfs')!.requests,
      };
    });
  }

  async #measure(peer: Peer, plan: RowPlan, directory: string): Promise<void> {
    if (plan.program === 'status') await this.#calls(peer, 'forget', directory, 0);
    const before = await peer.requests?.();
    const result =
      plan.program === undefined
        ? await this.#calls(peer, plan.row, directory, plan.count)
        : await this.#system(peer, plan.program, directory);
    const after = await peer.requests?.();
    const figures = this.#figuresOf(plan, peer.name);
    figures.rates.push(rateOf(plan.unit, result));
    figures.localMs.push(result.localSeconds * 1000);
    if (before === undefined || after === undefined) return;
    figures.requests = Object.fromEntries(
      Object.entries(after)
        .map(([name, count]) => [name, (count - (before[name] ?? 0)) / result.operations] as const)
        .filter(([, count]) => count > 0),
    );
  }

  #figuresOf(plan: RowPlan, peer: string): Figures {
    let peers = this.#figures.get(plan);
    if (peers === undefined) this.#figures.set(plan, (peers = new Map()));
    let figures = peers.get(peer);
    if (figures === undefined)
      peers.set(peer, (figures = { rates: [], localMs: [], requests: {} }));
    return figures;
  }

  /** A row of `native/bench`. */
  #calls(peer: Peer, row: string, directory: string, count: number): Promise<Run> {
    const options: string[] = [];
    if (peer.mount !== undefined) options.push('--mount', peer.mount);
    if (peer.backing !== undefined) options.push('--backing', peer.backing);
    return this.#client(row, directory, count, options);
  }

  /** A program of the system at work on the real tree, or on a clone of this checkout. */
  async #system(
    peer: Peer,
    program: NonNullable<RowPlan['program']>,
    directory: string,
  ): Promise<Run> {
    const { archive, entries, tracked } = this.#tree;
    const clone = join(directory, 'clone');
    const [command, args, operations] = {
      untar: ['tar', ['-xf', archive, '-C', directory], entries] as const,
      'rm-rf': ['rm', ['-rf', join(directory, TREE)], entries] as const,
      clone: ['git', ['clone', '--quiet', '--no-hardlinks', ROOT, clone], tracked] as const,
      status: ['git', ['-C', clone, 'status', '--porcelain'], tracked] as const,
    }[program];
    const start = performance.now();
    await run(command, args, { timeout: ROW_TIMEOUT_MS });
    const seconds = (performance.now() - start) / 1000;
    const { localSeconds } = await this.#calls(peer, 'local', directory, 0);
    return { operations, bytes: 0, seconds, p99Seconds: 0, localSeconds };
  }
}
