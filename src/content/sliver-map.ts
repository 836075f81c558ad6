/**
 * The presence map of a pack's cache file, as it stands on disk: which systematic slivers the file
 * holds. A map whose checksum does not hold is none.
 *
 * Bytes, little-endian: magic `TSKMAP` · version u16 · pack bytes u64 · shards u32 · slivers u32 ·
 * one bit a sliver (lowest bit first) · crc32c u32 of everything before it.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { native } from '../native.ts';

const MAGIC = 'TSKMAP';
const VERSION = 1;
const MAGIC_BYTES = Buffer.from(MAGIC, 'latin1');

/** What a map says. */
export interface SliverMap {
  /** Bytes of the pack before encoding. */
  readonly size: number;
  readonly nShards: number;
  readonly slivers: number;
  readonly bits: Uint8Array;
}

/** Bytes of a map. */
export const encodeSliverMap = (map: SliverMap): Buffer => {
  const out = new ByteWriter(32 + map.bits.length);
  out.raw(MAGIC_BYTES).u16(VERSION).u64(map.size).u32(map.nShards).u32(map.slivers).raw(map.bits);
  const { bytes, at } = out;
  return out.u32(native.crc32c(bytes, 0, at, 0)).copy();
};

/** A map from its bytes; undefined if they are damaged or of another version. */
export const decodeSliverMap = (bytes: Buffer): SliverMap | undefined => {
  try {
    const reader = new ByteReader(bytes);
    if (!reader.raw(MAGIC_BYTES.length).equals(MAGIC_BYTES) || reader.u16() !== VERSION)
      return undefined;
    const size = reader.u64();
    const nShards = reader.u32();
    const slivers = reader.u32();
    const bits = Uint8Array.from(reader.raw(Math.ceil(slivers / 8)));
    const checked = reader.at;
    if (reader.u32() !== native.crc32c(bytes, 0, checked, 0) || reader.left !== 0) return undefined;
    return { size, nShards, slivers, bits };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
};
