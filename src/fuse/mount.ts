/**
 * Mounting and unmounting. A mount point is looked at before it is used: it must be an empty
 * directory that nothing of ours is mounted on; what a dead daemon left behind ("Transport
 * endpoint is not connected") is detached first. Nothing here runs on the serving thread.
 */
import { readdir, realpath, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Errno } from '../base/errno.ts';
import { isDeadMount, systemCode, TuskError } from '../base/errors.ts';
import { FUSE_IO_BYTES_MAX } from '../base/limits.ts';
import { type FuseDevice, type MountOutcome, native } from '../native.ts';
import { MOUNT_TYPE, mountAt, mountBelow, placeOf } from './mountinfo.ts';

/** A daemon that does not answer stat(2) of its root for this long is not asked again. */
const STAT_DEADLINE_MS = 5000;

/** How to mount. */
export interface MountOptions {
  readonly readOnly?: boolean;
  /** Let other users in (the kernel checks permissions); root does by default, as on any disk. */
  readonly allowOther?: boolean;
  /** Flags of mount(2). */
  readonly flags?: number;
}

/** A mounted device that a Session can serve. */
export interface Mount {
  readonly source: string;
  /** Where it was mounted: absolute, without symbolic links. */
  readonly mountPoint: string;
  readonly device: FuseDevice;
  /** Where it is now: a directory above may have been renamed. */
  place(): Promise<string>;
  /** See `unmount`. */
  unmount(options?: { lazy?: boolean }): Promise<void>;
}

/** What to mount where. */
export interface MountRequest {
  readonly source: string;
  readonly mountPoint: string;
  readonly options?: MountOptions;
}

/**
 * Mounts `source` (a volume's name) at `mountPoint`: the descriptor of the device, closed on exec,
 * and the mount point's real path. Nothing answers there before a Session runs.
 */
export const mountDevice = async (
  wanted: MountRequest,
): Promise<{ fd: number; mountPoint: string }> => {
  const mountPoint = await canonical(wanted.mountPoint);
  await makeReady(mountPoint);
  const isRoot = process.geteuid?.() === 0;
  const outcome = await native.fuseMount({
    source: wanted.source,
    mountPoint,
    readOnly: wanted.options?.readOnly ?? false,
    allowOther: wanted.options?.allowOther ?? isRoot,
    flags: wanted.options?.flags ?? 0,
    readBytesMax: FUSE_IO_BYTES_MAX,
  });
  if (outcome.fd < 0) throw mountError(mountPoint, outcome);
  return { fd: outcome.fd, mountPoint };
};

/** The mount behind a descriptor that `mountDevice` made, here or in the process that handed it on. */
export const mountOf = (source: string, mountPoint: string, fd: number): Mount => ({
  source,
  mountPoint,
  device: new native.FuseDevice(fd, FUSE_IO_BYTES_MAX),
  place: () => placeOf(fd, mountPoint),
  unmount: async options => unmountAt(await placeOf(fd, mountPoint), options),
});

/** `mountDevice` for a process that serves what it mounts. */
export const mountVolume = async (wanted: MountRequest): Promise<Mount> => {
  const { fd, mountPoint } = await mountDevice(wanted);
  return mountOf(wanted.source, mountPoint, fd);
};

/**
 * Unmounts what is mounted at `mountPoint`; no error if nothing of ours is. `lazy` detaches it at
 * once although files are open there; their users keep it until they are done.
 */
export const unmount = async (
  mountPoint: string,
  options: { lazy?: boolean } = {},
): Promise<void> => unmountAt(await canonical(mountPoint), options);

