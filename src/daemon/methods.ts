/** What the front and the back thread offer each other over the bridge, as plain data. */
import type { PackNo } from '../base/ids.ts';
import type { SliverRequest } from '../content/types.ts';
import type { CheckpointResult, FilePlace, FlushProgress } from '../flush/types.ts';
import type { PackCommit } from '../meta/types.ts';
import type { Balance, EpochTime, NodeHealth } from '../walrus/network.ts';
import type { DaemonConfig, RateTexts } from './config.ts';

/** How the back worker is started. */
export interface BackSettings {
  readonly config: DaemonConfig;
  readonly envelope: Uint8Array;
}

/** What the network's side knows, for `status`. */
export interface BackStatus {
  readonly time: EpochTime | null;
  readonly nodes: readonly NodeHealth[];
  readonly balance: Balance | null;
  readonly networkError: string;
  readonly limits: RateTexts | null;
}

/** Methods of the back, called by the front. */
export type BackMethods = {
  /** Finishes what an earlier daemon left, then makes a checkpoint of everything answered so far. */
  flush(args: { epoch: number | undefined }, signal: AbortSignal): Promise<CheckpointResult>;
  /** Resolves when no upload's tail is running any more. */
  settle(args: null, signal: AbortSignal): Promise<null>;
  fetch(args: SliverRequest, signal: AbortSignal): Promise<null>;
  status(args: null, signal: AbortSignal): Promise<BackStatus>;
  /** How late it is on chain. */
  time(args: null, signal: AbortSignal): Promise<EpochTime>;
  /** Changes the limits that are given; answers those in force. */
  limit(args: Partial<RateTexts>, signal: AbortSignal): RateTexts;
  close(args: null, signal: AbortSignal): Promise<null>;
};

/** Methods of the front, called by the back. */
export type FrontMethods = {
  snapshot(
    args: null,
    signal: AbortSignal,
  ): Promise<{ id: number; directory: string; seq: number }>;
  releaseSnapshot(args: number, signal: AbortSignal): Promise<null>;
  commitPack(
    args: PackCommit,
    signal: AbortSignal,
  ): Promise<{ applied: number; superseded: number }>;
  renewPacks(
    args: readonly { pack: PackNo; endEpoch: number }[],
    signal: AbortSignal,
  ): Promise<null>;
  /** Writes the plain bytes of a frame into a file of the scratch directory and says where. */
  readFrame(args: number, signal: AbortSignal): Promise<FilePlace>;
  /** Resolves if the staged bytes of this log segment match their checksums. */
  verifyStaged(args: number, signal: AbortSignal): Promise<null>;
  progress(args: FlushProgress, signal: AbortSignal): null;
};
