/**
 * Compares the drive with what the writer noted and prints what is lost, altered or back from the
 * dead. The one step that may have been under way may have happened, or not, or (where POSIX gives
 * no atomic change) in part. Arguments: directory on the drive, note file, seed.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { messageOf } from '../../src/base/errors.ts';
import { notedSteps } from './notes.ts';
import { draftOf, type Expected, stepOf, treeAfter } from './steps.ts';

const [directory, notes, seedText] = process.argv.slice(2);
const seed = Number(seedText);
const count = notedSteps(notes!);
const before = treeAfter(seed, count);
const after = treeAfter(seed, count + 1);
const underWay = stepOf(seed, count);

/** In what a file differs from what it should be; empty if in nothing. */
const difference = (path: string, expected: Expected | undefined): string => {
  let content: Buffer;
  try {
    content = readFileSync(join(directory!, path));
  } catch (error) {
    return expected === undefined ? '' : messageOf(error);
  }
  if (expected === undefined) return 'is there but should not be';
  const { mode, mtimeMs } = statSync(join(directory!, path));
  if (!content.equals(expected.content())) return `content differs (${content.length} bytes)`;
  if ((mode & 0o7777) !== expected.mode) return `mode is ${mode.toString(8)}`;
  return mtimeMs === expected.timeS * 1000 ? '' : `mtime is ${mtimeMs}`;
};

const judge = (path: string): string => {
  const found = difference(path, before.get(path));
  if (found === '' || path !== underWay.path) return found;
  const isAtomic = underWay.kind === 'replace' || underWay.kind === 'unlink';
  if (isAtomic) return difference(path, after.get(path)) === '' ? '' : found;
  const old = underWay.kind === 'append' ? before.get(path)?.content() : undefined;
  if (old === undefined) return '';
  const start = readFileSync(join(directory!, path)).subarray(0, old.length);
  return start.equals(old) ? '' : `what was there before the append is altered: ${found}`;
};

const present = readdirSync(directory!, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(entry => relative(directory!, join(entry.parentPath, entry.name)));
for (const path of new Set([...before.keys(), ...present])) {
  if (underWay.kind === 'replace' && path === draftOf(underWay.path)) continue;
  const found = judge(path);
  if (found !== '') console.log(`${path}: ${found}`);
}
