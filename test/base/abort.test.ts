import { expect, test } from 'vitest';
import { raceSignal } from '../../src/base/abort.ts';

test('who waits no more does not leave a failure that nobody hears of', async () => {
  const unhandled: unknown[] = [];
  const hear = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', hear);
  const failing = Promise.withResolvers<never>();
  const stop = new AbortController();
  const waiting = raceSignal(failing.promise, stop.signal);
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  const late = Promise.withResolvers<never>();
  await expect(raceSignal(late.promise, stop.signal)).rejects.toMatchObject({ code: 'aborted' });
  for (const { reject } of [failing, late]) reject(new Error('no network'));
  await new Promise(resolve => setTimeout(resolve, 10));
  process.off('unhandledRejection', hear);
  expect(unhandled).toEqual([]);
});
