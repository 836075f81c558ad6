/**
 * Which sliver belongs where: the arithmetic of Walrus' shard assignment. A blob's sliver pair i
 * lies in shard (i + r) mod n, where r is the blob ID read as one big-endian number mod n; primary
 * sliver i is in pair i, secondary sliver j in pair n − 1 − j.
 */
import type { SliverType } from '../../base/ids.ts';

/** r: by how many shards a blob's pairs are turned; `blobId` has 32 bytes. */
export const rotationOf = (blobId: Uint8Array, nShards: number): number => {
  let r = 0;
  for (const byte of blobId) r = (r * 256 + byte) % nShards;
  return r;
};

/** The shard of a sliver pair. */
export const shardOfPair = (pair: number, rotation: number, nShards: number): number =>
  (pair + rotation) % nShards;

/** The sliver pair that a shard holds. */
export const pairOfShard = (shard: number, rotation: number, nShards: number): number =>
  (shard + nShards - rotation) % nShards;

/** Index of a pair's sliver on an axis; its own inverse, so also the pair of a sliver index. */
export const sliverOfPair = (pair: number, type: SliverType, nShards: number): number =>
  type === 'primary' ? pair : nShards - 1 - pair;

/** The other axis. */
export const orthogonal = (type: SliverType): SliverType =>
  type === 'primary' ? 'secondary' : 'primary';

/** Shards of node `index` of `nodes`: dealt round, so that neighbouring slivers lie on different nodes. */
export const dealtShards = (index: number, nodes: number, nShards: number): number[] => {
  const shards: number[] = [];
  for (let shard = index; shard < nShards; shard += nodes) shards.push(shard);
  return shards;
};

/** Shards of node `index` where each node has its weight: consecutive runs. */
export const weightedShards = (index: number, weights: readonly number[]): number[] => {
  const first = weights.slice(0, index).reduce((sum, weight) => sum + weight, 0);
  return Array.from({ length: weights[index]! }, (_, i) => first + i);
};
