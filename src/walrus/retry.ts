/**
 * The one retry policy of this room: exponential backoff with jitter, led by the kind of the error
 * alone. Only transient errors are tried again, and an aborted wait ends at once.
 */

import { abortError } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { isTransient, TuskError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

/** How often and how patiently. */
export interface RetryPolicy {
  readonly tries: number;
  readonly baseMs: number;
  readonly maxMs: number;
  /** No try begins later than this after the first. */
  readonly withinMs?: number;
}

/** Time and chance, passed in so that runs can be replayed. */
export interface Parts {
  readonly clock: Clock;
  readonly random: Random;
}

/** Wait before try number `failed + 1`: doubles up to `maxMs`, of which the upper half is jitter. */
export const backoffMs = (policy: RetryPolicy, failed: number, random: Random): number => {
  const full = Math.min(policy.maxMs, policy.baseMs * 2 ** (failed - 1));
  return full / 2 + (random.below(1024) / 1024) * (full / 2);
};

/** Sleeps; rejects with `aborted` or `timeout` when the signal fires. */
export const pause = async (
  clock: Clock,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<void> => {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (signal?.aborted) throw abortError(signal);
    throw error;
  }
};

/**
 * Calls `attempt` until it succeeds, fails for good (not transient, or aborted), or the tries are
 * used up; then rejects with the last error. A node's wish (`retryAfterMs` in the details) is kept.
 */
export const retry = async <T>(
  policy: RetryPolicy,
  parts: Parts,
  signal: AbortSignal | undefined,
  attempt: (tryNumber: number) => Promise<T>,
): Promise<T> => {
  const endMs = parts.clock.monotonicMs() + (policy.withinMs ?? Number.POSITIVE_INFINITY);
  for (let failed = 0; ; ) {
    try {
      return await attempt(failed + 1);
    } catch (error) {
      failed++;
      if (signal?.aborted) throw abortError(signal);
      if (!isTransient(error) || failed >= policy.tries) throw error;
      const wish = error instanceof TuskError ? Number(error.details.retryAfterMs ?? 0) : 0;
      const ms = Math.max(
        backoffMs(policy, failed, parts.random),
        Math.min(wish, policy.maxMs * 4),
      );
      if (parts.clock.monotonicMs() + ms >= endMs) throw error;
      await pause(parts.clock, ms, signal);
    }
  }
};
