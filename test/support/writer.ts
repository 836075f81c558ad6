/**
 * A program that uses the drive: takes the steps of a history from where it stopped, and notes each
 * (in a file outside the drive) once its last call has returned. Ends by itself when the drive goes
 * away; with exit code 3 if it was unmounted rather than left without its daemon. Arguments: directory on the drive, note file, number of the step to stop before, seed,
 * milliseconds between steps.
 */
import {
  appendFileSync,
  closeSync,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { notedSteps } from './notes.ts';
import { contentOf, draftOf, type Step, stepOf, treeAfter } from './steps.ts';

const [directory, notes, end, seedText, pauseMs] = process.argv.slice(2);
const seed = Number(seedText);

/** Writes from `offset` on, what was behind it is gone; mode and time are set while the file is open. */
const write = (path: string, offset: number, content: Buffer, step: Step): void => {
  const fd = openSync(path, offset === 0 ? 'w' : 'r+');
  ftruncateSync(fd, offset);
  for (let at = 0; at < content.length; ) at += writeSync(fd, content, at, undefined, offset + at);
  fchmodSync(fd, step.mode);
  futimesSync(fd, step.timeS, step.timeS);
  closeSync(fd);
};

const take = (i: number, step: Step, sizeBefore: number): void => {
  const path = join(directory!, step.path);
  mkdirSync(dirname(path), { recursive: true });
  if (step.kind === 'unlink') {
    rmSync(path, { force: true });
    return;
  }
  const content = contentOf(seed, i, step.size);
  if (step.kind === 'replace') {
    write(draftOf(path), 0, content, step);
    renameSync(draftOf(path), path);
  } else write(path, step.kind === 'append' ? sizeBefore : 0, content, step);
};

const deviceOf = (): number => statSync(directory!).dev;
const device = deviceOf();
const sizes = new Map<string, number>();
const first = notedSteps(notes!);
for (const [path, { size }] of treeAfter(seed, first)) sizes.set(path, size);
for (let i = first; i < Number(end); i++) {
  if (deviceOf() !== device) process.exit(3);
  const step = stepOf(seed, i);
  const before = sizes.get(step.path) ?? 0;
  take(i, step, before);
  appendFileSync(notes!, `${i}\n`);
  if (step.kind === 'unlink') sizes.delete(step.path);
  else sizes.set(step.path, step.size + (step.kind === 'append' ? before : 0));
  await sleep(Number(pauseMs));
}
