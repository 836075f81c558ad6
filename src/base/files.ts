/** Small files that must be whole after a power loss. */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';
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

/** Replaces a file as one step: after a crash it holds the old bytes or the new, never a mix. */
export const replaceFile = (path: string, data: string | Uint8Array, mode = 0o600): void => {
  const draft = `${path}.new`;
  const fd = openSync(draft, 'w', mode);
  try {
    writeFileSync(fd, data);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(draft, path);
  syncDirectory(dirname(path));
};
