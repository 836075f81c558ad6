/** Arithmetic of RedStuff that the contract does itself: lengths, units, blob IDs, quorum. */
import { STORAGE_UNIT_BYTES } from '../../../base/limits.ts';
import { blake2b256 } from '../hash.ts';
import { u64, u256 } from '../layouts.ts';

/** Walrus' number of the only supported encoding. */
export const RS2 = 1;

/** Bytes of all slivers and n copies of the metadata (contract `redstuff::encoded_blob_length`). */
export const encodedLength = (size: bigint, nShards: number): bigint => {
  const faulty = Math.floor((nShards - 1) / 3);
  const primary = BigInt(nShards - 2 * faulty);
  const secondary = BigInt(nShards - faulty);
  // The contract keeps the symbol size in 16 bits, as a cast that aborts beyond.
  let symbol = ((size === 0n ? 1n : size) - 1n) / (primary * secondary) + 1n;
  symbol += symbol % 2n;
  const n = BigInt(nShards);
  return n * ((primary + secondary) * symbol + n * 64n + 32n);
};

/** Largest symbol that the contract's u16 holds. */
export const fitsSymbol = (size: bigint, nShards: number): boolean => {
  const faulty = Math.floor((nShards - 1) / 3);
  return size <= BigInt(nShards - 2 * faulty) * BigInt(nShards - faulty) * 65_534n;
};

/** Units that a size is charged for. */
export const storageUnits = (bytes: bigint): bigint =>
  (bytes + BigInt(STORAGE_UNIT_BYTES) - 1n) / BigInt(STORAGE_UNIT_BYTES);

/** Blob ID as a number: blake2b-256 of BCS{encoding type, size, root hash}, little endian. */
export const deriveBlobId = (rootHash: bigint, encodingType: number, size: bigint): bigint =>
  u256.parse(
    blake2b256(
      Uint8Array.of(encodingType),
      u64.serialize(size).toBytes(),
      u256.serialize(rootHash).toBytes(),
    ),
  );

/** Do so many of n shards make a quorum? */
export const isQuorum = (weight: number, nShards: number): boolean => 3 * weight >= 2 * nShards + 1;

/** Is at least one of the nodes of so many shards correct? */
export const hasOneCorrect = (weight: number, nShards: number): boolean =>
  3 * weight >= nShards + 1;
