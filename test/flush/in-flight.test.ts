/** Uploads of packs side by side: how many, and what becomes of failures. */
import { expect, test } from 'vitest';
import { PacksInFlight } from '../../src/flush/in-flight.ts';

const settle = () => new Promise(resolve => setImmediate(resolve));

test('two packs are on their way at a time, the next waits; after a failure no other starts', async () => {
  const packs = new PacksInFlight();
  const running: PromiseWithResolvers<void>[] = [];
  const upload = () => {
    const end = Promise.withResolvers<void>();
    running.push(end);
    return end.promise;
  };
  await packs.add(upload);
  await packs.add(upload);
  const third = packs.add(upload);
  await settle();
  expect(running).toHaveLength(2);
  running[1]!.resolve();
  await third;
  expect(running).toHaveLength(3);

  const fourth = packs.add(upload);
  running[0]!.reject(new Error('no space'));
  await expect(fourth).rejects.toThrow('no space');
  expect(running).toHaveLength(3);
  running[2]!.resolve();
  await expect(packs.arrived()).rejects.toThrow('no space');
  expect(packs.isEmpty).toBe(true);
});
