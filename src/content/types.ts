/** What content asks of the network side (the back thread): bytes come through the cache file, not through messages. */
import type { BlobId, Epoch, PackNo, SuiId } from '../base/ids.ts';

/** Systematic primary slivers of a pack to be brought into its cache file, each at its own place (index × primaryBytes). */
export interface SliverRequest {
  pack: PackNo;
  blobId: BlobId;
  /** Blob object, and the first epoch for which it is not paid, as the index knows. */
  objectId: SuiId;
  endEpoch: Epoch;
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

/** Brings slivers; rejects with a TuskError naming blob and shards (`too_few_shards`, `expired`, `timeout`, `network` …). */
export interface SliverSource {
  fetch(request: SliverRequest, signal?: AbortSignal): Promise<void>;
}

/** What opens the frames of one pack: its AES-256-GCM key and the head of the associated data. */
export interface FrameKey {
  readonly key: Uint8Array;
  readonly aadPrefix: Uint8Array;
}

/** How much room content may take. */
export interface ContentLimits {
  /** Opened frames in memory. */
  readonly memoryBytes: number;
  /** Slivers on disk. */
  readonly cacheBytes: number;
  /** Space of the disk that the cache leaves free: it shrinks rather than go below. */
  readonly freeBytesMin: number;
  /** Fetched ahead of a sequential reader, at most. */
  readonly readAheadBytes: number;
  /** Deadline of one fetch from the network. */
  readonly fetchTimeoutMs: number;
}

/** Figures for `status`, counted since the mount. */
export interface ContentCounters {
  /** Reads answered by an opened frame in memory, and frames that had to be opened. */
  frameHits: number;
  framesOpened: number;
  /** Slivers that openings found on disk, that were fetched, and their bytes. */
  sliverHits: number;
  sliversFetched: number;
  bytesFetched: number;
  /** Frames whose tag did not hold at first; those that stayed wrong are the failures. */
  tagFailures: number;
  unverified: number;
  fetchFailures: number;
  bytesEvicted: number;
}
