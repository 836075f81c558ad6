/**
 * When flushes run: on `sync`, when enough is staged, when the oldest staged bytes have lingered,
 * when the disk is full, and again after a failure. While more is being written, enough is the
 * largest pack: a byte costs less there, and each pack carries a checkpoint. One runs at a time; whoever asks while one
 * runs gets the next, which includes what was answered before the question.
 */
import { explained } from '../base/addon.ts';
import type { Clock } from '../base/clock.ts';
import { isTransient, messageOf, TuskError } from '../base/errors.ts';
import { PACK_BYTES_MAX, PACK_TARGET_BYTES } from '../base/limits.ts';
import { log } from '../base/log.ts';
import type { CheckpointResult } from '../flush/types.ts';
import type { Index } from '../meta/types.ts';

/** How often the linger is looked at, while there is anything to be flushed. */
const LOOK_MS = 1000;
/** Pauses after a failed flush. */
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;

/** What a flush job is made of. */
export interface FlushJobParts {
  readonly index: Pick<Index, 'totals' | 'changes'>;
  readonly flush: () => Promise<CheckpointResult>;
  /** Could the log not grow when it last wanted to? */
  readonly isFull: () => boolean;
  /** Gives up cached bytes for the log's sake. */
  readonly makeRoom: () => Promise<void>;
  readonly lingerMs: number;
  readonly clock: Clock;
}

/** The one flush that runs, the next one, and the reasons to start one. */
export class FlushJob {
  readonly #parts: FlushJobParts;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  #running: Promise<CheckpointResult> | undefined;
  #next: Promise<CheckpointResult> | undefined;
  #failedMs = 0;
  #failures = 0;
  /** Changes of the tree that the last flush took with it, and when a later one was first seen. */
  #flushedChanges: number;
  #changedMs = 0;
  /** As the last look found them. */
  #seenChanges = -1;
  /** Why the last flush failed; empty after one that succeeded. */
  lastError = '';

  constructor(parts: FlushJobParts) {
    this.#parts = parts;
    // An earlier daemon may have left changes behind that no checkpoint has.
    this.#flushedChanges = -1;
    this.wake();
  }

  /** Something changes: it is looked at again and again until there is nothing left to do. */
  wake(): void {
    if (this.#isStopped) return;
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** True while a flush runs. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Checkpoints everything that was answered before this call. */
  checkpoint(): Promise<CheckpointResult> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    return this.#next;
  }

  /** As `checkpoint`, again and again while the reason is one that may pass; other errors reject. */
  async checkpointPatiently(signal: AbortSignal): Promise<CheckpointResult> {
    for (;;) {
      try {
        return await this.checkpoint();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await this.#parts.clock.sleep(RETRY_MS_MIN, signal);
      }
    }
  }

  /** No flush starts by itself any more. */
  stop(): void {
    this.#isStopped = true;
    this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #startNext(): Promise<CheckpointResult> {
    this.#next = undefined;
    return this.#start();
  }

  #start(): Promise<CheckpointResult> {
    const changes = this.#parts.index.changes();
    this.#running = this.#parts.flush().then(
      result => {
        this.#running = undefined;
        this.#flushedChanges = changes;
        this.#changedMs = 0;
        this.#failures = 0;
        this.lastError = '';
        return result;
      },
      error => {
        this.#running = undefined;
        this.#failures++;
        this.#failedMs = this.#parts.clock.monotonicMs();
        this.lastError = explained(error);
        log('daemon').warn({ error: this.lastError }, 'flush failed');
        throw error instanceof TuskError
          ? error
          : new TuskError('internal', this.lastError, { cause: error });
      },
    );
    return this.#running;
  }

  #look(): void {
    const { index, clock, lingerMs } = this.#parts;
    const full = this.#parts.isFull();
    const changes = index.changes();
    const isAtRest = changes === this.#seenChanges;
    this.#seenChanges = changes;
    if (full)
      this.#parts
        .makeRoom()
        .catch(error =>
          log('daemon').warn({ error: messageOf(error) }, 'the cache could not make room'),
        );
    if (this.#running !== undefined) return;
    const now = clock.monotonicMs();
    const pause = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(this.#failures, 10));
    if (this.#failures > 0 && now - this.#failedMs < pause) return;
    const { stagedBytes, oldestStagedMs } = index.totals();
    if (changes === this.#flushedChanges && stagedBytes === 0) {
      if (!full) this.#rest();
      return;
    }
    if (this.#changedMs === 0) this.#changedMs = now;
    const lingered =
      now - this.#changedMs >= lingerMs ||
      (oldestStagedMs > 0 && clock.nowMs() - oldestStagedMs >= lingerMs);
    const enough = stagedBytes >= (isAtRest ? PACK_TARGET_BYTES : PACK_BYTES_MAX);
    if (lingered || full || enough) this.checkpoint().catch(() => undefined);
  }
}
