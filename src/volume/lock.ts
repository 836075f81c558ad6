/**
 * One process at a time works on a volume's state. The lock is one of the kernel's on a file of
 * its own (taken through SQLite, which Node.js has no other way to), so it ends with its process,
 * however that ends.
 */
import Database from 'better-sqlite3';
import { messageOf, systemCode, TuskError } from '../base/errors.ts';
import { makeDirectory } from '../base/files.ts';
import type { VolumePaths } from './paths.ts';

/** Takes the lock; `busy` if another process has it. The returned function gives it back. */
export const lockVolume = (
  name: string,
  paths: Pick<VolumePaths, 'root' | 'lock'>,
): (() => void) => {
  makeDirectory(paths.root);
  const file = new Database(paths.lock, { timeout: 0 });
  try {
    file.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    file.close();
    if (systemCode(cause)?.startsWith('SQLITE_BUSY'))
      throw new TuskError(
        'busy',
        `${name} is in use: it is mounted already, or just being mounted, unmounted or emptied; \`tuskfs status ${name}\` says more. Nothing was changed.`,
        { cause },
      );
    throw new TuskError(
      'io',
      `the lock file ${paths.lock} cannot be used: ${messageOf(cause)}. Nothing was changed.`,
      { cause },
    );
  }
  return () => {
    if (file.open) file.close();
  };
};
