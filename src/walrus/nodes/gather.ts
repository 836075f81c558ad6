/**
 * Asking many for a few answers: as many requests at once as answers are still needed, the next
 * candidate for each that fails, and as many again whenever nothing came for a while (Movement). What is
 * still running when there is enough is aborted.
 */

import { abortError, deadline } from '../../base/abort.ts';
import type { Clock } from '../../base/clock.ts';
import { TuskError } from '../../base/errors.ts';
import { Movement } from './movement.ts';

/** Most requests of one gathering at once. */
const AT_ONCE_MAX = 64;

/** What a gathering does. */
export interface Gathering<T> {
  /** In the order in which they are asked. */
  readonly candidates: readonly T[];
  /** How many more answers are needed; 0 ends it. */
  readonly needed: () => number;
  /** How many answers a candidate gives at once; 1 if left out. */
  readonly weight?: (candidate: T) => number;
  /** Asks one; takes in its answer by itself, rejects if it gave none. `came` hears of bytes on the way. */
  readonly ask: (candidate: T, signal: AbortSignal, came: (bytes: number) => void) => Promise<void>;
  readonly hedgeMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Reason of requests that are no longer needed. */
export const noLongerNeeded = (): TuskError =>
  new TuskError('aborted', 'enough answers came from elsewhere');

/** True when there is enough, false when nobody is left to ask; rejects only when aborted. */
export const gather = async <T>(gathering: Gathering<T>): Promise<boolean> => {
  const { candidates, needed, ask, hedgeMs, clock, signal } = gathering;
  const weight = gathering.weight ?? (() => 1);
  const inner = deadline(signal, undefined);
  const movement = new Movement(clock);
  let next = 0;
  let running = 0;
  /** Answers that running requests are to bring. */
  let expected = 0;
  let extra = 0;
  let wake = Promise.withResolvers<void>();
  const start = (candidate: T): void => {
    const weighs = weight(candidate);
    running++;
    expected += weighs;
    ask(candidate, inner.signal, movement.bytes)
      .catch(() => {})
      .finally(() => {
        running--;
        expected -= weighs;
        wake.resolve();
      });
  };
  try {
    for (;;) {
      if (signal.aborted) throw abortError(signal);
      const want = needed();
      if (want <= 0) return true;
      while (next < candidates.length && running < AT_ONCE_MAX && expected < want + extra) {
        start(candidates[next++]!);
      }
      if (running === 0) return false;
      wake = Promise.withResolvers<void>();
      movement.now();
      if (await movement.quiet(wake.promise, hedgeMs, signal)) extra = 2 * expected - want;
    }
  } finally {
    inner.controller.abort(noLongerNeeded());
    inner.done();
  }
};
