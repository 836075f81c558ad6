/**
 * Who holds which shards in the next epoch (contracts `staking_inner::dhondt` and
 * `committee::transition`): shards follow stake by D'Hondt's method, and as few as possible move.
 */

/** From so many nodes on none holds more than a tenth of all shards; fewer share more. */
const MIN_NODES_FOR_SHARDS_LIMIT = 20;
const SHARDS_LIMIT_DENOMINATOR = 10;

const shardsMax = (nodes: number, nShards: number): number =>
  nodes >= MIN_NODES_FOR_SHARDS_LIMIT
    ? Math.floor(nShards / SHARDS_LIMIT_DENOMINATOR)
    : Math.ceil((nShards * MIN_NODES_FOR_SHARDS_LIMIT) / (nodes * SHARDS_LIMIT_DENOMINATOR));

/** Shards of each node by stake (FROST); the earlier node goes first where quotients are equal. */
export const apportion = (stakes: readonly bigint[], nShards: number): number[] => {
  const total = stakes.reduce((sum, stake) => sum + stake, 0n);
  const max = shardsMax(stakes.length, nShards);
  const sure = total / BigInt(nShards + 1) + 1n;
  const shards = stakes.map(stake => Math.min(Number(stake / sure), max));
  for (let left = nShards - shards.reduce((a, b) => a + b, 0); left > 0; left--) {
    let best = -1;
    for (const [index, stake] of stakes.entries()) {
      if (shards[index] === max) continue;
      // stake / (shards + 1), compared without division.
      const isMore =
        best < 0 || stake * BigInt(shards[best]! + 1) > stakes[best]! * BigInt(shards[index]! + 1);
      if (isMore) best = index;
    }
    shards[best]! += 1;
  }
  return shards;
};

/** The next committee: who has too many gives its last shards, who has too few takes them. */
export const transition = (
  before: readonly (readonly number[])[],
  counts: readonly number[],
): number[][] => {
  const moving: number[] = [];
  const after = before.map((shards, index) => {
    const kept = shards.slice(0, counts[index]);
    moving.push(...shards.slice(kept.length).reverse());
    return kept;
  });
  for (const [index, shards] of after.entries()) {
    while (shards.length < counts[index]!) shards.push(moving.pop()!);
  }
  return after;
};
