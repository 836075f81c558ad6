/**
 * The bytes of the log: segment headers and record headers (LOG.md has the tables). Every record's
 * checksum continues from the checksum of the record before it, and a segment's first record from
 * the checksum of the segment's header, which itself carries the checksum it follows. So bytes left
 * over from an earlier use of a file, or behind a torn tail, can never be taken for records.
 */
import type { LogAddr, Seq } from '../base/ids.ts';
import { LOG_ALIGN_FROM_BYTES, PAGE_BYTES, SEGMENT_BYTES } from '../base/limits.ts';
import { native } from '../native.ts';

/** Bytes of a segment header; records start behind it. */
export const SEGMENT_HEADER_BYTES = 64;
/** Bytes of a record header; the mutations follow it. */
export const RECORD_HEADER_BYTES = 64;

const SEGMENT_MAGIC = 0x53_4c_4b_54; // "TKLS"
const RECORD_MAGIC = 0x52_4c_4b_54; // "TKLR"
const RECORD_MAGIC_BYTES = Buffer.from('TKLR', 'latin1');
const VERSION = 1;
const RECORD_ALIGN_BYTES = 8;

const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** A place in the log where a record may stand, and the checksum that it continues from. */
export interface LogPosition {
  readonly slot: number;
  readonly offset: number;
  /** Number of the record before. */
  readonly seq: Seq;
  readonly crc: number;
}

/** What a record carries beside its bytes. */
export interface RecordFacts {
  readonly seq: Seq;
  /** Mark of the request that the record answers; 0: none. */
  readonly request: number;
  /** Milliseconds since 1970 when it was appended. */
  readonly timeMs: number;
  /** Inodes of the tree, and bytes of all extents, once this record is applied. */
  readonly inodes: number;
  readonly contentBytes: number;
  /** Records up to here were durable when it was appended: the proof, should one of them be gone. */
  readonly syncedSeq: Seq;
}

/** A record as read. */
export interface LogRecord extends RecordFacts {
  /** A view of the segment; valid while the segment is mapped. */
  readonly mutations: Buffer;
  /** Address of the first data byte; −1 if it carries none. */
  readonly dataAddr: LogAddr;
  readonly dataBytes: number;
}

/** Where things stand in a record, relative to its first byte. */
export interface RecordShape {
  dataOffset: number;
  /** Where the next record stands. */
  total: number;
}

/** Address of `offset` in segment `slot`. */
export const addrOf = (slot: number, offset: number): LogAddr => slot * SEGMENT_BYTES + offset;
/** Segment of an address. */
export const slotOf = (addr: LogAddr): number => Math.floor(addr / SEGMENT_BYTES);
/** Offset of an address in its segment. */
export const offsetOf = (addr: LogAddr): number => addr % SEGMENT_BYTES;

/** Lays out a record that starts at `at` of a segment: large data at a multiple of 4 KiB, the rest packed. */
export const recordShape = (at: number, mutationBytes: number, dataBytes: number): RecordShape => {
  let dataAt = at + RECORD_HEADER_BYTES + mutationBytes;
  if (dataBytes >= LOG_ALIGN_FROM_BYTES) dataAt = alignUp(dataAt, PAGE_BYTES);
  return {
    dataOffset: dataAt - at,
    total: alignUp(dataAt + dataBytes, RECORD_ALIGN_BYTES) - at,
  };
};

const writeU64 = (bytes: Buffer, value: number, at: number): void => {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
};
const readU64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);

const NOTHING = Buffer.alloc(0);

/** Starts a mapped segment behind `previous`; returns the position of its first record. */
export const writeSegmentHeader = (
  handle: number,
  slot: number,
  previous: LogPosition,
): LogPosition => {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  header.writeUInt32LE(SEGMENT_MAGIC, 0);
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(previous.crc, 12);
  writeU64(header, slot, 16);
  writeU64(header, previous.seq + 1, 24);
  const crc = native.segmentAppend(handle, 0, header, SEGMENT_HEADER_BYTES, NOTHING, 0);
  return { slot, offset: SEGMENT_HEADER_BYTES, seq: previous.seq, crc };
};

/** Position before the first record of a segment, and the checksum it follows; undefined if it was never started. */
export const readSegmentHeader = (
  segment: Buffer,
  slot: number,
): (LogPosition & { follows: number }) | undefined => {
  if (segment.length < SEGMENT_HEADER_BYTES) return undefined;
  if (segment.readUInt32LE(0) !== SEGMENT_MAGIC) return undefined;
  const crc = native.crc32c(segment, 8, SEGMENT_HEADER_BYTES, 0);
  if (segment.readUInt32LE(4) !== crc || segment.readUInt32LE(8) !== VERSION) return undefined;
  if (readU64(segment, 16) !== slot) return undefined;
  return {
    slot,
    offset: SEGMENT_HEADER_BYTES,
    seq: readU64(segment, 24) - 1,
    crc,
    follows: segment.readUInt32LE(12),
  };
};

