/**
 * A pack: header, envelope (if it carries a checkpoint), sealed frames end to end, sealed
 * directory, zeros up to the padded size. Header and envelope are the only plain bytes. Slots
 * number everything sealed in the pack from 0 in the order it stands there; the directory comes
 * last. Layout: FORMAT.md, section Packs.
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { ENVELOPE_BYTES } from './envelope.ts';
import { ID_BYTES, KEY_BYTES } from './keys.ts';
import { begin, check, decoding, expect } from './structure.ts';

const HEADER_MAGIC = 'tuskfsPK';
const DIRECTORY_MAGIC = 'tuskfsDR';
const VERSION = 1;
const HEADER = 'the header of a pack';
const DIRECTORY = 'the directory of a pack';

/** Bytes of a pack's header; the envelope or the first frame follows. */
export const HEADER_BYTES = 160;
/** Bytes to fetch first: header and envelope. */
export const PACK_HEAD_BYTES = HEADER_BYTES + ENVELOPE_BYTES;
/** Bytes that sealing adds to a frame at most. */
export const SEAL_BYTES = 16;
/** Most slots in a pack. */
export const SLOTS_MAX = 1 << 20;
/** Largest sealed thing that a reader accepts. */
export const SEALED_BYTES_MAX = 64 * 1024 * 1024;

/** Kinds of sealed things. */
export const SlotKind = { data: 1, indexGroup: 2, manifestLeaf: 3, manifestRoot: 4 } as const;
export type SlotKind = (typeof SlotKind)[keyof typeof SlotKind];

/** 0: stored as it is; 1: one zstd frame. */
export type Compression = 0 | 1;

/** Where something sealed stands in a pack. */
export interface Place {
  readonly slot: number;
  readonly offset: number;
  readonly sealedBytes: number;
  readonly plainBytes: number;
  readonly compression: Compression;
}

/** What the header says. */
export interface PackHeader {
  readonly packId: Buffer;
  readonly salt: Buffer;
  /** Bytes that count; zeros follow. */
  readonly contentBytes: number;
  /** Bytes of the envelope behind the header: 0 if the pack carries no checkpoint. */
  readonly envelopeBytes: number;
  readonly directory: Place;
  /** The manifest's root, if the pack carries a checkpoint. */
  readonly root: Place | undefined;
}

/** An entry of the directory. */
export interface DirectoryEntry extends Place {
  readonly kind: SlotKind;
  /** Keyed BLAKE3 of the plain bytes, under the identity key (data) or the check key (all else). */
  readonly identity: Buffer;
}

/** The opened directory: who the pack is and what stands in it. */
export interface PackDirectory {
  readonly volumeId: Buffer;
  readonly packId: Buffer;
  readonly entries: readonly DirectoryEntry[];
}

/** Writes a place: 28 bytes. */
export const putPlace = (writer: ByteWriter, place: Place): void => {
  writer.u32(place.slot).u64(place.offset).u32(place.sealedBytes).u32(place.plainBytes);
  writer.u8(place.compression).u8(0).u16(0).u32(0);
};

/** Reads a place; a caller's RangeError net must be around it. */
export const takePlace = (reader: ByteReader, what: string): Place => {
  const slot = reader.u32();
  const offset = reader.u64();
  const [sealedBytes, plainBytes] = [reader.u32(), reader.u32()];
  const compression = reader.u8();
  check(reader.u8() === 0 && reader.u16() === 0 && reader.u32() === 0, what, 'unknown flags');
  check(compression === 0 || compression === 1, what, `unknown compression ${compression}`);
  check(slot <= SLOTS_MAX, what, `slot ${slot}`);
  check(sealedBytes <= SEALED_BYTES_MAX, what, `a frame of ${sealedBytes} bytes`);
  check(plainBytes <= SEALED_BYTES_MAX, what, `a frame of ${plainBytes} plain bytes`);
  const stored = plainBytes + SEAL_BYTES;
  const fits = compression === 0 ? sealedBytes === stored : sealedBytes < stored;
  check(fits && sealedBytes >= SEAL_BYTES, what, 'lengths that do not belong together');
  return { slot, offset, sealedBytes, plainBytes, compression: compression as Compression };
};

const NOWHERE: Place = { slot: 0, offset: 0, sealedBytes: 16, plainBytes: 0, compression: 0 };

