/**
 * The time that files are stamped with. The kernel stamps what is written through its cache, and does
 * so with a clock that stands still between its ticks (4 ms). A finer one beside it would make files
 * look newer than others that were written after them.
 */
import { native } from '../native.ts';

/** Nanoseconds are taken from this second on, as long as they are exact. */
let since = Math.floor(Date.now() / 1000);
const EXACT_NS_MAX = 2 ** 52;

/** Seconds since 1970 and nanoseconds, by the kernel's clock for files. */
export const fileTime = (): readonly [seconds: number, nanoseconds: number] => {
  const ns = native.coarseNanoseconds(since);
  const seconds = Math.floor(ns / 1e9);
  const time = [since + seconds, ns - seconds * 1e9] as const;
  // The next one is exact again, also after the clock was set.
  if (Math.abs(ns) > EXACT_NS_MAX) since = time[0];
  return time;
};
