/** What content asks of the network side (the back thread): bytes come through the cache file, not through messages. */
import type { BlobId, PackNo } from '../base/ids.ts';

/** Systematic primary slivers of a pack to be brought into its cache file, each at its own place (index × primaryBytes). */
export interface SliverRequest {
  pack: PackNo;
  blobId: BlobId;
  size: number;
  nShards: number;
  slivers: number[];
  /** Check every contributing sliver against the metadata (after a tag did not hold); else trust the seal. */
  verify: boolean;
  /** The sparse cache file of the pack; exists. */
  cachePath: string;
  /** Wall time after which the request fails with `timeout`. */
  timeoutMs: number;
}

/** Brings slivers; rejects with a TuskError naming blob and shards (`too_few_shards`, `timeout`, `network` …). */
export interface SliverSource {
  fetch(request: SliverRequest, signal?: AbortSignal): Promise<void>;
}
