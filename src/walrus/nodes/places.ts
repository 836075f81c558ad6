/**
 * Where the parts of a blob lie (Walrus: shard of sliver pair i is (i + r) mod n, r the blob ID
 * read as one big-endian number mod n; the secondary sliver of pair i has index n − 1 − i), and
 * the bytes in which slivers travel: BCS SliverData {symbols {data bytes, symbol_size u16}, index u16}.
 */
import { type BlobId, blobIdToBytes, type SliverType } from '../../base/ids.ts';
import type { Committee, StorageNode } from '../network.ts';

/** Blob ID mod n: by how much the pairs are rotated over the shards. */
export const rotationOf = (blobId: BlobId, nShards: number): number => {
  let rest = 0;
  for (const byte of blobIdToBytes(blobId)) rest = (rest * 256 + byte) % nShards;
  return rest;
};

/** Sliver pair that a shard holds. */
export const pairOfShard = (shard: number, rotation: number, nShards: number): number =>
  (shard - rotation + nShards) % nShards;

/** Pair that a sliver belongs to; also its own inverse. */
export const pairOfSliver = (type: SliverType, index: number, nShards: number): number =>
  type === 'primary' ? index : nShards - 1 - index;

/** Node that holds a sliver. */
export const nodeOfSliver = (
  committee: Committee,
  rotation: number,
  type: SliverType,
  index: number,
): StorageNode => {
  const pair = pairOfSliver(type, index, committee.nShards);
  return committee.nodeOfShard[(pair + rotation) % committee.nShards]!;
};

/** Path of a sliver at a node. */
export const sliverPath = (blobId: BlobId, pair: number, type: SliverType): string =>
  `/v1/blobs/${blobId}/slivers/${pair}/${type}`;

/** A length in BCS: seven bits a byte, all but the last marked. */
export const bcsLength = (length: number): Buffer => {
  const bytes = [];
  let rest = length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
};

/** Bytes of a sliver of `length` data bytes on the wire. */
export const wireBytes = (length: number): number => bcsLength(length).length + length + 4;

/** A sliver on the wire; `data` is the view into which the data goes (read there, so that it is never copied). */
export interface WireSliver {
  readonly wire: Buffer;
  readonly data: Buffer;
}

/**
 * A sliver of `length` data bytes, with everything but the data in place; in `wire`, of as many
 * bytes as `wireBytes` says.
 */
export const wireSliver = (
  length: number,
  symbolBytes: number,
  index: number,
  wire: Buffer = Buffer.allocUnsafeSlow(wireBytes(length)),
): WireSliver => {
  const head = bcsLength(length).copy(wire);
  wire.writeUInt16LE(symbolBytes, head + length);
  wire.writeUInt16LE(index, head + length + 2);
  return { wire, data: wire.subarray(head, head + length) };
};
