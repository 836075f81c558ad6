/**
 * Who is asked for a blob while the epoch changes: new owners of shards may not have their slivers
 * yet, so what was certified before is read from the committee before (PROTOCOL §7). Which blobs
 * these are, nodes say themselves: the epoch that more than f shards agree on, so that at least one
 * of them is honest. A wrong answer costs a round of asking, never wrong bytes.
 */
import type { LRUCache } from 'lru-cache';
import type { BlobId, Epoch } from '../../base/ids.ts';
import { faultsOf } from '../certificate.ts';
import type { Committee } from '../network.ts';
import { gather } from './gather.ts';
import { byTrust, type ReadParts } from './slivers.ts';

/** The committee to read a blob from. What nodes agreed on is kept in `certified`, and asked for again only if `fresh`. */
export const readingCommittee = async (
  parts: ReadParts,
  certified: LRUCache<BlobId, Epoch>,
  current: Committee,
  blobId: BlobId,
  fresh: boolean,
  signal: AbortSignal,
): Promise<Committee> => {
  const { previous, nShards } = current;
  if (previous === undefined) return current;
  const of = (epoch: Epoch) => (epoch >= current.epoch ? current : previous);
  const known = fresh ? undefined : certified.get(blobId);
  if (known !== undefined) return of(known);
  const { client, clock, random } = parts;
  const agreed = faultsOf(nShards) + 1;
  const shards = new Map<Epoch, number>();
  const most = () =>
    [...shards].reduce<readonly [Epoch, number]>((a, b) => (b[1] > a[1] ? b : a), [0, 0]);
  const found = await gather({
    candidates: byTrust(current.nodes, client.health, random),
    weight: node => node.shards.length,
    needed: () => agreed - most()[1],
    hedgeMs: client.health.hedgeMs(),
    clock,
    signal,
    ask: async (node, abort) => {
      const epoch = await client.certifiedEpoch(node, blobId, abort);
      if (epoch !== undefined) shards.set(epoch, (shards.get(epoch) ?? 0) + node.shards.length);
    },
  });
  if (!found) return previous;
  const [epoch] = most();
  certified.set(blobId, epoch);
  return of(epoch);
};
