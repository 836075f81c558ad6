import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LookupCounts } from '../../src/vfs/lookup-counts.ts';

const inode = fc.oneof(fc.integer({ min: 1, max: 1100 }), fc.integer({ min: 1, max: 2 ** 53 - 1 }));

test('counts are those of a plain map', () => {
  const steps = fc.array(fc.tuple(inode, fc.integer({ min: 0, max: 3 })), { maxLength: 200 });
  fc.assert(
    fc.property(steps, taken => {
      const counts = new LookupCounts();
      const model = new Map<number, number>();
      for (const [ino, lookups] of taken) {
        const held = model.get(ino) ?? 0;
        const now = lookups === 0 ? held + 1 : Math.max(0, held - lookups);
        if (lookups === 0) counts.add(ino);
        else expect(counts.take(ino, lookups)).toBe(now);
        model.set(ino, now);
        for (const [known, count] of model) expect(counts.get(known)).toBe(count);
      }
      counts.clear();
      for (const known of model.keys()) expect(counts.get(known)).toBe(0);
    }),
  );
});
