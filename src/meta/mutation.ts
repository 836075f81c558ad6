/**
 * What a log record says about the index: a list of mutations, as bytes. The same bytes are applied
 * by the index writer and, after a crash, by replay; each says what to set, never what to compute
 * from earlier state, so applying needs no knowledge beyond the record.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import type { FrameId, Ino, LogAddr, Name } from '../base/ids.ts';
import type { FramePlace, Inode, InodeFields, PackRow } from './types.ts';

/** Kinds of mutations; the numbers are part of the log's format. */
export const Kind = {
  inode: 1,
  removeInode: 2,
  dentry: 3,
  removeDentry: 4,
  xattr: 5,
  removeXattr: 6,
  symlink: 7,
  /** A range becomes a hole. */
  cut: 8,
  /** A range shows log bytes or a frame. */
  place: 9,
  /** A range shows bytes that this record carries. */
  placeData: 10,
  frame: 11,
  pack: 12,
} as const;

/** What a range held before: tells which of the two extent tables must be cut. */
export const CLEARS_STAGED = 1;
export const CLEARS_FRAMES = 2;

/** An inode with what the index keeps beside the public face. */
export interface InodeRow extends Inode {
  /** Bytes that its extents take up. */
  readonly bytes: number;
}

/** A copy with other fields; spelled out, for every change of the tree makes some, and spreading takes thrice as long. */
export const rowWith = (row: InodeRow, set: InodeFields): InodeRow => ({
  ino: row.ino,
  mode: set.mode ?? row.mode,
  nlink: set.nlink ?? row.nlink,
  uid: set.uid ?? row.uid,
  gid: set.gid ?? row.gid,
  rdev: set.rdev ?? row.rdev,
  size: set.size ?? row.size,
  blocks: row.blocks,
  bytes: row.bytes,
  parent: set.parent ?? row.parent,
  atime: set.atime ?? row.atime,
  atimeNs: set.atimeNs ?? row.atimeNs,
  mtime: set.mtime ?? row.mtime,
  mtimeNs: set.mtimeNs ?? row.mtimeNs,
  ctime: set.ctime ?? row.ctime,
  ctimeNs: set.ctimeNs ?? row.ctimeNs,
  btime: set.btime ?? row.btime,
  btimeNs: set.btimeNs ?? row.btimeNs,
});

/** One mutation, decoded. */
export type Mutation =
  | { kind: typeof Kind.inode; row: InodeRow }
  | { kind: typeof Kind.removeInode; ino: Ino; clears: number }
  | { kind: typeof Kind.dentry; parent: Ino; name: Name; ino: Ino; type: number; cookie: number }
  | { kind: typeof Kind.removeDentry; parent: Ino; name: Name }
  | { kind: typeof Kind.xattr; ino: Ino; name: Name; value: Buffer }
  | { kind: typeof Kind.removeXattr; ino: Ino; name: Name }
  | { kind: typeof Kind.symlink; ino: Ino; target: Buffer }
  | { kind: typeof Kind.cut; ino: Ino; offset: number; length: number; clears: number }
  | {
      kind: typeof Kind.place;
      ino: Ino;
      offset: number;
      length: number;
      clears: number;
      addr: LogAddr;
      frame: FrameId;
      at: number;
    }
  | {
      kind: typeof Kind.placeData;
      ino: Ino;
      offset: number;
      length: number;
      clears: number;
      /** First byte within the record's data. */
      dataAt: number;
    }
  | { kind: typeof Kind.frame; place: FramePlace }
  | { kind: typeof Kind.pack; row: PackRow };

/** 512-byte units of `bytes`. */
export const blocksOf = (bytes: number): number => Math.ceil(bytes / 512);

const encodeInode = (to: ByteWriter, row: InodeRow): void => {
  to.u64(row.ino).u32(row.mode).u32(row.nlink).u32(row.uid).u32(row.gid).u32(row.rdev);
  to.u64(row.size).u64(row.bytes).u64(row.parent);
  to.i64(row.atime).u32(row.atimeNs).i64(row.mtime).u32(row.mtimeNs);
  to.i64(row.ctime).u32(row.ctimeNs).i64(row.btime).u32(row.btimeNs);
};

const decodeInode = (from: ByteReader): InodeRow => {
  const ino = from.u64();
  const mode = from.u32();
  const nlink = from.u32();
  const uid = from.u32();
  const gid = from.u32();
  const rdev = from.u32();
  const size = from.u64();
  const bytes = from.u64();
  const parent = from.u64();
  const [atime, atimeNs, mtime, mtimeNs] = [from.i64(), from.u32(), from.i64(), from.u32()];
  const [ctime, ctimeNs, btime, btimeNs] = [from.i64(), from.u32(), from.i64(), from.u32()];
  return {
    ...{ ino, mode, nlink, uid, gid, rdev, size, blocks: blocksOf(bytes), bytes, parent },
    ...{ atime, atimeNs, mtime, mtimeNs, ctime, ctimeNs, btime, btimeNs },
  };
};

