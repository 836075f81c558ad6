/**
 * Whether anything comes: asked, answered, or so many bytes of answers. On a slow line the slivers
 * of a read come side by side, none of them soon; who took that for lateness would ask for still
 * more, and get nothing.
 */
import { deadline } from '../../base/abort.ts';
import type { Clock } from '../../base/clock.ts';
import { TuskError } from '../../base/errors.ts';

/** Fewer bytes are none: a node that sends byte by byte is late. */
const MOVED_BYTES = 64 * 1024;

/** What moves in one read, over all of its requests. */
export class Movement {
  readonly #clock: Clock;
  #atMs: number;
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.monotonicMs();
  }

  /** Something was asked or answered. */
  now(): void {
    this.#atMs = this.#clock.monotonicMs();
    this.#bytes = 0;
  }

  /** Bytes of an answer came. */
  readonly bytes = (count: number): void => {
    this.#bytes += count;
    if (this.#bytes >= MOVED_BYTES) this.now();
  };

  /** True when nothing has moved for `ms`; false when `event` came before that, or the signal fired. */
  async quiet(event: Promise<unknown>, ms: number, signal: AbortSignal): Promise<boolean> {
    for (;;) {
      const atMs = this.#atMs;
      const leftMs = atMs + ms - this.#clock.monotonicMs();
      if (!(await quietFor(event, Math.max(0, leftMs), this.#clock, signal))) return false;
      if (this.#atMs === atMs) return true;
    }
  }
}

/** Nobody sees it, and there is one for every answer: an error made anew each time would cost more than the wait. */
const OVER = new TuskError('aborted', 'the wait is over');

/** True if `event` did not come within `ms`; false if it came, or the signal fired. */
const quietFor = async (
  event: Promise<unknown>,
  ms: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> => {
  const timer = deadline(signal, undefined);
  const quiet = clock.sleep(ms, timer.signal).then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([event.then(() => false), quiet]);
  } finally {
    timer.controller.abort(OVER);
    timer.done();
  }
};
