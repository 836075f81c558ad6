/**
 * Who may use how much of the disk under the state directory: the log keeps back a reserve for
 * pages that the kernel has accepted, and leaves room for a flush; the cache leaves room for both.
 */
import { readFileSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TuskError } from '../base/errors.ts';
import { FLUSH_ROOM_BYTES, SEGMENT_BYTES } from '../base/limits.ts';
import { BALLAST_BYTES } from '../log/ballast.ts';
import type { VolumePaths } from '../volume/paths.ts';

/** The index, its copy in a flush, and the copy kept from the last checkpoint. */
const INDEX_COPIES = 3;
/** Part of the kernel's dirty limit that one FUSE mount may take (its bdi's max_ratio). */
const FUSE_DIRTY_SHARE = 0.01;
const CACHE_FREE_BYTES_MIN = 2 ** 30;

/** What each part of a mounted volume is told. */
export interface DiskPlan {
  /** Log space for what the kernel has accepted already. */
  readonly reserveBytes: number;
  /** What the log's growth leaves free; asked anew each time. */
  readonly keepFreeBytes: () => number;
  /** What the cache leaves free, and the most that it may take. */
  readonly cacheFreeBytesMin: number;
  readonly cacheBytesMax: number;
}

const numberIn = (path: string): number => Number(readFileSync(path, 'utf8'));

/** Most bytes that the kernel holds back for one FUSE mount. */
const dirtyBytesMax = (): number => {
  const memory = Number(/^MemTotal: +(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]);
  const fixed = numberIn('/proc/sys/vm/dirty_bytes');
  const ratio = numberIn('/proc/sys/vm/dirty_ratio') / 100;
  return FUSE_DIRTY_SHARE * (fixed > 0 ? fixed : ratio * memory * 1024);
};

/** Bytes of a file; 0 if there is none. */
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const inMiB = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/**
 * Divides the disk. Throws `disk_full` if the disk could not even serve an empty volume, whatever
 * is on it: such a mount would refuse every write.
 */
export const planDisk = (paths: VolumePaths, cacheBytesMax: number): DiskPlan => {
  const { blocks, bsize } = statfsSync(paths.root);
  // One segment more: records do not fill a segment to its end.
  const segments = Math.ceil(dirtyBytesMax() / SEGMENT_BYTES) + 1;
  const reserveBytes = segments * SEGMENT_BYTES;
  const keepFreeBytes = () =>
    FLUSH_ROOM_BYTES + INDEX_COPIES * sizeOf(join(paths.index, 'index.db'));
  const needed = keepFreeBytes() + reserveBytes + SEGMENT_BYTES + BALLAST_BYTES;
  if (blocks * bsize < needed)
    throw new TuskError(
      'disk_full',
      `the disk of ${paths.root} has ${inMiB(blocks * bsize)}, too little to stage files and flush them: ${inMiB(needed)} is the least. Nothing was mounted, and what is staged there is safe; use a larger disk (TUSKFS_STATE_DIR says where state lies)`,
      { kind: 'permanent' },
    );
  const share = (blocks * bsize) / 4;
  return {
    reserveBytes,
    keepFreeBytes,
    cacheFreeBytesMin: Math.max(
      Math.min(CACHE_FREE_BYTES_MIN, share),
      keepFreeBytes() + 2 * SEGMENT_BYTES,
    ),
    cacheBytesMax: Math.min(cacheBytesMax, Math.floor(2 * share)),
  };
};
