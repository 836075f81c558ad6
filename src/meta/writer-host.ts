/** The front's side of the index writer: starts the thread, tells it what is synced, hears what is applied. */
import { Worker } from 'node:worker_threads';
import { TuskError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { workerUrl } from '../base/worker.ts';
import type { LogPosition } from '../log/record.ts';
import type { FromWriter, LastAnswer, ToWriter, WriterSettings } from './messages.ts';
import type { TailPiece } from './tails.ts';

/**
 * How long synced records wait for company: a transaction costs far more than a record, and a
 * program that syncs every few writes would pay for hundreds of them a second.
 */
const APPLY_AFTER_MS = 60;

/** What the front does about the writer's progress. */
export interface WriterEvents {
  applied(seq: Seq): void;
  durable(seq: Seq): void;
  fatal(error: Error): void;
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

/** A running index writer. */
export class WriterHost {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  /** Wakes a writer that waits for room on the disk, so that closing never hangs. */
  readonly #ending = new Int32Array(new SharedArrayBuffer(4));
  #nextId = 1;
  /** Synced, but the writer was not told yet. */
  #toApply: Seq | undefined;
  #timer: NodeJS.Timeout | undefined;
  #events: WriterEvents | undefined;
  #failure: Error | undefined;
  /** Set once the log is replayed. */
  readonly ready: Promise<{ end: LogPosition; durable: Seq; lastAnswer: LastAnswer | undefined }>;

  constructor(settings: Omit<WriterSettings, 'ending'>) {
    this.#worker = new Worker(workerUrl(import.meta.url, './writer'), {
      workerData: { ...settings, ending: this.#ending.buffer },
    });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: FromWriter) => {
        if (message.type === 'ready') resolve(message);
        else this.#hear(message, reject);
      });
      this.#worker.on('error', error => this.#fail(error, reject));
      this.#worker.on('exit', () => this.#fail(new Error('it ended'), reject));
    });
  }

  listen(events: WriterEvents): void {
    this.#events = events;
  }

  /** Records up to `seq` are synced: they are applied soon, and before anything asked for later. */
  apply(seq: Seq): void {
    this.#toApply = seq;
    this.#timer ??= setTimeout(() => this.#applyNow(), APPLY_AFTER_MS).unref();
  }

  /** Makes SQLite durable with all that was applied. */
  checkpoint(): Promise<void> {
    return this.#ask(id => ({ type: 'checkpoint', id }));
  }

  /** Copies both databases, as of everything that `apply` named before this call. */
  copy(directory: string): Promise<void> {
    return this.#ask(id => ({ type: 'copy', id, directory }));
  }

  /** Keeps parts of last pages; they outlive the process when this resolves, or could not be kept. */
  keep(pieces: TailPiece[]): Promise<void> {
    return this.#ask(id => ({ type: 'keep', id, pieces }));
  }

  /** From now on no write that failed is tried again: closing never waits for room on the disk. */
  hurry(): void {
    Atomics.store(this.#ending, 0, 1);
    Atomics.notify(this.#ending, 0);
  }

  /** Applies what was named, checkpoints and ends the thread. */
  async close(): Promise<void> {
    this.#worker.removeAllListeners('exit');
    this.hurry();
    const ended = new Promise(resolve => this.#worker.once('exit', resolve));
    await this.#ask(id => ({ type: 'close', id })).finally(() => this.#worker.terminate());
    await ended;
  }

  /** Ends the thread at once, as a crash would. */
  async kill(): Promise<void> {
    clearTimeout(this.#timer);
    this.#worker.removeAllListeners('exit');
    await this.#worker.terminate();
  }

  #applyNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#toApply === undefined) return;
    this.#worker.postMessage({ type: 'apply', seq: this.#toApply } satisfies ToWriter);
    this.#toApply = undefined;
  }

  #ask(make: (id: number) => ToWriter): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#applyNow();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage(make(id));
    });
  }

  #hear(message: Exclude<FromWriter, { type: 'ready' }>, reject: (error: Error) => void): void {
    switch (message.type) {
      case 'applied':
        this.#events?.applied(message.seq);
        return;
      case 'durable':
        this.#events?.durable(message.seq);
        return;
      case 'fatal':
        this.#fail(new Error(message.message), reject);
        return;
      case 'done':
        this.#waiting.get(message.id)?.resolve();
        this.#waiting.delete(message.id);
        return;
      case 'failed':
        this.#waiting
          .get(message.id)
          ?.reject(new TuskError('io', `the index could not be written: ${message.message}`));
        this.#waiting.delete(message.id);
        return;
    }
  }

  #fail(cause: Error, reject: (error: Error) => void): void {
    if (this.#failure !== undefined) return;
    const error = new TuskError(
      'io',
      `the index writer failed: ${cause.message}; everything answered is safe in the log: check the disk, then mount again`,
      { cause, kind: 'permanent' },
    );
    this.#failure = error;
    reject(error);
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    this.#events?.fatal(error);
  }
}
