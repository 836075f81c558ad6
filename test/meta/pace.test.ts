import { afterEach, beforeEach, expect, test } from 'vitest';
import { ROOT_INO } from '../../src/base/ids.ts';
import { openSmall, scratchPlace, settled } from './support.ts';

let place: ReturnType<typeof scratchPlace>;
beforeEach(() => {
  place = scratchPlace();
});
afterEach(() => place.remove());

/** Milliseconds that `count` changes of the root's times take, without a turn of the event loop. */
const change = (index: Awaited<ReturnType<typeof openSmall>>, count: number): number => {
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const change = index.change();
    change.setInode(ROOT_INO, { mtime: i });
    expect(change.commit() === 0).toBe(true);
  }
  return performance.now() - start;
};

test('a writer that has fallen far behind slows changes down until it has caught up', async () => {
  const index = await openSmall(place, { segmentBytes: 16 * 2 ** 20 });
  change(index, 100_001);
  expect(change(index, 50)).toBeGreaterThanOrEqual(100);
  await settled(index);
  // The quickest of some: on a busy machine another process may take the processor in between.
  expect(Math.min(...[1, 2, 3, 4, 5].map(() => change(index, 50)))).toBeLessThan(50);
  await index.close();
});
