/**
 * The scale bench: a tree of 1,000,000 empty files on tuskfs without a network, 100,000 of them
 * in one directory. How fast the last are made beside the first, what the daemon takes of memory
 * by then, how long mounting, finding and listing them takes anew, and what the daemon does when
 * nobody asks for anything. Nothing here has a peer: the first creates are the last ones' measure.
 */
import { execFile } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Served, tuskfs } from './peers.ts';
import type { BenchRow } from './rows.ts';
import { cpuSeconds, memoryMb, sleepsOf } from './usage.ts';

const run = promisify(execFile);
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

const FILES = 1_000_000;
const WIDE_FILES = 100_000;
/** Files of each other directory. */
const DIRECTORY_FILES = 1000;
/** Files whose creation is timed, at both ends. */
const TIMED_FILES = 10_000;
/** The daemon is let come to rest, then watched. */
const REST_MS = 10_000;
const WATCH_MS = 10_000;

/** Runs all of it once: that takes minutes. */
export const benchScale = async (
  _rounds: number,
  _only: readonly string[],
  progress: (text: string) => void,
): Promise<BenchRow[]> => {
  const work = await mkdtemp(join(tmpdir(), 'tuskfs-scale-'));
  let served = await tuskfs(work);
  try {
    const rows: BenchRow[] = [];
    const add = (row: string, unit: string, value: number, peers: BenchRow['peers'] = {}): void => {
      rows.push({ bench: 'scale', row, unit, tuskfs: value, peers });
    };
    const { first, last, peakMb, ownMb } = await makeTree(served, progress);
    add('create-last', 'files/s', last, { first });
    add('memory', 'MB', peakMb, { own: ownMb });
    progress('mounting it again\n');
    await served.stop();
    const start = performance.now();
    served = await tuskfs(work);
    add('mount', 's', (performance.now() - start) / 1000);
    add('find', 'entries/s', await found(served.directory));
    add('list-100000', 's', listed(join(served.directory, 'wide')));
    add('memory-after', 'MB', memoryMb(served.pid));
    progress('watching it rest\n');
    await sleep(REST_MS);
    const [sleeps, cpu] = [sleepsOf(served.pid), cpuSeconds(served.pid)];
    await sleep(WATCH_MS);
    add('idle-wakeups', '1/s', ((sleepsOf(served.pid) - sleeps) * 1000) / WATCH_MS);
    add('idle-cpu', '%', ((cpuSeconds(served.pid) - cpu) * 100_000) / WATCH_MS);
    return rows;
  } finally {
    await served.stop();
    await rm(work, { recursive: true, force: true });
  }
};

/** Files a second at both ends, and the most memory that the daemon took: all, and without mapped files. */
const makeTree = async (
  { directory, pid }: Served,
  progress: (text: string) => void,
): Promise<{ first: number; last: number; peakMb: number; ownMb: number }> => {
  const deep = (FILES - WIDE_FILES) / DIRECTORY_FILES;
  const timed = TIMED_FILES / DIRECTORY_FILES;
  let [peakMb, ownMb] = [0, 0];
  const directories = async (from: number, to: number): Promise<number> => {
    const start = performance.now();
    for (let i = from; i < to; i++) {
      fill(join(directory, `d${i}`), DIRECTORY_FILES);
      peakMb = Math.max(peakMb, memoryMb(pid));
      ownMb = Math.max(ownMb, memoryMb(pid, 'RssAnon'));
    }
    return ((to - from) * DIRECTORY_FILES * 1000) / (performance.now() - start);
  };
  const first = await directories(0, timed);
  progress(`the first: ${Math.round(first)} files/s\n`);
  fill(join(directory, 'wide'), WIDE_FILES);
  const middle = await directories(timed, deep - timed);
  progress(`the middle: ${Math.round(middle)} files/s\n`);
  const last = await directories(deep - timed, deep);
  return { first, last, peakMb, ownMb };
};

const fill = (directory: string, files: number): void => {
  mkdirSync(directory);
  for (let i = 0; i < files; i++) closeSync(openSync(join(directory, `file-${i}`), 'wx'));
};

/** Entries a second of `find` over all of it. */
const found = async (directory: string): Promise<number> => {
  const start = performance.now();
  const { stdout } = await run('sh', ['-c', 'find "$1" | wc -l', 'sh', directory]);
  const entries = Number(stdout);
  if (entries <= FILES) throw new Error(`find saw ${entries} entries only`);
  return (entries * 1000) / (performance.now() - start);
};

/** Seconds to list a directory that `find` has listed before; the kernel keeps no listings. */
const listed = (directory: string): number => {
  const start = performance.now();
  const names = readdirSync(directory);
  if (names.length !== WIDE_FILES) throw new Error(`${names.length} names listed`);
  return (performance.now() - start) / 1000;
};
