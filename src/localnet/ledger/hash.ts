/** Hashes of Sui: blake2b-256 over a tag and bytes, printed as base58 or as an address. */
import { toBase58 } from '@mysten/sui/utils';
import { blake2b } from '@noble/hashes/blake2.js';

/** blake2b with 32 bytes of output over the parts in order. */
export const blake2b256 = (...parts: Uint8Array[]): Uint8Array => {
  const hash = blake2b.create({ dkLen: 32 });
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Digest of a Sui structure: blake2b-256(`tag::` ‖ bytes), base58. */
export const digestOf = (tag: string, bytes: Uint8Array): string =>
  toBase58(blake2b256(Buffer.from(`${tag}::`), bytes));

/** Object id from bytes: 0x and 64 hex digits. */
export const idOf = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`;
