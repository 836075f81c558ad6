/** What an upload does with one committee, and how it learns that there is a newer one. */
import { type Deadline, deadline } from '../../base/abort.ts';
import { TuskError } from '../../base/errors.ts';
import type { Committee } from '../network.ts';
import type { FirstNodes } from './first-nodes.ts';

/** The committee; `fresh` reads it from the chain. */
export type ReadCommittee = (fresh: boolean, signal: AbortSignal) => Promise<Committee>;

/** One attempt with one committee, which ends early when the chain has a newer one. */
export class Round {
  readonly committee: Committee;
  readonly first: FirstNodes;
  readonly #read: ReadCommittee;
  readonly #limit: Deadline;
  #reading: Promise<void> | undefined;
  /** The newer committee. */
  next: Committee | undefined;

  constructor(read: ReadCommittee, committee: Committee, first: FirstNodes, signal: AbortSignal) {
    this.#read = read;
    this.committee = committee;
    this.first = first;
    this.#limit = deadline(signal, undefined);
  }

  get signal(): AbortSignal {
    return this.#limit.signal;
  }

  /** A node hints at a newer epoch: ends the round if the chain agrees. Hints of many nodes share a look. */
  isOld(): Promise<void> {
    this.#reading ??= this.#look().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #look(): Promise<void> {
    if (this.signal.aborted) return;
    const now = await this.#read(true, this.signal).catch(() => undefined);
    if (now === undefined || now.epoch <= this.committee.epoch) return;
    this.next ??= now;
    this.#limit.controller.abort(new TuskError('epoch_changed', `epoch ${now.epoch} has begun`));
  }

  end(): void {
    this.first.letAllGo();
    this.#limit.done();
  }
}