/**
 * Writes a record at `at.offset` of a mapped segment. `scratch` holds RECORD_HEADER_BYTES free bytes
 * and then the mutations; `data` may be empty. A record that was being written when the process
 * died does not verify.
 */
export const writeRecord = (
  handle: number,
  at: LogPosition,
  facts: RecordFacts,
  scratch: Buffer,
  data: Buffer,
  shape: RecordShape,
): LogPosition => {
  const { slot, offset } = at;
  scratch.writeUInt32LE(RECORD_MAGIC, 0);
  scratch.writeUInt32LE(scratch.length - RECORD_HEADER_BYTES, 8);
  scratch.writeUInt32LE(data.length, 12);
  writeU64(scratch, facts.seq, 16);
  writeU64(scratch, facts.timeMs, 24);
  writeU64(scratch, facts.inodes, 32);
  writeU64(scratch, facts.contentBytes, 40);
  scratch.writeUInt32LE(shape.dataOffset, 48);
  writeU64(scratch, facts.syncedSeq, 52);
  scratch.writeUInt32LE(facts.request, 60);
  const dataAt = offset + shape.dataOffset;
  const crc = native.segmentAppend(handle, offset, scratch, dataAt, data, at.crc);
  return { slot, offset: offset + shape.total, seq: facts.seq, crc };
};

/**
 * The record at a position, and where the next one stands; undefined where none verifies.
 * `verify: false` trusts the bytes: for records that this process, or a start before, has verified.
 */
export const readRecord = (
  segment: Buffer,
  at: LogPosition,
  verify: boolean,
): { record: LogRecord; next: LogPosition } | undefined => {
  const start = at.offset;
  if (start + RECORD_HEADER_BYTES > segment.length) return undefined;
  if (segment.readUInt32LE(start) !== RECORD_MAGIC) return undefined;
  const mutationBytes = segment.readUInt32LE(start + 8);
  const dataBytes = segment.readUInt32LE(start + 12);
  const seq = readU64(segment, start + 16);
  const shape = recordShape(start, mutationBytes, dataBytes);
  if (seq !== at.seq + 1 || start + shape.total > segment.length) return undefined;
  if (segment.readUInt32LE(start + 48) !== shape.dataOffset) return undefined;
  const mutationsAt = start + RECORD_HEADER_BYTES;
  const crc = segment.readUInt32LE(start + 4);
  if (verify) {
    let actual = native.crc32c(segment, start + 8, mutationsAt + mutationBytes, at.crc);
    const dataAt = start + shape.dataOffset;
    if (dataBytes > 0) actual = native.crc32c(segment, dataAt, dataAt + dataBytes, actual);
    if (actual !== crc) return undefined;
  }
  const record: LogRecord = {
    seq,
    request: segment.readUInt32LE(start + 60),
    timeMs: readU64(segment, start + 24),
    inodes: readU64(segment, start + 32),
    contentBytes: readU64(segment, start + 40),
    syncedSeq: readU64(segment, start + 52),
    mutations: segment.subarray(mutationsAt, mutationsAt + mutationBytes),
    dataAddr: dataBytes > 0 ? addrOf(at.slot, start + shape.dataOffset) : -1,
    dataBytes,
  };
  return { record, next: { slot: at.slot, offset: start + shape.total, seq, crc } };
};

/**
 * Is there a record in the segment that was appended once record `lost` was durable? Then that one,
 * which cannot be read, was damaged, not torn. A record is believed if it continues the checksum
 * that stands in the header before it.
 */
export const provesDurable = (segment: Buffer, lost: Seq): boolean => {
  for (let at = segment.indexOf(RECORD_MAGIC_BYTES); at >= 0; ) {
    let next = at + RECORD_ALIGN_BYTES;
    const seq = at + RECORD_HEADER_BYTES <= segment.length ? readU64(segment, at + 16) : 0;
    if (at % RECORD_ALIGN_BYTES === 0 && seq >= lost) {
      const before = { slot: 0, offset: at, seq: seq - 1, crc: 0 };
      let found = readRecord(segment, before, false);
      while (found !== undefined) {
        next = found.next.offset;
        found = readRecord(segment, found.next, true);
        if (found !== undefined && found.record.syncedSeq >= lost) return true;
      }
    }
    at = segment.indexOf(RECORD_MAGIC_BYTES, next);
  }
  return false;
};