/** `unmount` for a path without symbolic links, which is not looked at: who serves it must not wait for it. */
export const unmountAt = async (path: string, options: { lazy?: boolean } = {}): Promise<void> => {
  if ((await mountAt(path))?.type !== MOUNT_TYPE) return;
  const outcome = await native.fuseUnmount(path, options.lazy ?? false);
  if (outcome.step === '' || (await mountAt(path))?.type !== MOUNT_TYPE) return;
  if (outcome.errno === Errno.EBUSY || /busy/i.test(outcome.message)) {
    const inner = (await mountBelow(path))?.mountPoint;
    throw new TuskError(
      'busy',
      inner === undefined
        ? `${path} is in use: close the files that are open there (fuser -vm ${path} shows by whom), then unmount again`
        : `${path} is in use: something is mounted below it, at ${inner}. Unmount that first, then this again`,
      { details: { mountPoint: path } },
    );
  }
  throw mountError(path, outcome);
};

/** Absolute path without symbolic links, of a directory that may be a stale mount. */
const canonical = async (path: string): Promise<string> => {
  const absolute = resolve(path);
  if (absolute === '/') return absolute;
  try {
    return await realpath(absolute);
  } catch {
    const parent = await realpath(dirname(absolute)).catch(() => dirname(absolute));
    return join(parent, basename(absolute));
  }
};

/** Throws unless `mountPoint` can be mounted on; detaches a dead mount of ours. */
const makeReady = async (mountPoint: string): Promise<void> => {
  const mounted = await mountAt(mountPoint);
  const found = await statWithin(mountPoint);
  if (mounted?.type === MOUNT_TYPE) {
    if (found !== 'dead') {
      throw new TuskError('busy', `${mounted.source} is already mounted at ${mountPoint}`, {
        details: { mountPoint, source: mounted.source },
      });
    }
    await unmount(mountPoint, { lazy: true });
    return makeReady(mountPoint);
  }
  if (found === 'directory') {
    if ((await readdir(mountPoint)).length === 0) return;
    throw new TuskError(
      'mount_failed',
      `${mountPoint} is not empty: mounting would hide its files; choose an empty directory`,
      { details: { mountPoint } },
    );
  }
  if (found === 'ENOENT')
    throw new TuskError('not_found', `${mountPoint} does not exist: make the directory first`);
  throw new TuskError(
    'mount_failed',
    found === 'other'
      ? `${mountPoint} is not a directory`
      : `${mountPoint} cannot be looked at (${found})`,
    { details: { mountPoint } },
  );
};

/** `directory`, `other`, an error's code, or `no answer`. */
const statWithin = async (path: string): Promise<string> => {
  const deadline = Promise.withResolvers<string>();
  const timer = setTimeout(() => deadline.resolve('no answer'), STAT_DEADLINE_MS);
  // The kernel remembers the attributes of a dead mount's root; figures it has to ask for.
  const looked = Promise.all([stat(path), statfs(path)]).then(
    ([found]) => (found.isDirectory() ? 'directory' : 'other'),
    error => (isDeadMount(error) ? 'dead' : (systemCode(error) ?? 'no answer')),
  );
  try {
    return await Promise.race([looked, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
};

/** What went wrong in words that tell the user what to do. */
const mountError = (mountPoint: string, { step, errno, message }: MountOutcome): TuskError => {
  const details = { mountPoint, step, errno };
  if (step === 'device') {
    return new TuskError(
      'no_fuse',
      `/dev/fuse cannot be opened (${message}): load the kernel's fuse module (modprobe fuse), or give this container the device`,
      { details },
    );
  }
  if (step === 'helper' && errno === Errno.ENOENT) {
    return new TuskError(
      'no_fuse',
      'fusermount3 is missing: install the package fuse3, or mount as root',
      { details },
    );
  }
  if (errno === Errno.EPERM || errno === Errno.EACCES) {
    return new TuskError(
      'mount_failed',
      `mounting at ${mountPoint} is not permitted (${message}): the right to mount (CAP_SYS_ADMIN) is missing here`,
      { details },
    );
  }
  return new TuskError('mount_failed', `${mountPoint}: ${message}`, { details });
};
