/** Blob IDs by the official encoder. */
import { BlobEncoder } from '@mysten/walrus-wasm';

/** The blob ID (unpadded URL-safe base64) that the official WASM computes. */
export const officialBlobId = (bytes: Uint8Array, nShards: number): string => {
  const [id] = new BlobEncoder(nShards).compute_metadata(bytes) as [Iterable<number>];
  return Buffer.from([...id]).toString('base64url');
};