/** Where `bytes` stands in an encoded inode mutation. */
const INODE_BYTES_AT = 1 + 8 + 5 * 4 + 8;

/** Patches the `bytes` of the inode mutation that was encoded at `at`. */
export const patchInodeBytes = (encoded: Buffer, at: number, bytes: number): void => {
  encoded.writeUInt32LE(bytes % 2 ** 32, at + INODE_BYTES_AT);
  encoded.writeUInt32LE(Math.floor(bytes / 2 ** 32), at + INODE_BYTES_AT + 4);
};

/** Patches the `clears` of the cut, place, placeData or removeInode mutation that was encoded at `at`. */
export const patchClears = (encoded: Buffer, at: number, clears: number): void => {
  encoded[at + 1] = clears;
};

const encodeFrame = (to: ByteWriter, place: FramePlace): void => {
  to.u64(place.frame).sized(place.identity).u64(place.pack).u32(place.slot);
  to.u64(place.offset).u64(place.sealedBytes).u64(place.plainBytes).u8(place.compression);
};

const encodePack = (to: ByteWriter, row: PackRow): void => {
  to.u64(row.pack).sized(row.packId).sized(row.salt).u64(row.size).u16(row.nShards);
  to.sized(row.blobId).latin1(row.objectId).u32(row.endEpoch);
};

/** Appends a mutation to a record. */
export const encodeMutation = (to: ByteWriter, m: Mutation): void => {
  to.u8(m.kind);
  switch (m.kind) {
    case Kind.inode:
      encodeInode(to, m.row);
      return;
    case Kind.removeInode:
      to.u8(m.clears).u64(m.ino);
      return;
    case Kind.dentry:
      to.u64(m.parent).latin1(m.name).u64(m.ino).u8(m.type).u64(m.cookie);
      return;
    case Kind.removeDentry:
      to.u64(m.parent).latin1(m.name);
      return;
    case Kind.xattr:
      to.u64(m.ino).latin1(m.name).sized(m.value);
      return;
    case Kind.removeXattr:
      to.u64(m.ino).latin1(m.name);
      return;
    case Kind.symlink:
      to.u64(m.ino).sized(m.target);
      return;
    case Kind.cut:
      to.u8(m.clears).u64(m.ino).u64(m.offset).u64(m.length);
      return;
    case Kind.place:
      to.u8(m.clears).u64(m.ino).u64(m.offset).u64(m.length);
      to.i64(m.addr).u64(m.frame).u64(m.at);
      return;
    case Kind.placeData:
      to.u8(m.clears).u64(m.ino).u64(m.offset).u64(m.length).u64(m.dataAt);
      return;
    case Kind.frame:
      encodeFrame(to, m.place);
      return;
    case Kind.pack:
      encodePack(to, m.row);
      return;
  }
};

const decodeFrame = (from: ByteReader): FramePlace => ({
  frame: from.u64(),
  identity: from.sized(),
  pack: from.u64(),
  slot: from.u32(),
  offset: from.u64(),
  sealedBytes: from.u64(),
  plainBytes: from.u64(),
  compression: from.u8(),
});

const decodePack = (from: ByteReader): PackRow => ({
  pack: from.u64(),
  packId: from.sized(),
  salt: from.sized(),
  size: from.u64(),
  nShards: from.u16(),
  blobId: from.sized(),
  objectId: from.latin1(),
  endEpoch: from.u32(),
});

/** The range of a cut, place or placeData, which all start with it. */
const decodeRange = (from: ByteReader) => ({
  clears: from.u8(),
  ino: from.u64(),
  offset: from.u64(),
  length: from.u64(),
});

/** Reads one mutation; byte fields are views. Throws RangeError if the bytes are none. */
export const decodeMutation = (from: ByteReader): Mutation => {
  const kind = from.u8();
  switch (kind) {
    case Kind.inode:
      return { kind, row: decodeInode(from) };
    case Kind.removeInode:
      return { kind, clears: from.u8(), ino: from.u64() };
    case Kind.dentry: {
      const [parent, name, ino] = [from.u64(), from.latin1(), from.u64()];
      return { kind, parent, name, ino, type: from.u8(), cookie: from.u64() };
    }
    case Kind.removeDentry:
      return { kind, parent: from.u64(), name: from.latin1() };
    case Kind.xattr:
      return { kind, ino: from.u64(), name: from.latin1(), value: from.sized() };
    case Kind.removeXattr:
      return { kind, ino: from.u64(), name: from.latin1() };
    case Kind.symlink:
      return { kind, ino: from.u64(), target: from.sized() };
    case Kind.cut:
      return { kind, ...decodeRange(from) };
    case Kind.place:
      return {
        kind,
        ...decodeRange(from),
        addr: from.i64(),
        frame: from.u64(),
        at: from.u64(),
      };
    case Kind.placeData:
      return { kind, ...decodeRange(from), dataAt: from.u64() };
    case Kind.frame:
      return { kind, place: decodeFrame(from) };
    case Kind.pack:
      return { kind, row: decodePack(from) };
    default:
      throw new RangeError(`unknown mutation ${kind}`);
  }
};
