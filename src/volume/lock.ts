/**
 * One mount or command at a time works on a volume's state. The lock is one of the kernel's
 * (flock(2)) on a file of its own: it ends with the last process that has a copy of its descriptor,
 * however that ends, so a keeper and its daemons hold it together.
 */
import { closeSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { systemClock } from '../base/clock.ts';
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

const cannotLock = (path: string, errno: number): TuskError =>
  new TuskError(
    'io',
    `the lock file ${path} cannot be used: ${getSystemErrorMap().get(errno)?.[1] ?? `errno ${-errno}`}. Nothing was changed.`,
  );

const WAIT_MS = 10_000;
const LOOK_MS = 20;

/** Does `work` while no other process works under this lock file; waits for its turn. */
export const exclusively = async <T>(path: string, work: () => T): Promise<T> => {
  const until = systemClock.monotonicMs() + WAIT_MS;
  for (;;) {
    const fd = native.lockFile(path);
    if (fd >= 0) {
      try {
        return work();
      } finally {
        heldLock(fd).release();
      }
    }
    if (fd !== -Errno.EAGAIN) throw cannotLock(path, fd);
    if (systemClock.monotonicMs() > until)
      throw new TuskError(
        'busy',
        `another process has held ${path} for ${WAIT_MS / 1000} s. Nothing was changed; try again.`,
        { kind: 'transient' },
      );
    await systemClock.sleep(LOOK_MS);
  }
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
  throw cannotLock(paths.lock, fd);
};
