/** Files and names that must be whole after a power loss. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Makes names created, renamed or removed in `directory` survive a power loss. */
export const syncDirectory = (directory: string): void => {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Makes what is missing of a path; the topmost directory that was. (`recursive` of mkdir never returns below /proc.) */
const makeMissing = (path: string): string | undefined => {
  if (isDirectory(path)) return undefined;
  const above = makeMissing(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isDirectory(path)) throw error;
  }
  return above ?? path;
};

/** Makes a directory (0700) and what is missing above it, if it is not there; its name survives a power loss then. */
export const makeDirectory = (path: string): void => {
  const first = makeMissing(path) ?? path;
  // One that was there may have been made by a process that died before this.
  for (let at = path; at.length >= first.length && at !== '/'; at = dirname(at))
    syncDirectory(dirname(at));
};

/** Writes all of `bytes` at `offset`: near the end of a disk one call may write less, without an error. */
export const writeWhole = (fd: number, bytes: Uint8Array, offset: number): void => {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
};

/** Writes a file for good; one that cannot be written whole is removed. */
const writeSynced = (path: string, data: string | Uint8Array, flag: string, mode: number): void => {
  const fd = openSync(path, flag, mode);
  try {
    writeFileSync(fd, data);
    fsyncSync(fd);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
};

/** Makes a file that must not be there yet, for good; EEXIST if it is. */
export const createFile = (path: string, data: string | Uint8Array, mode = 0o600): void => {
  writeSynced(path, data, 'wx', mode);
  syncDirectory(dirname(path));
};

/** Replaces a file as one step: after a crash it holds the old bytes or the new, never a mix. */
export const replaceFile = (path: string, data: string | Uint8Array, mode = 0o600): void => {
  const draft = `${path}.new`;
  writeSynced(draft, data, 'w', mode);
  renameSync(draft, path);
  syncDirectory(dirname(path));
};
