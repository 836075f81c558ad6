/**
 * The few BCS structures that storage nodes speak (layouts of Walrus): sliver, metadata header,
 * decoding and recovery symbols. Decoders return undefined for anything that is not exactly the
 * structure; they never copy the payload.
 */
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { SliverType } from '../../base/ids.ts';

/** A sliver as it is sent and stored: SliverData{symbols{data, symbol_size u16}, index u16}. */
export interface SliverData {
  readonly data: Buffer;
  readonly symbolBytes: number;
  readonly index: number;
}

/** The head of BlobMetadata V1; the pairs of Merkle roots follow. */
export interface MetadataHead {
  readonly encodingType: number;
  readonly size: number;
}

/** A symbol of a sliver: `type` is the axis of the sliver that it helps to recover. */
export interface DecodingSymbol {
  readonly type: SliverType;
  /** Index of the sliver that the symbol comes from. */
  readonly index: number;
  readonly data: Uint8Array;
}

/** A symbol with the proof that it belongs to the sliver it comes from. */
export interface RecoverySymbol extends DecodingSymbol {
  readonly targetIndex: number;
  /** 32-byte nodes, leaf upwards. */
  readonly proof: readonly Uint8Array[];
}

const readUleb = (reader: ByteReader): number => {
  let value = 0;
  for (let shift = 0; shift < 32; shift += 7) {
    const byte = reader.u8();
    value += (byte & 0x7f) * 2 ** shift;
    if (byte >= 0x80) continue;
    if (byte === 0 && shift > 0) throw new RangeError('a number longer than it needs to be');
    if (value < 2 ** 32) return value;
  }
  throw new RangeError('length above 2^32');
};

const writeUleb = (writer: ByteWriter, value: number): ByteWriter => {
  let rest = value;
  while (rest >= 0x80) {
    writer.u8((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return writer.u8(rest);
};

const attempt = <T>(decode: () => T | undefined): T | undefined => {
  try {
    return decode();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
};

/** Decodes a sliver; `data` is a view into `bytes`. */
export const readSliver = (bytes: Buffer): SliverData | undefined =>
  attempt(() => {
    const reader = new ByteReader(bytes);
    const data = reader.raw(readUleb(reader));
    const sliver = { data, symbolBytes: reader.u16(), index: reader.u16() };
    return reader.left === 0 ? sliver : undefined;
  });

/** Bytes that come before a sliver's data in its BCS form, for `dataBytes` of data. */
export const sliverHeaderBytes = (dataBytes: number): number => {
  let bytes = 1;
  for (let rest = dataBytes; rest >= 0x80; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
};

/** Bytes of a whole sliver in its BCS form. */
export const sliverBytes = (dataBytes: number): number =>
  sliverHeaderBytes(dataBytes) + dataBytes + 4;

/** BCS of a sliver, as it is PUT and stored. */
export const writeSliver = (sliver: {
  data: Uint8Array;
  symbolBytes: number;
  index: number;
}): Buffer =>
  writeUleb(new ByteWriter(sliver.data.length + 9), sliver.data.length)
    .raw(sliver.data)
    .u16(sliver.symbolBytes)
    .u16(sliver.index)
    .done();

/** Largest BlobMetadata for that many shards. */
export const metadataBytesMax = (nShards: number): number => 2 + 8 + 3 + nShards * 66;

/** Decodes the head of BlobMetadata; undefined for another version or less than a head. */
export const readMetadataHead = (bytes: Buffer): MetadataHead | undefined =>
  attempt(() => {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== 0) return undefined;
    return { encodingType: readUleb(reader), size: reader.u64() };
  });

/** BCS orders a map by the bytes of its keys, and these are little-endian. */
const orderOf = (key: number): number => ((key & 0xff) << 8) | (key >> 8);

const writeSymbol = (writer: ByteWriter, symbol: DecodingSymbol): void => {
  writer.u8(symbol.type === 'primary' ? 0 : 1).u16(symbol.index);
  writeUleb(writer, symbol.data.length).raw(symbol.data);
};

const readSymbol = (reader: ByteReader): DecodingSymbol => {
  const variant = reader.u8();
  if (variant > 1) throw new RangeError(`no symbol of variant ${variant}`);
  const index = reader.u16();
  return {
    type: variant === 0 ? 'primary' : 'secondary',
    index,
    data: reader.raw(readUleb(reader)),
  };
};

const readMany = <T>(reader: ByteReader, read: () => T): T[] => {
  const count = readUleb(reader);
  const all: T[] = [];
  // Every element takes at least a byte, so a false count ends at the end of the buffer.
  for (let i = 0; i < count; i++) all.push(read());
  return all;
};

/** Reads what `writeDecodingSymbols` writes; `data` are views into `bytes`. */
export const readDecodingSymbols = (bytes: Buffer): Map<number, DecodingSymbol[]> | undefined =>
  attempt(() => {
    const reader = new ByteReader(bytes);
    const symbols = () => readMany(reader, () => readSymbol(reader));
    const entries = readMany(reader, () => [reader.u16(), symbols()] as const);
    const ordered = entries.every(
      ([key], at) => at === 0 || orderOf(entries[at - 1]![0]) < orderOf(key),
    );
    return ordered && reader.left === 0 ? new Map(entries) : undefined;
  });

/** BCS map<u16, vector<enum{0 Primary, 1 Secondary}{index u16, data bytes}>>. */
export const writeDecodingSymbols = (
  byTarget: ReadonlyMap<number, readonly DecodingSymbol[]>,
): Buffer => {
  const writer = new ByteWriter(4096);
  writeUleb(writer, byTarget.size);
  for (const target of [...byTarget.keys()].sort((a, b) => orderOf(a) - orderOf(b))) {
    const symbols = byTarget.get(target)!;
    writeUleb(writer.u16(target), symbols.length);
    for (const symbol of symbols) writeSymbol(writer, symbol);
  }
  return writer.done();
};

/** BCS vector<{enum{index u16, data bytes}, target_index u16, proof vector<MerkleNode>}>. */
export const writeRecoverySymbols = (symbols: readonly RecoverySymbol[]): Buffer => {
  const writer = new ByteWriter(4096);
  writeUleb(writer, symbols.length);
  for (const symbol of symbols) {
    writeSymbol(writer, symbol);
    writeUleb(writer.u16(symbol.targetIndex), symbol.proof.length);
    for (const node of symbol.proof) {
      // An empty subtree is a variant of its own; in memory it is 32 zeros.
      if (node.every(byte => byte === 0)) writer.u8(0);
      else writer.u8(1).raw(node);
    }
  }
  return writer.done();
};

const EMPTY_NODE = Buffer.alloc(32);

/** Reads what `writeRecoverySymbols` writes; `data` and proofs are views into `bytes`. */
export const readRecoverySymbols = (bytes: Buffer): RecoverySymbol[] | undefined =>
  attempt(() => {
    const reader = new ByteReader(bytes);
    const node = () => {
      const variant = reader.u8();
      if (variant > 1) throw new RangeError(`no Merkle node of variant ${variant}`);
      return variant === 0 ? EMPTY_NODE : reader.raw(32);
    };
    const symbols = readMany(reader, () => ({
      ...readSymbol(reader),
      targetIndex: reader.u16(),
      proof: readMany(reader, node),
    }));
    return reader.left === 0 ? symbols : undefined;
  });
