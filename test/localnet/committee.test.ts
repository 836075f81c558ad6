/** Shards by stake: the contract's own cases, and what must hold whatever the stakes are. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { apportion, transition } from '../../src/localnet/ledger/committee.ts';

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

const even = [25_000, 25_000, 25_000, 25_000];
const uneven = [50_000, 30_000, 15_000, 5_000];
const mixed = [50_000, 50_000, 30_000, 15_000, 15_000, 5_000];

test.each<[number, number[], number[]]>([
  [4, even, [1, 1, 1, 1]],
  [778, even, [195, 195, 194, 194]],
  [1000, even, [250, 250, 250, 250]],
  [4, uneven, [2, 2, 0, 0]],
  [777, uneven, [389, 234, 116, 38]],
  [1000, uneven, [500, 300, 150, 50]],
  [4, mixed, [2, 1, 1, 0, 0, 0]],
  [777, mixed, [236, 236, 142, 70, 70, 23]],
  [1000, mixed, [303, 303, 182, 91, 91, 30]],
  [7, even, [2, 2, 2, 1]],
  [6, even, [2, 2, 1, 1]],
  [7, [200, 200, 200, 100], [2, 2, 2, 1]],
  [9, [200, 200, 200, 100, 100, 100], [2, 2, 2, 1, 1, 1]],
  [18, [780_000, 650_000, 520_000, 390_000, 260_000], [6, 5, 4, 2, 1]],
  [5, [1, 0, 0], [4, 1, 0]],
  [3, [1_000_000, 999_999], [2, 1]],
  [500, [1_000_000_000_000, 900_000_000_000, 100_000_000_000], [250, 225, 25]],
])('%i shards by the stakes %j, as the contract’s own tests have it', (nShards, stakes, shards) => {
  expect(apportion(stakes.map(BigInt), nShards)).toEqual(shards);
});

test('genesis stakes give back the shards that they stand for', () => {
  const weights = [12, 11, 10, 9, 9, 8, 8, 8, 7, 6, 5, 4, 3];
  expect(
    apportion(
      weights.map(weight => BigInt(weight) * 10n ** 12n),
      100,
    ),
  ).toEqual(weights);
});

test('every shard has one owner, and no more move than must', () => {
  const stakes = fc.array(fc.bigInt({ min: 0n, max: 10n ** 15n }), { minLength: 4, maxLength: 30 });
  fc.assert(
    fc.property(stakes, fc.integer({ min: 40, max: 200 }), (values, nShards) => {
      fc.pre(values.some(stake => stake > 0n));
      const counts = apportion(values, nShards);
      expect(sum(counts)).toBe(nShards);
      const dealt = values.map(() => [] as number[]);
      for (let shard = 0; shard < nShards; shard++) dealt[shard % values.length]!.push(shard);
      const after = transition(dealt, counts);
      expect(after.map(shards => shards.length)).toEqual(counts);
      expect(new Set(after.flat()).size).toBe(nShards);
      const moved = after.map((shards, i) => shards.filter(one => !dealt[i]!.includes(one)).length);
      const must = counts.map((count, i) => Math.max(0, count - dealt[i]!.length));
      expect(moved).toEqual(must);
    }),
    { numRuns: 100 },
  );
});
