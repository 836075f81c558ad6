/**
 * Limits of bytes a second, the same all day or by a timetable: what they look like as text, and
 * the bucket that keeps to them. Times of day are the machine's local ones.
 */
import { raceSignal, throwIfAborted } from './abort.ts';
import type { Clock } from './clock.ts';
import { TuskError } from './errors.ts';

/** From a minute of the day on, so many bytes a second; undefined: as fast as it goes. */
export interface RateEntry {
  readonly fromMinute: number;
  readonly bytesPerSecond: number | undefined;
}

/** Entries by the time of day, at least one; before the first of a day the last one holds. */
export type RatePlan = readonly RateEntry[];

/** No limit at any time. */
export const UNLIMITED: RatePlan = [{ fromMinute: 0, bytesPerSecond: undefined }];

const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
};

const wrong = (text: string): TuskError =>
  new TuskError(
    'usage',
    `${JSON.stringify(text)} is no rate: use bytes a second with a unit, like 512K or 10M, or off, or a timetable like "08:00,512K 18:00,10M 23:00,off"`,
  );

const parseRate = (text: string, whole: string): number | undefined => {
  if (text.toLowerCase() === 'off') return undefined;
  const match = /^(\d+(?:\.\d+)?)(?:([KMG])(?:i?B)?|(B))(?:\/s)?$/i.exec(text);
  const bytes = Number(match?.[1]) * UNIT_BYTES[(match?.[2] ?? match?.[3] ?? 'B').toUpperCase()]!;
  if (match === null || bytes < 1 || bytes > Number.MAX_SAFE_INTEGER) throw wrong(whole);
  return bytes;
};

/** A rate (`10M`, `off`) or a timetable (`08:00,512K 18:00,off`); throws `usage`. */
export const parseRatePlan = (text: string): RatePlan => {
  const words = text.trim().split(/\s+/);
  if (words.length === 1 && !words[0]!.includes(','))
    return [{ fromMinute: 0, bytesPerSecond: parseRate(words[0]!, text) }];
  const entries = words.map((word): RateEntry => {
    const match = /^([01]?\d|2[0-3]):([0-5]\d),(.+)$/.exec(word);
    if (match === null) throw wrong(text);
    const fromMinute = Number(match[1]) * 60 + Number(match[2]);
    return { fromMinute, bytesPerSecond: parseRate(match[3]!, text) };
  });
  if (new Set(entries.map(({ fromMinute }) => fromMinute)).size < entries.length)
    throw new TuskError('usage', `${JSON.stringify(text)} names a time of day twice`);
  return entries.sort((a, b) => a.fromMinute - b.fromMinute);
};

const formatRate = (bytes: number | undefined): string => {
  if (bytes === undefined) return 'off';
  const unit = ['G', 'M', 'K'].find(name => bytes % UNIT_BYTES[name]! === 0) ?? 'B';
  return `${bytes / UNIT_BYTES[unit]!}${unit}`;
};

/** The text that `parseRatePlan` takes. */
export const formatRatePlan = (plan: RatePlan): string => {
  if (plan.length === 1) return formatRate(plan[0]!.bytesPerSecond);
  const two = (value: number) => String(value).padStart(2, '0');
  return plan
    .map(({ fromMinute, bytesPerSecond }) => {
      const time = `${two(Math.floor(fromMinute / 60))}:${two(fromMinute % 60)}`;
      return `${time},${formatRate(bytesPerSecond)}`;
    })
    .join(' ');
};

/** Bytes a second at a time (ms since 1970). */
export const rateAt = (plan: RatePlan, nowMs: number): number | undefined => {
  const now = new Date(nowMs);
  const minute = now.getHours() * 60 + now.getMinutes();
  const entry = plan.findLast(({ fromMinute }) => fromMinute <= minute) ?? plan.at(-1)!;
  return entry.bytesPerSecond;
};

/** A new plan and a new time of day take effect within this time. */
const LOOK_MS = 1_000;

/**
 * A bucket of debt: what is taken is owed and paid off at the rate; whoever comes while something
 * is owed waits, first come, first served. So bytes of any size pass, and the mean keeps to the rate.
 */
export class RateLimiter {
  readonly #clock: Clock;
  #plan: RatePlan = UNLIMITED;
  #owedBytes = 0;
  #settledMs: number;
  #waiting = 0;
  #turn: Promise<void> = Promise.resolve();
  #changed = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#settledMs = clock.monotonicMs();
  }

  /** The plan in force. */
  get plan(): RatePlan {
    return this.#plan;
  }

  /** Another plan from now on, for those who wait too. */
  set plan(plan: RatePlan) {
    this.#settle();
    this.#plan = plan;
    this.#wake();
  }

  /** Waits for its turn to move `bytes`; rejects when the signal fires. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#waiting === 0 && this.#settle() === undefined) return;
    this.#waiting++;
    const paid = this.#turn.then(() => this.#pay(bytes, signal));
    this.#turn = paid.catch(() => {}).finally(() => this.#waiting--);
    await raceSignal(paid, signal);
  }

  /** Adds bytes that were moved already: who comes next waits the longer. */
  owe(bytes: number): void {
    if (this.#settle() !== undefined) this.#owedBytes += bytes;
  }

  /** Gives back bytes that were taken and never moved. */
  giveBack(bytes: number): void {
    if (bytes === 0) return;
    this.#owedBytes = Math.max(0, this.#owedBytes - bytes);
    this.#wake();
  }

  /** Who waits looks again. */
  #wake(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  async #pay(bytes: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      throwIfAborted(signal);
      const rate = this.#settle();
      if (rate === undefined) return;
      if (this.#owedBytes <= 0) break;
      const ms = Math.min(LOOK_MS, (this.#owedBytes / rate) * 1_000);
      const woken = AbortSignal.any([signal, this.#changed.signal]);
      await this.#clock.sleep(Math.ceil(ms), woken).catch(() => {});
    }
    this.#owedBytes += bytes;
  }

  /** Pays off what the time since the last look allows; the rate of now. */
  #settle(): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    const rate = rateAt(this.#plan, this.#clock.nowMs());
    const paid = rate === undefined ? this.#owedBytes : (rate * (nowMs - this.#settledMs)) / 1_000;
    this.#owedBytes = Math.max(0, this.#owedBytes - paid);
    this.#settledMs = nowMs;
    return rate;
  }
}
