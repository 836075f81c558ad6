/**
 * Room on the disk for one pack: its sealed file and all its slivers stand beside the log until
 * nodes have them. Where the disk is nearly full, packs become smaller; the log leaves enough free
 * for the smallest (FLUSH_ROOM_BYTES).
 */
import { statfsSync } from 'node:fs';
import { isDiskFull, messageOf, systemCode, TuskError } from '../base/errors.ts';
import { PACK_BYTES_MIN } from '../base/limits.ts';
import type { MatrixShape } from '../format/shape.ts';

/** Part of the free space that one pack may take: the log grows meanwhile. */
const SHARE = 1 / 2;

/** Bytes that a byte of a pack takes on disk: the sealed file, and every shard's two slivers. */
const expansion = ({ nPrimary, nSecondary }: MatrixShape, nShards: number): number =>
  1 + nShards / nPrimary + nShards / nSecondary;

/** Largest pack that the disk under `directory` has room for, at least PACK_BYTES_MIN. */
export const packBytesThatFit = (
  directory: string,
  shape: MatrixShape,
  nShards: number,
): number => {
  const { bavail, bsize } = statfsSync(directory);
  return Math.max(PACK_BYTES_MIN, Math.floor((bavail * bsize * SHARE) / expansion(shape, nShards)));
};

/** An error as it is, or what a full or failing disk means for the flush. */
export const explainDisk = (error: unknown, directory: string): unknown => {
  if (error instanceof TuskError && error.code === 'disk_full') return error;
  const code = systemCode(error) ?? '';
  const message = messageOf(error);
  if (isDiskFull(error) || /no space left on device|disk is full/i.test(message))
    return new TuskError(
      'disk_full',
      `the disk of ${directory} is too full to make a pack there. What was written before is safe and stays readable; free some space, the flush then goes on by itself`,
      { cause: error },
    );
  if (code.startsWith('SQLITE_'))
    return new TuskError(
      'io',
      `the copy of the index that a flush makes in ${directory} could not be read or written: ${message} (${code}). What was written before is safe and stays readable; check the disk and the space on it, the flush tries again by itself`,
      { cause: error },
    );
  return error;
};
