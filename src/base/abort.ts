/**
 * Deadlines and cancellation. A wait ends by its own deadline, by its caller's signal, or by its
 * result; listeners and timers are gone afterwards, so a long-lived signal gathers nothing.
 */
import { after } from './clock.ts';
import { TuskError } from './errors.ts';

/** A signal that follows another one and also fires after `ms`; `done` must be called. */
export interface Deadline {
  readonly signal: AbortSignal;
  readonly controller: AbortController;
  done(): void;
}

/** Links a new signal to `parent` and a deadline of `ms`, sleep of the machine counted (none when undefined). */
export const deadline = (parent: AbortSignal | undefined, ms: number | undefined): Deadline => {
  const controller = new AbortController();
  const follow = () => controller.abort(parent!.reason);
  if (parent?.aborted) follow();
  else parent?.addEventListener('abort', follow, { once: true });
  const stop =
    ms === undefined
      ? undefined
      : after(ms, () => controller.abort(new TuskError('timeout', `no answer within ${ms} ms`)));
  return {
    signal: controller.signal,
    controller,
    done: () => {
      stop?.();
      parent?.removeEventListener('abort', follow);
    },
  };
};

/** Runs `work` with a signal that fires with `parent` or after `ms`. */
export const within = async <T>(
  parent: AbortSignal | undefined,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> => {
  const limit = deadline(parent, ms);
  try {
    return await work(limit.signal);
  } catch (error) {
    if (limit.signal.aborted) throw abortError(limit.signal);
    throw error;
  } finally {
    limit.done();
  }
};

/** The error for work that a signal ended: `timeout` if a deadline did it, else `aborted`. */
export const abortError = (signal: AbortSignal): TuskError => {
  const reason: unknown = signal.reason;
  if (reason instanceof TuskError) return reason;
  if (reason instanceof DOMException && reason.name === 'TimeoutError') {
    return new TuskError('timeout', 'the deadline of this operation has passed', { cause: reason });
  }
  return new TuskError('aborted', 'the operation was cancelled', { cause: reason });
};

/** Throws if the signal has fired. */
export const throwIfAborted = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted) throw abortError(signal);
};

/** Settles with `promise`, or rejects as soon as the signal fires; `promise` itself runs on. */
export const raceSignal = <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    // Heard of in any case: a rejection that nobody hears of ends the process.
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
