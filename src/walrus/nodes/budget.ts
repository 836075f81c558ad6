/** A budget of bytes in memory, shared by everything that runs at once: first come, first served. */
import { raceSignal } from '../../base/abort.ts';

interface Waiter {
  readonly bytes: number;
  readonly go: () => void;
  dropped: boolean;
}

/** Grants up to `limitBytes` at a time; a single larger demand is granted when nothing else is. */
export class ByteBudget {
  /** Most bytes at a time. */
  readonly limitBytes: number;
  /** How much is granted at a time now. */
  protected grantedBytes: number;
  /** What is held. */
  protected usedBytes = 0;
  readonly #queue: Waiter[] = [];

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
    this.grantedBytes = limitBytes;
  }

  /** Runs `work` while holding `bytes` of the budget; waiting ends with the signal. */
  async using<T>(bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#acquire(bytes, signal);
    try {
      return await work();
    } finally {
      this.usedBytes -= bytes;
      this.#advance();
    }
  }

  #fits(bytes: number): boolean {
    return this.usedBytes === 0 || this.usedBytes + bytes <= this.grantedBytes;
  }

  async #acquire(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#queue.length === 0 && this.#fits(bytes)) {
      this.usedBytes += bytes;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    let granted = false;
    const waiter: Waiter = {
      bytes,
      dropped: false,
      go: () => {
        granted = true;
        resolve();
      },
    };
    this.#queue.push(waiter);
    try {
      await raceSignal(promise, signal);
    } catch (error) {
      waiter.dropped = true;
      if (granted) this.usedBytes -= bytes;
      this.#advance();
      throw error;
    }
  }

  #advance(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (!next.dropped && !this.#fits(next.bytes)) return;
      this.#queue.shift();
      if (next.dropped) continue;
      this.usedBytes += next.bytes;
      next.go();
    }
  }
}
