/**
 * The network bench: our client and the official SDK on the same localnet (1000 shards on 101
 * nodes in a process of their own), each client in a child of its own, interleaved, medians of
 * several rounds. Nodes verify every sliver: while a row runs, corrupted slivers of another blob
 * are sent and must be refused, else the row is void. Rates are MB (10⁶ bytes) of the blob a second.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { Probe } from './network-probe.ts';
import { READ_ROWS } from './network-read.ts';
import type { Answer, Question } from './network-side.ts';
import { WRITE_ROWS } from './network-write.ts';
import type { BenchRow } from './rows.ts';
import { Side } from './side.ts';

const NODES = 101;
const SHARDS = 1000;
/** The official SDK, as rows name it. */
export const PEER = 'walrus-sdk';

/** One client's process. */
export type NetworkSide = Side<Question, Answer>;

/** What rows are measured on. */
export interface Stage {
  readonly localnet: LocalnetHandle;
  readonly tuskfs: NetworkSide;
  readonly official: NetworkSide;
  readonly probe: Probe;
  readonly progress: (text: string) => void;
}

/** A row: its name, and how it is measured. */
export interface NetworkRow {
  readonly name: string;
  measure(stage: Stage, rounds: number): Promise<Omit<BenchRow, 'bench' | 'row'>>;
}

const ROWS: readonly NetworkRow[] = [...WRITE_ROWS, ...READ_ROWS];

/** Processor time that the nodes and the ledger (one process) have taken so far, in seconds. */
export const nodesCpuSeconds = ({ localnet }: Stage): number => {
  const stat = readFileSync(`/proc/${localnet.pid}/stat`, 'latin1');
  // Behind the name, which may hold anything: utime and stime are fields 14 and 15, in 1/100 s.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

/** Runs all rows, or those named `only`, `rounds` times. */
export const benchNetwork = async (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
): Promise<BenchRow[]> => {
  const wanted = ROWS.filter(({ name }) => only.length === 0 || only.includes(name));
  if (wanted.length === 0) return [];
  const work = await mkdtemp(join(tmpdir(), 'tuskfs-bench-'));
  const ends: (() => Promise<unknown>)[] = [() => rm(work, { recursive: true, force: true })];
  try {
    progress(`${SHARDS} shards on ${NODES} nodes\n`);
    const directory = join(work, 'net');
    const localnet = await startLocalnet({ directory, nodes: NODES, shards: SHARDS });
    ends.push(() => localnet.close());
    const side = async (name: string): Promise<NetworkSide> => {
      const { rpcUrl, packageConfig, nodeScheme } = localnet;
      const made: NetworkSide = new Side('network-side.ts', [name, work]);
      ends.push(() => made.stop());
      const { address } = await made.ask({ open: { rpcUrl, packageConfig, nodeScheme } });
      await localnet.faucet(address!);
      return made;
    };
    const [tuskfs, official] = [await side('tuskfs'), await side(PEER)];
    const probe = await Probe.open(localnet, work);
    const stage: Stage = { localnet, tuskfs, official, probe, progress };
    const rows: BenchRow[] = [];
    for (const row of wanted) {
      const measured = await row.measure(stage, rounds);
      rows.push({ bench: 'network', row: row.name, ...measured });
    }
    return rows;
  } finally {
    for (const end of ends.reverse()) await end();
  }
};
