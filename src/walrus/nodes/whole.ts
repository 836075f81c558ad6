/** Whole blobs, and random checks of what nodes hold. */

import { throwIfAborted } from '../../base/abort.ts';
import { messageOf } from '../../base/errors.ts';
import type { BlobId, SliverType } from '../../base/ids.ts';
import { sample } from '../../base/random.ts';
import { native } from '../../native.ts';
import type { BlobRef, Network } from '../network.ts';
import type { ByteBudget } from './budget.ts';
import { readPrimaries } from './read.ts';
import { BlobSlivers, type MetadataCache, type ReadParts, sizeOfMetadata } from './slivers.ts';
import type { WirePool } from './wire-pool.ts';

/**
 * The whole blob, every sliver put into its place as it comes. Each that holds bytes of it is verified
 * against metadata that is verified against the blob ID, also those that were made from others; that
 * binds all its bytes, as the official clients' default check does.
 */
export const readBlob = async (
  parts: ReadParts,
  cache: MetadataCache,
  blobId: BlobId,
  signal: AbortSignal,
): Promise<Buffer> => {
  const committee = await parts.committee(false, signal);
  const metadata = await cache.get(parts, committee, blobId, signal);
  const blob = { blobId, size: sizeOfMetadata(metadata), nShards: committee.nShards };
  const { primaryBytes } = native.blobShape(blob.size, blob.nShards);
  const used = Math.ceil(blob.size / primaryBytes);
  const whole = Buffer.allocUnsafeSlow(used * primaryBytes);
  await readPrimaries(
    parts,
    cache,
    blob,
    Array.from({ length: used }, (_, i) => i),
    {
      verify: true,
      signal,
      place: index => whole.subarray(index * primaryBytes, (index + 1) * primaryBytes),
      onSliver: () => undefined,
    },
  );
  return whole.subarray(0, blob.size);
};

/** Reads random slivers back from the nodes that must hold them, within a budget, and verifies each. */
export const spotCheck = async (
  parts: ReadParts & { readonly budget: ByteBudget; readonly pool: WirePool },
  blob: BlobRef,
  metadata: Buffer,
  count: number,
  signal: AbortSignal,
): ReturnType<Network['spotCheck']> => {
  const committee = await parts.committee(false, signal);
  const slivers = new BlobSlivers(parts.client, committee, blob, metadata);
  const { primaryBytes, secondaryBytes } = slivers.shape;
  const failed: { type: SliverType; index: number; node: string; reason: string }[] = [];
  let held = 0;
  await Promise.all(
    sample(parts.random, 2 * blob.nShards, count).map(async place => {
      const type: SliverType = place < blob.nShards ? 'primary' : 'secondary';
      const index = place % blob.nShards;
      try {
        await parts.budget.using(primaryBytes, signal, async () => {
          const memory = parts.pool.take(type === 'primary' ? primaryBytes : secondaryBytes);
          parts.pool.give(await slivers.sliver(type, index, signal, memory));
        });
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
