/**
 * Buffers of slivers, used again: memory outside of the heap, asked for anew a thousand times, has
 * the collector mark the whole heap dozens of times.
 */

/** Buffers that wait for the next sliver are given up beyond this. */
const FREE_BYTES_MAX = 64 * 2 ** 20;

const free: Buffer[] = [];
let freeBytes = 0;

/** A buffer of that length, holding anything. */
export const take = (bytes: number): Buffer => {
  const at = free.findLastIndex(buffer => buffer.length === bytes);
  if (at < 0) return Buffer.allocUnsafeSlow(bytes);
  freeBytes -= bytes;
  return free.splice(at, 1)[0]!;
};

/** For the next who takes one: nobody else has it any more. */
export const giveBack = (buffer: Buffer): void => {
  free.push(buffer);
  freeBytes += buffer.length;
  while (freeBytes > FREE_BYTES_MAX) freeBytes -= free.shift()!.length;
};
