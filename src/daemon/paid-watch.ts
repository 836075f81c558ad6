/** Keeps an eye on the paid time: what must not be overlooked goes to the log, once. */
import { log } from '../base/log.ts';
import { isDue, lastingEnd, loadPaid } from '../flush/paid.ts';
import type { EpochTime } from '../walrus/network.ts';
import { paidReport } from './paid.ts';
import type { PaidReport } from './report.ts';

/** How often the chain is asked how late it is when nobody else asks. */
const LOOK_MS = 3_600_000;

/** What a watch is made of. */
export interface PaidWatchParts {
  readonly journal: string;
  readonly epochsAhead: number;
  /** Asks the chain. */
  readonly ask: () => Promise<EpochTime>;
  /** Lets a flush renew what runs out. */
  readonly renew: () => void;
}

/** The watch of one mounted volume. */
export class PaidWatch {
  readonly #parts: PaidWatchParts;
  readonly #timer: NodeJS.Timeout;
  #time: EpochTime | undefined;
  #said = new Set<string>();
  /** Why the last flush could not renew what runs out; empty if it could. */
  notRenewed = '';
  /** Resolves when the chain has said for the first time how late it is, or did not answer. */
  readonly asked: Promise<unknown>;

  constructor(parts: PaidWatchParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
    this.asked = this.#look();
  }

  /** Until when the volume is paid, as of the last time that was heard of; `time` is newer, if it is one. */
  heard(time: EpochTime | null): PaidReport {
    if (time !== null) this.#time = time;
    const { journal, epochsAhead } = this.#parts;
    const report = paidReport(loadPaid(journal), this.#time, epochsAhead, this.notRenewed);
    for (const warning of report.warnings)
      if (!this.#said.has(warning)) log('daemon').warn(warning);
    this.#said = new Set(report.warnings);
    return report;
  }

  /** The epoch, as of the last time that was heard of. */
  get epoch(): number | undefined {
    return this.#time?.epoch;
  }

  /** Ends the watch. */
  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const time = await this.#parts.ask().catch(() => null);
    this.heard(time);
    const { journal, epochsAhead, renew } = this.#parts;
    const paid = loadPaid(journal);
    if (time === null || paid === undefined) return;
    const due = isDue(paid, time.epoch, lastingEnd(time.epoch, epochsAhead));
    if (due.files || due.checkpoint) renew();
  }
}
