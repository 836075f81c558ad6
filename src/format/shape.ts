/**
 * Sizes of packs. Walrus lays a blob out as a matrix of symbols of an even number of bytes, so
 * its price moves in steps; a pack is padded to the next step, which costs nothing and hides its
 * exact size, and small packs to a power of two of steps.
 */
import { TuskError } from '../base/errors.ts';
import { SYMBOL_BYTES_MAX } from '../base/limits.ts';

/** Source symbols of a column and of a row of the committee's code (n − 2f and n − f). */
export interface MatrixShape {
  readonly nPrimary: number;
  readonly nSecondary: number;
}

/** Below this many steps sizes are rounded up to a power of two of steps. */
const STEPS_EXACT = 8;

/** Bytes of one step: symbols of two bytes in every cell. */
export const stepBytes = (shape: MatrixShape): number => 2 * shape.nPrimary * shape.nSecondary;

/** Largest blob that the code can carry. */
export const blobBytesMax = (shape: MatrixShape): number =>
  Math.floor(SYMBOL_BYTES_MAX / 2) * stepBytes(shape);

/** Size of a pack with that many bytes of content; `internal` if no blob can be that large. */
export const paddedBytes = (content: number, shape: MatrixShape): number => {
  const steps = Math.max(1, Math.ceil(content / stepBytes(shape)));
  const padded = steps < STEPS_EXACT ? 2 ** Math.ceil(Math.log2(steps)) : steps;
  const bytes = padded * stepBytes(shape);
  if (bytes > blobBytesMax(shape))
    throw new TuskError('internal', `a pack of ${content} bytes is larger than any blob`);
  return bytes;
};
