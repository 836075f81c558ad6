/**
 * Time as a part that is passed in, so that a run can be replayed. `nowMs`/`nowNs` is the wall
 * clock; `monotonicMs` counts suspended time and never goes back.
 */
import { readFileSync } from 'node:fs';

export interface Clock {
  /** Milliseconds since 1970 (wall clock). */
  nowMs(): number;
  /** Milliseconds of a clock that never goes back. */
  monotonicMs(): number;
  /** Resolves after `ms`, sleep counted; rejects with the signal's reason if it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** What the machine says of time. */
export interface TimeSource {
  /** Milliseconds of a clock that stands still while the machine sleeps. */
  awakeMs(): number;
  /** Milliseconds since the machine started, asleep too (CLOCK_BOOTTIME), to 10 ms. */
  uptimeMs(): number;
}

/** /proc/uptime is looked at this often, when time is asked for. */
const LOOK_MS = 1000;
/** A clock that runs on by less than this has not slept. */
const SLEEP_MS_MIN = 500;

/** A clock that never goes back, is fine, and counts sleep (suspend) at most a second after waking. */
export class BootTime {
  readonly #source: TimeSource;
  readonly #aheadMs: number;
  #lookedMs: number;
  #sleptMs = 0;

  constructor(source: TimeSource) {
    this.#source = source;
    this.#lookedMs = source.awakeMs();
    this.#aheadMs = source.uptimeMs() - this.#lookedMs;
  }

  nowMs(): number {
    const awakeMs = this.#source.awakeMs();
    if (awakeMs - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = awakeMs;
      const uptimeMs = this.#source.uptimeMs();
      // Looked up behind it: a thread that had to wait in between has not slept.
      const sleptMs = uptimeMs - this.#source.awakeMs() - this.#aheadMs;
      if (sleptMs - this.#sleptMs >= SLEEP_MS_MIN) this.#sleptMs = sleptMs;
    }
    return awakeMs + this.#sleptMs;
  }

  /** Milliseconds that the machine has slept, as of the last `nowMs`: another figure means another sleep. */
  get sleptMs(): number {
    return this.#sleptMs;
  }
}

/** The machine's time, sleep counted. */
export const bootTime = new BootTime({
  awakeMs: () => performance.now(),
  uptimeMs: () => Number(readFileSync('/proc/uptime', 'latin1').split(' ', 1)[0]) * 1000,
});

/** Calls back once `ms` have passed, sleep counted: at most `lookMs` late after one. The result calls it off. */
export const after = (
  ms: number,
  callback: () => void,
  time = bootTime,
  lookMs = LOOK_MS,
): (() => void) => {
  const endMs = time.nowMs() + ms;
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number): void => {
    timer = setTimeout(
      () => {
        const left = endMs - time.nowMs();
        if (left <= 0) callback();
        else wait(left);
      },
      Math.min(leftMs, lookMs),
    );
  };
  wait(ms);
  return () => clearTimeout(timer);
};

/** Who waits long wakes up this often to see whether the machine has slept. */
const WAIT_LOOK_MS = 30_000;

/** The clock of a machine; who waits long looks every `lookMs`. */
export const clockOf = (time: BootTime, lookMs = WAIT_LOOK_MS): Clock => ({
  nowMs: () => Date.now(),
  monotonicMs: () => time.nowMs(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        stop();
        reject(signal!.reason);
      };
      const onEnd = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const stop = after(ms, onEnd, time, lookMs);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
});

/** The machine's own clock. */
export const systemClock: Clock = clockOf(bootTime);
