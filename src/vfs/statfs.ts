/**
 * Figures for df: content that the volume holds, and what the local disk can still stage. The
 * disk is asked at most once a second and never while the kernel waits.
 */
import { statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import { NAME_BYTES_MAX } from '../base/limits.ts';
import { log } from '../base/log.ts';
import type { StatFs } from '../fuse/filesystem.ts';
import type { Index } from '../meta/types.ts';

const BLOCK_BYTES = 4096;
const FRESH_MS = 1000;
/** Inode numbers are never used up; programs want to see a large figure. */
const FREE_INODES = 2 ** 31;

/** Free space of the disk under the state directory, at most a second old when asked often. */
export class DiskSpace {
  readonly #directory: string;
  readonly #clock: Clock;
  #availableBytes: number;
  #askedMs: number;

  constructor(directory: string, clock: Clock) {
    const disk = statfsSync(directory);
    this.#directory = directory;
    this.#clock = clock;
    this.#availableBytes = disk.bavail * disk.bsize;
    this.#askedMs = clock.monotonicMs();
  }

  /** Bytes that this user may still write, as last heard; asks again behind the scenes. */
  availableBytes(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#askedMs >= FRESH_MS) {
      this.#askedMs = nowMs;
      statfs(this.#directory).then(
        disk => {
          this.#availableBytes = disk.bavail * disk.bsize;
        },
        error => log('vfs').warn({ error: messageOf(error) }, 'free space of the disk is unknown'),
      );
    }
    return this.#availableBytes;
  }
}

/** The answer to statfs(2); `sizeBytes` is what its owner says the drive holds. */
export const volumeFigures = (
  index: Index,
  disk: DiskSpace,
  sizeBytes: number | undefined,
): StatFs => {
  const totals = index.totals();
  const used = Math.ceil(totals.contentBytes / BLOCK_BYTES);
  const free =
    sizeBytes === undefined
      ? Math.floor(index.roomBytes(disk.availableBytes()) / BLOCK_BYTES)
      : Math.max(0, Math.floor(sizeBytes / BLOCK_BYTES) - used);
  return {
    bsize: BLOCK_BYTES,
    blocks: used + free,
    bfree: free,
    bavail: free,
    files: totals.inodes + FREE_INODES,
    ffree: FREE_INODES,
    namelen: NAME_BYTES_MAX,
  };
};
