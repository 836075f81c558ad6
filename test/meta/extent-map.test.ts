import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExtentMap } from '../../src/meta/extent-map.ts';
import type { Extent } from '../../src/meta/types.ts';

const SIZE = 4000;

/** What the byte behind `byte` shows if it continues it. */
const next = (byte: string | undefined): string =>
  byte === undefined ? '' : byte.replace(/\d+$/, digits => `${Number(digits) + 1}`);

test('an extent map behaves as an array of bytes, chunks and merging included', () => {
  const operation = fc.record({
    from: fc.nat(SIZE - 2),
    length: fc.integer({ min: 1, max: 60 }),
    kind: fc.constantFrom('log', 'frame', 'hole'),
    at: fc.nat(100_000),
  });
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 900 }), operations => {
      const map = new ExtentMap();
      // The model: for each byte what it shows, as text.
      const model: (string | undefined)[] = new Array(SIZE).fill(undefined);
      for (const { from, length: wanted, kind, at } of operations) {
        const length = Math.min(wanted, SIZE - from);
        const extent: Extent =
          kind === 'log'
            ? { offset: from, length, addr: at, frame: 0, at: 0 }
            : { offset: from, length, addr: -1, frame: 1 + (at % 3), at };
        const removed = map.replace(from, from + length, kind === 'hole' ? [] : [extent]);
        expect(removed.reduce((sum, e) => sum + e.length, 0)).toBe(
          model.slice(from, from + length).filter(byte => byte !== undefined).length,
        );
        for (let i = 0; i < length; i++) {
          model[from + i] =
            kind === 'hole'
              ? undefined
              : kind === 'log'
                ? `l${at + i}`
                : `f${extent.frame}:${at + i}`;
        }
      }
      const shown: (string | undefined)[] = new Array(SIZE).fill(undefined);
      let end = 0;
      for (const e of map) {
        expect(e.offset).toBeGreaterThanOrEqual(end);
        end = e.offset + e.length;
        for (let i = 0; i < e.length; i++)
          shown[e.offset + i] = e.addr >= 0 ? `l${e.addr + i}` : `f${e.frame}:${e.at + i}`;
      }
      expect(shown).toEqual(model);
      expect(map.bytes).toBe(model.filter(byte => byte !== undefined).length);
      expect(map.stagedBytes).toBe(model.filter(byte => byte?.startsWith('l')).length);
      expect([...map].length).toBe(map.count);
      // The fewest extents that show it: one begins wherever a byte does not continue the one before.
      const begins = model.filter((byte, i) => byte !== undefined && byte !== next(model[i - 1]));
      expect(map.count).toBe(begins.length);
      for (const offset of [0, 777, SIZE - 1]) {
        const data = model.findIndex((byte, i) => i >= offset && byte !== undefined);
        expect(map.seek(offset, 'data')).toBe(data);
        const hole = model.findIndex((byte, i) => i >= offset && byte === undefined);
        expect(map.seek(offset, 'hole')).toBe(hole < 0 ? SIZE : hole);
        const within = map.within(offset, offset + 50);
        expect(within.reduce((sum, e) => sum + e.length, 0)).toBe(
          model.slice(offset, offset + 50).filter(byte => byte !== undefined).length,
        );
      }
    }),
    { numRuns: 30 },
  );
});

test('100,000 extents change fast', () => {
  const map = new ExtentMap();
  const started = process.cpuUsage();
  for (let i = 0; i < 100_000; i++) {
    const offset = ((i * 7919) % 100_000) * 4096;
    map.replace(offset, offset + 100, [{ offset, length: 100, addr: i * 5000, frame: 0, at: 0 }]);
  }
  expect(map.count).toBe(100_000);
  // Processor time, for the machine may be busy with other things.
  expect(process.cpuUsage(started).user / 1000).toBeLessThan(15_000);
});
