/**
 * Branded identifiers. The brand exists for the compiler only: at run time an `Ino` is a plain
 * number and a `BlobId` a plain string, so that nothing is allocated on the hot path.
 */

import './latin1.ts';

declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]?: B };

/** Inode number of the tree; 1 is the root; never reused. */
export type Ino = Brand<number, 'Ino'>;
/** File name as bytes: one char per byte (latin1), never UTF-16 text; 1–255 bytes, no `/`, no NUL. */
export type Name = Brand<string, 'Name'>;
/** Number of a log record; starts at 1, grows by 1. */
export type Seq = Brand<number, 'Seq'>;
/** Address of bytes in the local log: segment number × SEGMENT_BYTES + offset in the segment. */
export type LogAddr = Brand<number, 'LogAddr'>;
/** Row number of a frame in the index. */
export type FrameId = Brand<number, 'FrameId'>;
/** Row number of a pack in the index. */
export type PackNo = Brand<number, 'PackNo'>;
/** Walrus blob ID: unpadded URL-safe base64 of its 32 bytes. */
export type BlobId = Brand<string, 'BlobId'>;
/** Sui object id or address: 0x and 64 hex digits. */
export type SuiId = Brand<string, 'SuiId'>;
/** Sui transaction digest, base58. */
export type TxDigest = Brand<string, 'TxDigest'>;
/** Walrus epoch. */
export type Epoch = Brand<number, 'Epoch'>;
/** Money in the smallest unit of WAL (10⁻⁹ WAL). */
export type Frost = bigint;
/** Money in the smallest unit of SUI (10⁻⁹ SUI). */
export type Mist = bigint;
/** Axis of a sliver (Walrus' own words). */
export type SliverType = 'primary' | 'secondary';

/** Inode number of the root directory. */
export const ROOT_INO: Ino = 1;

/** Names as bytes from text typed by a person (UTF-8). */
export const nameFromText = (text: string): Name => Buffer.from(text, 'utf8').latin1Slice();
/** Names as text for a person's eyes; bytes that are no UTF-8 become U+FFFD. */
export const nameToText = (name: Name): string => Buffer.from(name, 'latin1').toString('utf8');
/** Blob ID from its 32 bytes. */
export const blobIdFromBytes = (bytes: Uint8Array): BlobId =>
  Buffer.from(bytes).toString('base64url');
/** The 32 bytes of a blob ID. */
export const blobIdToBytes = (id: BlobId): Buffer => Buffer.from(id, 'base64url');
