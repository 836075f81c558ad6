/** Whole blobs, verified by recomputing the blob ID, and random checks of what nodes hold. */

import { throwIfAborted } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import { type BlobId, blobIdFromBytes, type SliverType } from '../../base/ids.ts';
import { sample } from '../../base/random.ts';
import { native } from '../../native.ts';
import type { BlobRef, Network } from '../network.ts';
import { readPrimaries } from './read.ts';
import { BlobSlivers, type MetadataCache, type ReadParts, sizeOfMetadata } from './slivers.ts';

const assemble = async (
  parts: ReadParts,
  cache: MetadataCache,
  blob: BlobRef,
  verify: boolean,
  signal: AbortSignal,
): Promise<Buffer> => {
  const { primaryBytes, nPrimary } = native.blobShape(blob.size, blob.nShards);
  const whole = Buffer.alloc(primaryBytes * nPrimary);
  const used = Math.min(nPrimary, Math.ceil(blob.size / primaryBytes));
  const indices = Array.from({ length: used }, (_, i) => i);
  await readPrimaries(parts, cache, blob, indices, {
    verify,
    signal,
    onSliver: (index, data) => void data.copy(whole, index * primaryBytes),
  });
  return whole.subarray(0, blob.size);
};

/** The whole blob: slivers unchecked first, checked one by one if the blob ID does not come out. */
export const readBlob = async (
  parts: ReadParts,
  cache: MetadataCache,
  blobId: BlobId,
  signal: AbortSignal,
): Promise<Buffer> => {
  const committee = await parts.committee(false, signal);
  const metadata = await cache.get(parts, committee, blobId, signal);
  const blob = { blobId, size: sizeOfMetadata(metadata), nShards: committee.nShards };
  for (const verify of [false, true]) {
    const bytes = await assemble(parts, cache, blob, verify, signal);
    const encoded = await native.bytesMetadata(bytes, blob.nShards);
    if (blobIdFromBytes(encoded.blobId) === blobId) return bytes;
  }
  throw new TuskError(
    'unverified',
    `blob ${blobId} was stored inconsistently: its slivers verify, but what they decode to has another blob ID`,
    { details: { blobId } },
  );
};

/** Reads random slivers back from the nodes that must hold them, and verifies each. */
export const spotCheck = async (
  parts: ReadParts,
  blob: BlobRef,
  metadata: Buffer,
  count: number,
  signal: AbortSignal,
): ReturnType<Network['spotCheck']> => {
  const committee = await parts.committee(false, signal);
  const slivers = new BlobSlivers(parts.client, committee, blob, metadata);
  const failed: { type: SliverType; index: number; node: string; reason: string }[] = [];
  let held = 0;
  await Promise.all(
    sample(parts.random, 2 * blob.nShards, count).map(async place => {
      const type: SliverType = place < blob.nShards ? 'primary' : 'secondary';
      const index = place % blob.nShards;
      try {
        await slivers.sliver(type, index, signal);
        held++;
      } catch (error) {
        throwIfAborted(signal);
        const node = slivers.nodeOf(type, index).name;
        failed.push({ type, index, node, reason: messageOf(error) });
      }
    }),
  );
  return { held, failed };
};
