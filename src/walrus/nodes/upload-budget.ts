/**
 * How much is on its way to nodes at a time. A slow line that is given everything at once brings
 * nothing in time: all requests share it, all end by their deadlines, and what was sent is lost.
 */
import type { Clock } from '../../base/clock.ts';
import { TuskError } from '../../base/errors.ts';
import { ByteBudget } from './budget.ts';

/** An answer within this time says that the line takes more. */
const QUICK_MS = 5_000;
/** A request that was late says that it takes less, if no answer was quick for so long. */
const SLOW_MS = 20_000;
/** Never less than this is granted. */
const GRANTED_BYTES_MIN = 2 ** 20;

/** A budget that shrinks to what the line takes within a request's time, and grows again. */
export class UploadBudget extends ByteBudget {
  readonly #clock: Clock;
  #quickAtMs: number;
  #narrowedAtMs: number;

  constructor(limitBytes: number, clock: Clock) {
    super(limitBytes);
    this.#clock = clock;
    this.#quickAtMs = clock.monotonicMs();
    this.#narrowedAtMs = this.#quickAtMs;
  }

  /** Sends `bytes` that were granted, and learns from how long it took. */
  async send<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    try {
      const answer = await work();
      const nowMs = this.#clock.monotonicMs();
      if (nowMs - startMs < QUICK_MS) {
        this.#quickAtMs = nowMs;
        this.grantedBytes = Math.min(this.limitBytes, this.grantedBytes + bytes);
      }
      return answer;
    } catch (error) {
      if (error instanceof TuskError && error.code === 'timeout') this.#late();
      throw error;
    }
  }

  #late(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - Math.max(this.#quickAtMs, this.#narrowedAtMs) < SLOW_MS) return;
    this.#narrowedAtMs = nowMs;
    this.grantedBytes = Math.max(GRANTED_BYTES_MIN, Math.floor(this.usedBytes / 4));
  }
}
