/** Rates as text, by the time of day, and the bucket that keeps to them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { formatRatePlan, parseRatePlan, RateLimiter, rateAt } from '../../src/base/rate.ts';

const MiB = 2 ** 20;

/** Time that moves only when somebody sleeps. */
const stepClock = (startMs = 0) => {
  const state = { now: startMs };
  const clock: Clock = {
    nowMs: () => state.now,
    monotonicMs: () => state.now,
    sleep: async (ms, signal) => {
      if (signal?.aborted) throw signal.reason;
      state.now += ms;
    },
  };
  return { clock, state };
};

const at = (hours: number, minutes = 0): number => new Date(2026, 5, 1, hours, minutes).getTime();
const never = new AbortController().signal;

describe('text', () => {
  test.each([
    ['10M', 10 * MiB],
    ['512k', 512 * 1024],
    ['1.5MiB/s', 1.5 * MiB],
    ['2GB', 2048 * MiB],
    ['900B', 900],
    ['off', undefined],
  ])('%s', (text, rate) => {
    expect(parseRatePlan(text)).toEqual([{ fromMinute: 0, bytesPerSecond: rate }]);
  });

  test.each([
    '',
    '10',
    '0M',
    'fast',
    '25:00,1M',
    '08:00',
    '08:00,1M 9M',
    '-1M',
    '08:00,',
    '9e9M',
    '9999999999G',
  ])('refuses %s', text => {
    expect(() => parseRatePlan(text)).toThrow(/is no rate/);
  });

  test('refuses a timetable that says two things of one time', () => {
    expect(() => parseRatePlan('8:00,1M 18:00,off 08:00,2M')).toThrow(/names a time of day twice/);
  });

  test('what is printed is read back as the same', () => {
    const rate = fc.option(fc.integer({ min: 1, max: 2 ** 40 }), { nil: undefined });
    const minutes = fc.uniqueArray(fc.integer({ min: 0, max: 1439 }), { minLength: 2 });
    const times = minutes.map(all => all.sort((a, b) => a - b));
    const plan = fc.oneof(
      rate.map(bytesPerSecond => [{ fromMinute: 0, bytesPerSecond }]),
      times.chain(all =>
        fc.tuple(
          ...all.map(fromMinute => rate.map(bytesPerSecond => ({ fromMinute, bytesPerSecond }))),
        ),
      ),
    );
    fc.assert(
      fc.property(plan, entries => {
        expect(parseRatePlan(formatRatePlan(entries))).toEqual(entries);
      }),
    );
  });
});

test('a timetable: each entry holds until the next, the last one over midnight', () => {
  const plan = parseRatePlan('18:00,10M 08:00,512K 23:00,off');
  expect(rateAt(plan, at(8))).toBe(512 * 1024);
  expect(rateAt(plan, at(17, 59))).toBe(512 * 1024);
  expect(rateAt(plan, at(18))).toBe(10 * MiB);
  expect(rateAt(plan, at(23, 30))).toBeUndefined();
  expect(rateAt(plan, at(7, 59))).toBeUndefined();
});

test('the mean keeps to the rate, whatever the sizes, and those who wait are served in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 3 * MiB }), { minLength: 2, maxLength: 30 }),
      async sizes => {
        const { clock, state } = stepClock();
        const limiter = new RateLimiter(clock);
        limiter.plan = parseRatePlan('1M');
        const order: number[] = [];
        await Promise.all(
          sizes.map((bytes, i) => limiter.take(bytes, never).then(() => order.push(i))),
        );
        expect(order).toEqual(sizes.map((_, i) => i));
        // All but the last are paid off when the last one starts.
        const paid = sizes.slice(0, -1).reduce((sum, bytes) => sum + bytes, 0);
        const idealMs = (paid / MiB) * 1000;
        expect(state.now).toBeGreaterThanOrEqual(Math.floor(idealMs));
        expect(state.now).toBeLessThan(idealMs + 2 * sizes.length + 2);
      },
    ),
  );
});

test('without a limit nobody waits; a limit and its end take effect at once', async () => {
  const { clock, state } = stepClock();
  const limiter = new RateLimiter(clock);
  for (let i = 0; i < 100; i++) await limiter.take(MiB, never);
  expect(state.now).toBe(0);
  limiter.plan = parseRatePlan('1M');
  await limiter.take(5 * MiB, never);
  const waiting = limiter.take(MiB, never);
  await waiting;
  expect(state.now).toBeGreaterThanOrEqual(5_000);
  const before = state.now;
  limiter.plan = parseRatePlan('off');
  await limiter.take(MiB, never);
  expect(state.now).toBe(before);
});

test('what was taken and did not move is no debt', async () => {
  const { clock, state } = stepClock();
  const limiter = new RateLimiter(clock);
  limiter.plan = parseRatePlan('1M');
  await limiter.take(1, never);
  await limiter.take(5 * MiB, never);
  limiter.giveBack(4 * MiB);
  await limiter.take(MiB, never);
  expect(state.now).toBeGreaterThanOrEqual(1_000);
  expect(state.now).toBeLessThan(1_100);
});

test('the timetable changes under one who waits', async () => {
  const { clock, state } = stepClock(at(7, 59) + 50_000);
  const limiter = new RateLimiter(clock);
  limiter.plan = parseRatePlan('00:00,1K 08:00,off');
  await limiter.take(MiB, never);
  await limiter.take(MiB, never);
  expect(state.now).toBeLessThanOrEqual(at(8) + 1_000);
  expect(state.now).toBeGreaterThanOrEqual(at(8));
});

test('who gives up waiting rejects at once and owes nothing', async () => {
  const sleeping = Promise.withResolvers<void>();
  const { clock } = stepClock();
  const limiter = new RateLimiter({ ...clock, sleep: () => sleeping.promise });
  limiter.plan = parseRatePlan('1M');
  await limiter.take(MiB, never);
  const stop = new AbortController();
  const first = limiter.take(MiB, never);
  const second = limiter.take(100 * MiB, stop.signal);
  stop.abort();
  await expect(second).rejects.toMatchObject({ code: 'aborted' });
  limiter.plan = parseRatePlan('off');
  sleeping.resolve();
  await first;
  await limiter.take(MiB, never);
});
