/**
 * One mount or command at a time works on a volume's state. The lock is one of the kernel's
 * (flock(2)) on a file of its own: it ends with the last process that has a copy of its descriptor,
 * however that ends, so a keeper and its daemons hold it together.
 */
import { closeSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import { makeDirectory } from '../base/files.ts';
import { native } from '../native.ts';
import type { VolumePaths } from './paths.ts';

/** A lock that is held. */
export interface VolumeLock {
  /** For whoever shall hold it too. */
  readonly fd: number;
  /** Gives it back, for all who hold it. */
  release(): void;
}

/** The lock behind a descriptor that another process took it by. */
export const heldLock = (fd: number): VolumeLock => {
  let isHeld = true;
  return {
    fd,
    release: () => {
      if (!isHeld) return;
      isHeld = false;
      native.unlockFile(fd);
      closeSync(fd);
    },
  };
};

/** Takes the lock; `busy` if another process has it. */
export const lockVolume = (name: string, paths: Pick<VolumePaths, 'root' | 'lock'>): VolumeLock => {
  makeDirectory(paths.root);
  const fd = native.lockFile(paths.lock);
  if (fd >= 0) return heldLock(fd);
  if (fd === -Errno.EAGAIN)
    throw new TuskError(
      'busy',
      `${name} is in use: it is mounted already, or just being mounted, unmounted or emptied; \`tuskfs status ${name}\` says more. Nothing was changed.`,
    );
  throw new TuskError(
    'io',
    `the lock file ${paths.lock} cannot be used: ${getSystemErrorMap().get(fd)?.[1] ?? `errno ${-fd}`}. Nothing was changed.`,
  );
};
