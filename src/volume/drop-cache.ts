/** Throws away local copies of an unmounted volume's content. */
import { rmSync } from 'node:fs';
import { systemClock } from '../base/clock.ts';
import { makeDirectory } from '../base/files.ts';
import { openIndex } from '../meta/open.ts';
import { lockVolume } from './lock.ts';
import type { VolumePaths } from './paths.ts';

/** Empties cache, scratch and every log segment that holds nothing staged; what stays is staged. */
export const dropCache = async (
  name: string,
  paths: VolumePaths,
): Promise<{ stagedBytes: number }> => {
  const lock = lockVolume(name, paths);
  try {
    return await drop(paths);
  } finally {
    lock.release();
  }
};

const drop = async (paths: VolumePaths): Promise<{ stagedBytes: number }> => {
  for (const path of [paths.cache, paths.scratch]) {
    rmSync(path, { recursive: true, force: true });
    makeDirectory(path);
  }
  makeDirectory(paths.outbox);
  const index = await openIndex({
    directory: paths.index,
    logDirectory: paths.log,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    clock: systemClock,
    reserveBytes: 0,
  });
  try {
    await index.sync();
    await index.reclaim();
    return { stagedBytes: index.totals().stagedBytes };
  } finally {
    await index.close();
  }
};
