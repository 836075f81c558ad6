/**
 * The judge: Walrus' own encoder and BLS, compiled to WebAssembly by its authors, and content that
 * both sides can make from a seed.
 */
import { createHash } from 'node:crypto';
import { bcs } from '@mysten/sui/bcs';
import { BlobEncoder } from '@mysten/walrus-wasm';

const Node = bcs.enum('MerkleNode', { Empty: null, Digest: bcs.fixedArray(32, bcs.u8()) });
const Metadata = bcs.enum('BlobMetadata', {
  V1: bcs.struct('BlobMetadataV1', {
    encoding_type: bcs.enum('EncodingType', { RedStuff: null, RS2: null }),
    unencoded_length: bcs.u64(),
    hashes: bcs.vector(
      bcs.struct('SliverPairMetadata', { primary_hash: Node, secondary_hash: Node }),
    ),
  }),
});

interface OfficialHash {
  Digest: number[];
}

interface OfficialMetadata {
  blob_id: number[];
  metadata: {
    V1: {
      encoding_type: string;
      unencoded_length: number | bigint;
      hashes: { primary_hash: OfficialHash; secondary_hash: OfficialHash }[];
    };
  };
}

/** What the official encoder makes of a blob; slivers by their own index. */
export interface OfficialEncoding {
  blobId: Buffer;
  rootHash: Buffer;
  /** BCS of BlobMetadata. */
  metadata: Buffer;
  symbolBytes: number;
  primary: Buffer[];
  secondary: Buffer[];
}

/** Source symbols along each axis, and the length of a symbol, by the formula of the protocol. */
export function formula(size: number, nShards: number) {
  const faulty = Math.floor((nShards - 1) / 3);
  const rows = nShards - 2 * faulty;
  const columns = nShards - faulty;
  const least = Math.floor((Math.max(size, 1) - 1) / (rows * columns)) + 1;
  return { rows, columns, symbol: least + (least % 2) };
}

const ulebBytes = (value: number): number => (value < 0x80 ? 1 : 1 + ulebBytes(value >> 7));

/** BCS of SliverData, as the official decoder takes it. */
export function sliverBcs(data: Uint8Array, symbolBytes: number, index: number): Uint8Array {
  const Sliver = bcs.struct('SliverData', {
    data: bcs.byteVector(),
    symbol_size: bcs.u16(),
    index: bcs.u16(),
  });
  return Sliver.serialize(
    { data, symbol_size: symbolBytes, index },
    {
      maxSize: data.length + 16,
    },
  ).toBytes();
}

/** Encodes with the official encoder. */
export function officialEncode(data: Uint8Array, nShards: number): OfficialEncoding {
  const { rows, columns, symbol } = formula(data.length, nShards);
  const places = (symbols: number) => {
    const bytes = symbols * symbol;
    return Array.from({ length: nShards }, () => new Uint8Array(ulebBytes(bytes) + bytes + 4));
  };
  const primary = places(columns);
  const secondary = places(rows);
  const encoder = new BlobEncoder(nShards);
  const [metadata, rootHash] = encoder.encode(data, primary, secondary) as [
    OfficialMetadata,
    OfficialHash,
  ];
  encoder.free();
  const V1 = metadata.metadata.V1;
  const digest = (hash: OfficialHash) => ({ Digest: hash.Digest }) as const;
  const bytes = Metadata.serialize(
    {
      V1: {
        encoding_type: { RS2: null },
        unencoded_length: V1.unencoded_length,
        hashes: V1.hashes.map(pair => ({
          primary_hash: digest(pair.primary_hash),
          secondary_hash: digest(pair.secondary_hash),
        })),
      },
    },
    { maxSize: 1 << 20 },
  ).toBytes();
  const content = (slivers: Uint8Array[], symbols: number) =>
    slivers.map(bcsBytes => {
      const length = symbols * symbol;
      return Buffer.from(bcsBytes.buffer, bcsBytes.byteOffset + ulebBytes(length), length);
    });
  return {
    blobId: Buffer.from(metadata.blob_id),
    rootHash: Buffer.from(rootHash.Digest),
    metadata: Buffer.from(bytes),
    symbolBytes: symbol,
    primary: content(primary, columns),
    // Buffers come a pair at a time, and pair i holds secondary sliver n − 1 − i.
    secondary: content(secondary, rows).reverse(),
  };
}

/** Bytes that follow from a seed alone. */
export function seeded(seed: string, bytes: number): Buffer {
  return createHash('shake256', { outputLength: Math.max(bytes, 1) })
    .update(seed)
    .digest()
    .subarray(0, bytes);
}

/** Seed of the golden blob of that shape. */
export const goldenSeed = (nShards: number, size: number) => `rs2/${nShards}/${size}`;
