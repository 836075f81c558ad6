/** The control socket itself, which the keeper makes and each daemon serves. */
import { rmSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { TuskError } from '../base/errors.ts';
import { native } from '../native.ts';

/** Listens at the path of a volume whose lock the caller holds; connections wait until a daemon takes them. */
export const listenControl = (path: string): number => {
  const fd = native.listenUnix(path);
  if (fd >= 0) return fd;
  throw new TuskError(
    'io',
    `the control socket ${path} cannot be made: ${getSystemErrorMap().get(fd)?.[1] ?? `errno ${-fd}`}. Nothing was mounted; TUSKFS_STATE_DIR says where state lies`,
  );
};

/** Takes the socket's name away; where the disk does not let it, the next mount does. */
export const removeSocket = (path: string): void => {
  try {
    rmSync(path, { force: true });
  } catch {}
};
