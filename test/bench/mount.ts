/**
 * The mount bench: one list of rows run in every peer's directory, interleaved (each row in one
 * peer after the other), medians of several rounds. The calls are made by a small Rust program,
 * `native/bench`, so that what is timed is the file system. Before a cold row the kernel forgets
 * the mounts' names, attributes and pages, so that the daemons answer; disks stay warm.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Peer, passthrough, plain, tuskfs } from './peers.ts';
import { type BenchRow, median } from './rows.ts';

const run = promisify(execFile);

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FILES = 3000;
const LARGE_MIB = 512;
const MEBI = 2 ** 20;
/** A real tree of some thousand files, which every checkout has. */
const TREE = 'node_modules/@mysten';

interface RowPlan {
  readonly row: string;
  readonly unit: string;
  /** Files, operations or MiB. */
  readonly count: number;
}

const PLAN: readonly RowPlan[] = [
  { row: 'create', unit: 'files/s', count: FILES },
  { row: 'create-write', unit: 'files/s', count: FILES },
  { row: 'stat', unit: 'calls/s', count: FILES },
  { row: 'missing', unit: 'calls/s', count: FILES },
  { row: 'readdir', unit: 'entries/s', count: FILES },
  { row: 'open-read', unit: 'files/s', count: FILES },
  { row: 'rename', unit: 'calls/s', count: FILES },
  { row: 'unlink', unit: 'calls/s', count: FILES },
  { row: 'sequential-write', unit: 'MB/s', count: LARGE_MIB },
  { row: 'sequential-read', unit: 'MB/s', count: LARGE_MIB },
  { row: 'sequential-read-warm', unit: 'MB/s', count: LARGE_MIB },
  { row: 'random-read', unit: 'calls/s', count: 10_000 },
  { row: 'random-write', unit: 'calls/s', count: 10_000 },
  { row: 'fsync-write', unit: 'calls/s', count: 300 },
  { row: 'save', unit: 'saves/s', count: 200 },
];

/** What one run of a row took. */
interface Run {
  readonly operations: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly localSeconds?: number;
}

/** Figures of one row and peer, a round each. */
interface Figures {
  readonly rates: number[];
  readonly localMs: number[];
  requests: Readonly<Record<string, number>>;
}

const rateOf = (unit: string, { operations, bytes, seconds }: Run): number =>
  unit === 'MB/s' ? bytes / 1e6 / seconds : operations / seconds;

/** Runs the whole list `rounds` times; `only`: names of the rows that count (the others still run, later ones need them). */
export const benchMount = async (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
): Promise<BenchRow[]> => {
  const program = await buildClient();
  const work = await mkdtemp(join(tmpdir(), 'tuskfs-bench-'));
  const peers: Peer[] = [];
  try {
    const archive = join(work, 'tree.tar');
    const { stdout } = await run('tar', ['-cf', archive, '-C', ROOT, '-v', TREE], {
      maxBuffer: 64 * MEBI,
    });
    const entries = stdout.trimEnd().split('\n').length;
    peers.push(await plain(work), await tuskfs(work));
    const libfuse = await passthrough(work);
    if (libfuse === undefined) progress('passthrough_ll left out: install libfuse3-dev\n');
    else peers.push(libfuse);
    const bench = new MountBench(program, archive, entries, peers);
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

/** Builds the program that makes the calls; its path. */
const buildClient = async (): Promise<string> => {
  const cwd = join(ROOT, 'native');
  await run('cargo', ['build', '--release', '--locked', '--quiet', '-p', 'tuskfs-bench'], { cwd });
  return join(process.env.CARGO_TARGET_DIR ?? join(cwd, 'target'), 'release', 'tuskfs-bench');
};

class MountBench {
  readonly #program: string;
  readonly #archive: string;
  readonly #entries: number;
  readonly #peers: readonly Peer[];
  /** By row, unit and peer. */
  readonly #figures = new Map<string, { unit: string; peers: Map<string, Figures> }>();

  constructor(program: string, archive: string, entries: number, peers: readonly Peer[]) {
    this.#program = program;
    this.#archive = archive;
    this.#entries = entries;
    this.#peers = peers;
  }

  /** Every row in every peer, in a fresh directory of each. */
  async round(name: string): Promise<void> {
    for (const { directory } of this.#peers) {
      await mkdir(join(directory, name));
      // A kernel that was never asked to open a file does not know yet that nobody wants to hear of it.
      await writeFile(join(directory, name, 'first'), '');
      await readFile(join(directory, name, 'first'));
    }
    for (const { row, unit, count } of PLAN) {
      for (const peer of this.#peers)
        await this.#measure(peer, row, unit, () => this.#client(peer, row, name, count));
    }
    for (const peer of this.#peers)
      await this.#measure(peer, 'untar', 'files/s', () =>
        this.#system('tar', ['-xf', this.#archive, '-C', join(peer.directory, name)]),
      );
    for (const peer of this.#peers)
      await this.#measure(peer, 'rm-rf', 'files/s', () =>
        this.#system('rm', ['-rf', join(peer.directory, name, TREE)]),
      );
    for (const { directory } of this.#peers)
      await rm(join(directory, name), { recursive: true, force: true });
  }

  /** Medians of all rounds. */
  rows(): BenchRow[] {
    return [...this.#figures].map(([row, { unit, peers }]) => {
      const rates = new Map([...peers].map(([name, { rates }]) => [name, median(rates)]));
      const ours = rates.get('tuskfs')!;
      rates.delete('tuskfs');
      const localMs = [...peers]
        .filter(([, figures]) => figures.localMs.length > 0)
        .map(([name, figures]) => [name, median(figures.localMs)] as const);
      return {
        ...{ bench: 'mount', row, unit, tuskfs: ours, peers: Object.fromEntries(rates) },
        localMs: Object.fromEntries(localMs),
        requests: peers.get('tuskfs')!.requests,
      };
    });
  }

  async #client(peer: Peer, row: string, name: string, count: number): Promise<Run> {
    const args = [row, join(peer.directory, name), String(count)];
    if (peer.mount !== undefined) args.push('--mount', peer.mount);
    if (peer.backing !== undefined) args.push('--backing', peer.backing);
    const { stdout } = await run(this.#program, args);
    return JSON.parse(stdout) as Run;
  }

  /** A program of the system over the real tree. */
  async #system(program: string, args: readonly string[]): Promise<Run> {
    const start = performance.now();
    await run(program, args);
    const seconds = (performance.now() - start) / 1000;
    return { operations: this.#entries, bytes: 0, seconds };
  }

  async #measure(peer: Peer, row: string, unit: string, work: () => Promise<Run>): Promise<void> {
    const before = await peer.requests?.();
    const result = await work();
    const after = await peer.requests?.();
    let entry = this.#figures.get(row);
    if (entry === undefined) this.#figures.set(row, (entry = { unit, peers: new Map() }));
    let figures = entry.peers.get(peer.name);
    if (figures === undefined)
      entry.peers.set(peer.name, (figures = { rates: [], localMs: [], requests: {} }));
    figures.rates.push(rateOf(unit, result));
    if (result.localSeconds !== undefined) figures.localMs.push(result.localSeconds * 1000);
    if (before === undefined || after === undefined) return;
    figures.requests = Object.fromEntries(
      Object.entries(after)
        .map(([name, count]) => [name, (count - (before[name] ?? 0)) / result.operations] as const)
        .filter(([, count]) => count > 0),
    );
  }
}
