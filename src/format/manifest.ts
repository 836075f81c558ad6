/**
 * The manifest of a checkpoint: which groups of bytes make up the index file and where each one
 * stands, in this pack or an older one. Two levels: a root names leaves, a leaf names groups, so
 * that an unchanged leaf is named again instead of being stored again. FORMAT.md, Manifest.
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import type { BlobId } from '../base/ids.ts';
import { blobIdFromBytes, blobIdToBytes } from '../base/ids.ts';
import { ID_BYTES, KEY_BYTES } from './keys.ts';
import { type Place, putPlace, takePlace } from './pack.ts';
import { begin, check, decoding, expect } from './structure.ts';

const ROOT_MAGIC = 'tuskfsMR';
const LEAF_MAGIC = 'tuskfsML';
const VERSION = 1;
const ROOT = 'the manifest of a checkpoint';
const LEAF = 'a leaf of a manifest';
const BLOB_ID_BYTES = 32;

/** Groups that one leaf names. */
export const LEAF_GROUPS = 1024;
/** Most groups of an index file (16 TiB of 64 KiB). */
const GROUPS_MAX = 1 << 28;
/** Most packs that one leaf or root refers to. */
const PACKS_MAX = 1 << 16;

/** A pack that the manifest refers to. */
export interface PackRef {
  /** undefined: the very blob that carries this manifest. */
  readonly blobId: BlobId | undefined;
  readonly packId: Buffer;
  readonly salt: Buffer;
  /** Size of the blob, and shards it was encoded for; 0 when it is the very blob. */
  readonly size: number;
  readonly nShards: number;
}

/** Something sealed in some pack, with the identity of its plain bytes under the check key. */
export interface SealedRef extends Place {
  readonly identity: Buffer;
  readonly pack: PackRef;
}

/** The root of a manifest. */
export interface ManifestRoot {
  readonly volumeId: Buffer;
  /** Grows by 1 with each checkpoint; the highest wins. */
  readonly sequence: number;
  /** Blob ID of the head before. */
  readonly previous: BlobId | undefined;
  readonly timeMs: number;
  /** Version of the index' tables. */
  readonly indexSchema: number;
  readonly groupBytes: number;
  /** Size of the index file. */
  readonly indexBytes: number;
  readonly leaves: readonly SealedRef[];
}

const putRefs = (writer: ByteWriter, refs: readonly SealedRef[]): void => {
  const numbers = new Map<string, number>();
  const packs: PackRef[] = [];
  for (const { pack } of refs) {
    const key = pack.packId.toString('hex');
    if (numbers.has(key)) continue;
    numbers.set(key, packs.length);
    packs.push(pack);
  }
  writer.u32(packs.length);
  for (const pack of packs) {
    writer.u8(pack.blobId === undefined ? 0 : 1);
    writer.raw(pack.blobId === undefined ? Buffer.alloc(32) : blobIdToBytes(pack.blobId));
    writer.raw(pack.packId).raw(pack.salt).u64(pack.size).u16(pack.nShards);
  }
  writer.u32(refs.length);
  for (const ref of refs) {
    writer.u32(numbers.get(ref.pack.packId.toString('hex'))!).raw(ref.identity);
    putPlace(writer, ref);
  }
};

const takePack = (reader: ByteReader, what: string): PackRef => {
  const named = reader.u8();
  check(named <= 1, what, 'unknown flags');
  const blobId = reader.raw(BLOB_ID_BYTES);
  const packId = Buffer.from(reader.raw(ID_BYTES));
  const salt = Buffer.from(reader.raw(KEY_BYTES));
  const [size, nShards] = [reader.u64(), reader.u16()];
  check((named === 1) === size > 0 && (named === 1) === nShards > 0, what, 'a pack without size');
  return { blobId: named === 1 ? blobIdFromBytes(blobId) : undefined, packId, salt, size, nShards };
};

const takeRefs = (reader: ByteReader, what: string, most: number): SealedRef[] => {
  const packCount = reader.u32();
  check(packCount <= PACKS_MAX, what, `${packCount} packs`);
  const packs: PackRef[] = [];
  for (let i = 0; i < packCount; i++) packs.push(takePack(reader, what));
  const count = reader.u32();
  check(count <= most, what, `${count} entries`);
  const refs: SealedRef[] = [];
  for (let i = 0; i < count; i++) {
    const pack = packs[reader.u32()];
    check(pack !== undefined, what, 'a pack that it does not list');
    const identity = Buffer.from(reader.raw(KEY_BYTES));
    refs.push({ ...takePlace(reader, what), identity, pack: pack! });
  }
  check(reader.left === 0, what, 'bytes behind its end');
  return refs;
};

/** Plain bytes of a leaf: up to `LEAF_GROUPS` groups in order. */
export const encodeLeaf = (groups: readonly SealedRef[]): Buffer => {
  const writer = begin(LEAF_MAGIC, VERSION, 64 + groups.length * 80).u16(0);
  putRefs(writer, groups);
  return writer.copy();
};

/** Reads an opened leaf. A pack without a blob ID means the blob that the *leaf* stands in. */
export const decodeLeaf = (bytes: Buffer): SealedRef[] =>
  decoding(LEAF, () => {
    const reader = new ByteReader(bytes);
    expect(reader, LEAF, LEAF_MAGIC, VERSION);
    check(reader.u16() === 0, LEAF, 'unknown flags');
    return takeRefs(reader, LEAF, LEAF_GROUPS);
  });

/** Plain bytes of a root. */
export const encodeRoot = (root: ManifestRoot): Buffer => {
  const writer = begin(ROOT_MAGIC, VERSION, 256 + root.leaves.length * 160).u16(0);
  writer
    .raw(root.volumeId)
    .u64(root.sequence)
    .u8(root.previous === undefined ? 0 : 1);
  writer.raw(root.previous === undefined ? Buffer.alloc(32) : blobIdToBytes(root.previous));
  writer.u64(root.timeMs).u32(root.indexSchema).u32(root.groupBytes).u64(root.indexBytes);
  putRefs(writer, root.leaves);
  return writer.copy();
};

/** Reads an opened root and checks that it has as many leaves as its index file needs. */
export const decodeRoot = (bytes: Buffer): ManifestRoot =>
  decoding(ROOT, () => {
    const reader = new ByteReader(bytes);
    expect(reader, ROOT, ROOT_MAGIC, VERSION);
    check(reader.u16() === 0, ROOT, 'unknown flags');
    const volumeId = Buffer.from(reader.raw(ID_BYTES));
    const sequence = reader.u64();
    const hasPrevious = reader.u8();
    check(hasPrevious <= 1, ROOT, 'unknown flags');
    const previousBytes = reader.raw(BLOB_ID_BYTES);
    const previous = hasPrevious === 1 ? blobIdFromBytes(previousBytes) : undefined;
    const timeMs = reader.u64();
    const [indexSchema, groupBytes] = [reader.u32(), reader.u32()];
    const indexBytes = reader.u64();
    check(groupBytes >= 4096 && groupBytes <= 1 << 24, ROOT, `groups of ${groupBytes} bytes`);
    const groups = Math.ceil(indexBytes / groupBytes);
    check(groups <= GROUPS_MAX, ROOT, `an index of ${indexBytes} bytes`);
    const expected = Math.ceil(groups / LEAF_GROUPS);
    const leaves = takeRefs(reader, ROOT, expected);
    check(leaves.length === expected, ROOT, `${leaves.length} leaves, not ${expected}`);
    return {
      volumeId,
      sequence,
      previous,
      timeMs,
      indexSchema,
      groupBytes,
      indexBytes,
      leaves,
    };
  });
