/**
 * Compares two trees: names, types, modes, owners, mtimes (ns), sizes, devices, targets of
 * symbolic links, hard link structure, extended attributes, and every byte. Names are bytes.
 *
 * `node scripts/compare-tree.ts A B` prints one line a difference and exits 1 if there is one.
 */
import { spawn } from 'node:child_process';
import type { BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const CHUNK_BYTES = 1024 * 1024;
/** Files read at the same time: a cold read waits for the network, not for this machine. */
const FILES_AT_ONCE = 8;

/** A path below a root, one char a byte. */
type Path = string;

interface Entry {
  readonly stats: BigIntStats;
  /** Raw target of a symbolic link. */
  readonly target: string;
}

const absolute = (root: string, path: Path): Buffer =>
  Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
const shown = (path: Path): string => Buffer.from(path, 'latin1').toString('utf8') || '.';

/** All entries below and with `root`, by path. */
const entriesOf = async (root: string): Promise<Map<Path, Entry>> => {
  const entries = new Map<Path, Entry>();
  const walk = async (path: Path): Promise<void> => {
    const stats = await lstat(absolute(root, path), { bigint: true });
    const target = stats.isSymbolicLink()
      ? (await readlink(absolute(root, path), 'buffer')).toString('latin1')
      : '';
    entries.set(path, { stats, target });
    if (!stats.isDirectory()) return;
    const names = await readdir(absolute(root, path), 'buffer');
    for (const name of names)
      await walk(`${path === '' ? '' : `${path}/`}${name.toString('latin1')}`);
  };
  await walk('');
  return entries;
};

/** First path of each file that has several names, by each of its paths. */
const linksOf = (entries: Map<Path, Entry>): Map<Path, Path> => {
  const first = new Map<string, Path>();
  const links = new Map<Path, Path>();
  for (const [path, { stats }] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (stats.isDirectory() || stats.nlink < 2n) continue;
    const key = `${stats.dev}:${stats.ino}`;
    if (!first.has(key)) first.set(key, path);
    links.set(path, first.get(key)!);
  }
  return links;
};

/** Extended attributes by path, as getfattr prints them. */
const xattrsOf = (root: string): Promise<Map<string, string>> =>
  new Promise((resolve, reject) => {
    const child = spawn('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const chunks: Buffer[] = [];
    child.stdout.on('data', chunk => chunks.push(chunk));
    child.on('error', reject);
    child.on('close', () => {
      const blocks = Buffer.concat(chunks).toString('latin1').split('\n\n').filter(Boolean);
      const pairs = blocks.map(block => {
        const [file = '', ...values] = block.split('\n');
        return [file.replace('# file: ', ''), values.filter(Boolean).sort().join(' ')] as const;
      });
      resolve(new Map(pairs));
    });
  });

/** Offset of the first byte that differs, or −1. */
const firstDifference = async (a: Buffer, b: Buffer): Promise<number> => {
  const files = await Promise.all([open(a, 'r'), open(b, 'r')]);
  try {
    const buffers = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)] as const;
    for (let at = 0; ; ) {
      const [m, n] = await Promise.all([
        files[0].read(buffers[0], 0, CHUNK_BYTES, at),
        files[1].read(buffers[1], 0, CHUNK_BYTES, at),
      ]);
      const length = Math.min(m.bytesRead, n.bytesRead);
      if (buffers[0].compare(buffers[1], 0, length, 0, length) !== 0)
        return at + buffers[0].subarray(0, length).findIndex((byte, i) => byte !== buffers[1][i]);
      if (length === 0) return m.bytesRead === n.bytesRead ? -1 : at;
      at += length;
    }
  } finally {
    await Promise.all(files.map(file => file.close()));
  }
};

const ATTRIBUTES = ['mode', 'uid', 'gid', 'nlink', 'rdev', 'mtimeNs', 'size'] as const;

const compareEntry = (path: Path, a: Entry, b: Entry, out: string[]): void => {
  for (const field of ATTRIBUTES) {
    if (a.stats.isDirectory() && (field === 'size' || field === 'nlink')) continue;
    if (a.stats[field] !== b.stats[field])
      out.push(`${shown(path)}: ${field} ${a.stats[field]} and ${b.stats[field]}`);
  }
  if (a.target !== b.target) out.push(`${shown(path)}: points to ${a.target} and ${b.target}`);
};

const compareMaps = (
  what: string,
  a: Map<string, string>,
  b: Map<string, string>,
  out: string[],
): void => {
  for (const path of new Set([...a.keys(), ...b.keys()]))
    if (a.get(path) !== b.get(path))
      out.push(`${shown(path)}: ${what} ${a.get(path) ?? 'none'} and ${b.get(path) ?? 'none'}`);
};

const compareContent = async (
  a: string,
  b: string,
  paths: readonly Path[],
  out: string[],
): Promise<void> => {
  const queue = paths.values();
  const work = async (): Promise<void> => {
    for (const path of queue) {
      try {
        const at = await firstDifference(absolute(a, path), absolute(b, path));
        if (at >= 0) out.push(`${shown(path)}: content differs at byte ${at}`);
      } catch (error) {
        out.push(`${shown(path)}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, work));
};

/** One line for each difference of two trees; none if they are the same. */
export const compareTrees = async (a: string, b: string): Promise<string[]> => {
  const out: string[] = [];
  const [left, right] = await Promise.all([entriesOf(a), entriesOf(b)]);
  const files: Path[] = [];
  for (const path of new Set([...left.keys(), ...right.keys()])) {
    const [one, two] = [left.get(path), right.get(path)];
    if (one === undefined) out.push(`${shown(path)}: only in ${b}`);
    else if (two === undefined) out.push(`${shown(path)}: only in ${a}`);
    else {
      compareEntry(path, one, two, out);
      if (one.stats.isFile() && two.stats.isFile()) files.push(path);
    }
  }
  compareMaps('is the same file as', linksOf(left), linksOf(right), out);
  compareMaps('has attributes', ...(await Promise.all([xattrsOf(a), xattrsOf(b)])), out);
  await compareContent(a, b, files, out);
  return out;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [a, b] = process.argv.slice(2);
  if (a === undefined || b === undefined) {
    console.error('usage: compare-tree.ts A B');
    process.exitCode = 2;
  } else {
    const differences = await compareTrees(a, b);
    for (const line of differences) console.log(line);
    if (differences.length > 0) process.exitCode = 1;
  }
}
