/** Waiting out what passes by itself: transient errors are tried again for ever, never in a spin. */
import type { Clock } from '../base/clock.ts';
import { isTransient, messageOf, TuskError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

const WAIT_MS_MIN = 500;
const WAIT_MS_MAX = 30_000;

/** Throws `aborted` once the signal has fired. */
export const checkAborted = (signal: AbortSignal): void => {
  if (signal.aborted)
    throw new TuskError('aborted', 'the flush was interrupted; it goes on where it stopped', {
      cause: signal.reason,
    });
};

/** Sleeps `ms`, or throws `aborted`. */
export const pause = async (clock: Clock, ms: number, signal: AbortSignal): Promise<void> => {
  checkAborted(signal);
  await clock.sleep(ms, signal).catch(() => checkAborted(signal));
};

/** Calls `attempt` until it succeeds or fails for good; `onWait` hears why it waits ('' when it goes on). */
export const patiently = async <T>(
  parts: { clock: Clock; random: Random },
  signal: AbortSignal,
  onWait: (reason: string) => void,
  attempt: () => Promise<T>,
): Promise<T> => {
  for (let failed = 0; ; failed++) {
    checkAborted(signal);
    try {
      const value = await attempt();
      if (failed > 0) onWait('');
      return value;
    } catch (error) {
      checkAborted(signal);
      if (!isTransient(error) || isExpiry(error)) throw error;
      onWait(messageOf(error));
    }
    const full = Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** Math.min(failed, 16));
    await pause(parts.clock, full / 2 + parts.random.below(Math.ceil(full / 2)), signal);
  }
};

/** Will the same bytes never execute any more? Then another transaction must be built. */
export const isExpiry = (error: unknown): boolean =>
  error instanceof TuskError && error.code === 'tx_expired';