/** The header's 160 bytes. */
export const encodeHeader = (header: PackHeader): Buffer => {
  const writer = begin(HEADER_MAGIC, VERSION, HEADER_BYTES).u16(0).u32(HEADER_BYTES);
  writer.raw(header.packId).raw(header.salt).u64(header.contentBytes);
  writer.u32(header.envelopeBytes).u32(header.root === undefined ? 0 : 1);
  putPlace(writer, header.directory);
  putPlace(writer, header.root ?? NOWHERE);
  return Buffer.concat([writer.done(), Buffer.alloc(HEADER_BYTES - writer.at)]);
};

/** Reads a header from the first bytes of a blob; `damaged` if it is no pack of ours. */
export const decodeHeader = (bytes: Buffer): PackHeader =>
  decoding(HEADER, () => {
    const reader = new ByteReader(bytes);
    expect(reader, HEADER, HEADER_MAGIC, VERSION);
    check(reader.u16() === 0, HEADER, 'unknown flags');
    check(reader.u32() === HEADER_BYTES && bytes.length >= HEADER_BYTES, HEADER, 'wrong length');
    const [packId, salt] = [Buffer.from(reader.raw(ID_BYTES)), Buffer.from(reader.raw(KEY_BYTES))];
    const [contentBytes, envelopeBytes] = [reader.u64(), reader.u32()];
    const hasRoot = reader.u32();
    check(hasRoot <= 1, HEADER, 'unknown flags');
    check(envelopeBytes === (hasRoot === 1 ? ENVELOPE_BYTES : 0), HEADER, 'wrong envelope');
    const directory = takePlace(reader, HEADER);
    const root = takePlace(reader, HEADER);
    for (const place of hasRoot === 1 ? [directory, root] : [directory])
      check(
        place.offset >= HEADER_BYTES + envelopeBytes &&
          place.offset + place.sealedBytes <= contentBytes,
        HEADER,
        'a place outside the pack',
      );
    check(
      directory.offset + directory.sealedBytes === contentBytes,
      HEADER,
      'the directory is not last',
    );
    return {
      packId,
      salt,
      contentBytes,
      envelopeBytes,
      directory,
      root: hasRoot === 1 ? root : undefined,
    };
  });

/** The envelope behind a header, as a copy; undefined if the pack carries no checkpoint. */
export const envelopeOf = (header: PackHeader, bytes: Buffer): Buffer | undefined =>
  header.envelopeBytes === 0
    ? undefined
    : Buffer.from(bytes.subarray(HEADER_BYTES, HEADER_BYTES + header.envelopeBytes));

/** Plain bytes of a directory. */
export const encodeDirectory = (directory: PackDirectory): Buffer => {
  const { entries } = directory;
  const writer = begin(DIRECTORY_MAGIC, VERSION, 64 + entries.length * 68).u16(0);
  writer.raw(directory.volumeId).raw(directory.packId).u32(entries.length);
  for (const entry of entries) {
    writer.u8(entry.kind).raw(entry.identity);
    putPlace(writer, entry);
  }
  return writer.copy();
};

/** Reads an opened directory and checks that its frames stand end to end. */
export const decodeDirectory = (bytes: Buffer): PackDirectory =>
  decoding(DIRECTORY, () => {
    const reader = new ByteReader(bytes);
    expect(reader, DIRECTORY, DIRECTORY_MAGIC, VERSION);
    check(reader.u16() === 0, DIRECTORY, 'unknown flags');
    const volumeId = Buffer.from(reader.raw(ID_BYTES));
    const packId = Buffer.from(reader.raw(ID_BYTES));
    const count = reader.u32();
    check(count <= SLOTS_MAX, DIRECTORY, `${count} entries`);
    const entries: DirectoryEntry[] = [];
    for (let slot = 0; slot < count; slot++) {
      const kind = reader.u8();
      check(kind >= SlotKind.data && kind <= SlotKind.manifestRoot, DIRECTORY, `kind ${kind}`);
      const identity = Buffer.from(reader.raw(KEY_BYTES));
      const place = takePlace(reader, DIRECTORY);
      const before = entries.at(-1);
      check(place.slot === slot, DIRECTORY, 'slots out of order');
      check(
        before === undefined || place.offset === before.offset + before.sealedBytes,
        DIRECTORY,
        'frames that are not end to end',
      );
      entries.push({ ...place, kind: kind as SlotKind, identity });
    }
    check(reader.left === 0, DIRECTORY, 'bytes behind its end');
    return { volumeId, packId, entries };
  });
