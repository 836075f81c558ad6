/**
 * A program that uses the drive: makes the same seeded tree again and again from where it stopped,
 * and notes a file (in a ledger outside the drive) once close has returned. Ends by itself when the
 * drive goes away. Arguments: directory on the drive, note file, number of files, seed.
 */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { seededRandom } from '../../src/base/random.ts';

/** Relative path and content of file `i`; every seventh is made by rename over a draft. */
export const fileOf = (
  seed: number,
  i: number,
): { path: string; content: Buffer; byRename: boolean } => {
  const random = seededRandom(seed * 1_000_003 + i);
  const size = i % 50 === 49 ? 3_000_000 + random.below(5_000_000) : random.below(40_000);
  const block = random.bytes(Math.min(size, 4096));
  const content = Buffer.alloc(size);
  for (let at = 0; at < size; at += block.length) {
    block.copy(content, at);
    content.writeUInt32LE(at >>> 0, Math.max(0, Math.min(at, size - 4)));
  }
  return { path: join(`d${i % 23}`, `f${i}`), content, byRename: i % 7 === 3 };
};

/** SHA-256 of bytes, hex. */
export const digest = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Numbers of the files noted so far. */
export const noted = (notes: string): number[] =>
  existsSync(notes)
    ? readFileSync(notes, 'utf8').trim().split('\n').filter(Boolean).map(Number)
    : [];

const writeWhole = (path: string, content: Buffer): void => {
  const fd = openSync(path, 'w');
  for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
  closeSync(fd);
};

const main = (directory: string, notes: string, count: number, seed: number): void => {
  const done = new Set(noted(notes));
  for (let i = 0; i < count; i++) {
    if (done.has(i)) continue;
    const { path, content, byRename } = fileOf(seed, i);
    const target = join(directory, path);
    mkdirSync(dirname(target), { recursive: true });
    if (byRename) {
      writeWhole(`${target}.draft`, content);
      renameSync(`${target}.draft`, target);
    } else writeWhole(target, content);
    appendFileSync(notes, `${i}\n`);
  }
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [directory, notes, count, seed] = process.argv.slice(2);
  main(directory!, notes!, Number(count), Number(seed));
}
