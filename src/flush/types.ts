/** What the flush is made of and what it tells: the parts it is given, its progress, its result. */
import type { Clock } from '../base/clock.ts';
import type { BlobId, FrameId, Frost, LogAddr, Mist, PackNo, Seq, SuiId } from '../base/ids.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { VolumeKeys } from '../format/keys.ts';
import type { PackCommit } from '../meta/types.ts';
import type { Network } from '../walrus/network.ts';

/** Bytes of some file. */
export interface FilePlace {
  readonly path: string;
  readonly offset: number;
}

/** A consistent copy of `index.db` and `local.db` in `directory`, held until `release`. */
export interface FlushSnapshot {
  readonly directory: string;
  /** Every log record up to here is in the copy, none after. */
  readonly seq: Seq;
  release(): Promise<void>;
}

/** What the flush asks of the index and its log; all arguments and answers but `release` are plain data. */
export interface FlushFront {
  snapshot(): Promise<FlushSnapshot>;
  /** Enters a certified pack; doing so twice is harmless. */
  commitPack(commit: PackCommit): Promise<{ applied: number; superseded: number }>;
  /** Packs are paid for longer, until these epochs; *local* when it resolves. */
  renewPacks(ends: readonly { pack: PackNo; endEpoch: number }[]): Promise<void>;
  /** File and offset of staged bytes; asked once for each log segment, with the address of its first byte. */
  stagedPlace(addr: LogAddr): Promise<FilePlace>;
  /** Opened bytes of an older frame in a file; the file may go when the snapshot is released. */
  readFrame(frame: FrameId, signal: AbortSignal): Promise<FilePlace>;
}

/** Where the flush keeps things; all exist. `outbox` and `cache` are on one file system. */
export interface FlushDirectories {
  readonly outbox: string;
  readonly journal: string;
  readonly cache: string;
  readonly scratch: string;
}

/** Limits that the owner set. */
export interface FlushLimits {
  readonly epochsAhead: number;
  /** Most FROST that one pack may cost. */
  readonly walMaxPerPack: Frost;
  /** How long an upload goes on behind its certificate. */
  readonly tailMs: number;
  /** Largest pack before padding. */
  readonly packBytesMax: number;
}

/** All that a `Flusher` needs. */
export interface FlushParts {
  readonly network: Network;
  readonly keys: VolumeKeys;
  /** The envelope that every checkpoint carries. */
  readonly envelope: Buffer;
  readonly directories: FlushDirectories;
  readonly front: FlushFront;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: FlushLimits;
  readonly logger: Logger;
}

/** States of a flush, as `status` shows them. */
export type FlushState =
  | 'idle'
  | 'choosing'
  | 'cutting'
  | 'sealing'
  | 'encoding'
  | 'registering'
  | 'storing'
  | 'certifying'
  | 'committing';

/** How far the flush has come; plain data. */
export interface FlushProgress {
  state: FlushState;
  bytesDone: number;
  bytesTotal: number;
  /** Files with staged bytes in this flush. */
  files: number;
  /** Packs certified in this flush. */
  packs: number;
  /** Packs sealed here whose upload is not over. */
  packsPending: number;
  /** Why it does not go on; empty while it does. */
  pending: string;
}

/** The newest checkpoint known here (`head.json`). */
export interface Head {
  readonly sequence: number;
  readonly blobId: BlobId;
  readonly objectId: SuiId;
  readonly size: number;
  readonly nShards: number;
  readonly timeMs: number;
  /** Last log record that this checkpoint is known to cover without a difference in the tree. */
  readonly seq: Seq;
}

/** What everything has cost so far. */
export interface Spent {
  readonly wal: Frost;
  readonly sui: Mist;
  readonly packs: number;
  readonly encodedBytes: number;
}

/** What a flush did. */
export interface CheckpointResult {
  /** False: nothing had changed, nothing was paid. */
  readonly stored: boolean;
  readonly head: Head | undefined;
  readonly packs: number;
  /** Why not everything that runs out was renewed; empty if it was, or nothing does. */
  readonly notRenewed: string;
  /** Plain bytes of new frames. */
  readonly bytesStored: number;
  /** Staged bytes that were stored already. */
  readonly bytesShared: number;
  readonly wal: Frost;
  readonly sui: Mist;
}
