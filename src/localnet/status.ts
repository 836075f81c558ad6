/** What a localnet says of itself: the shape of `tuskfs localnet status --json`. */
import type { Epoch, SuiId } from '../base/ids.ts';
import type { Tip } from './parameters.ts';

/** A storage node as others see it. */
export interface NodeStatus {
  readonly index: number;
  readonly name: string;
  /** 127.0.0.1:port */
  readonly address: string;
  readonly shards: readonly number[];
  readonly state: 'up' | 'stopped';
  /** What it was told to do wrong. */
  readonly misbehaves: readonly string[];
  /** Processor time of its own process in ms; null where all nodes share one. */
  readonly cpuMs: number | null;
}

/** A running localnet. */
export interface LocalnetStatus {
  /** Base URL of the ledger: Sui's gRPC-web, and the faucet. */
  readonly rpcUrl: string;
  readonly faucetUrl: string;
  /** The upload relay, and what it wants to be paid. */
  readonly relayUrl: string;
  readonly tip: Tip;
  /** The aggregator: `GET /v1/blobs/{id}`. */
  readonly aggregatorUrl: string;
  /** As the official SDK takes it. */
  readonly packageConfig: { readonly systemObjectId: SuiId; readonly stakingPoolId: SuiId };
  readonly nodeScheme: 'http' | 'https';
  readonly nShards: number;
  readonly epoch: Epoch;
  /** Do shards still move to the committee of this epoch? */
  readonly isChanging: boolean;
  /** FROST a unit (1 MiB): storage an epoch, and writing; decimal strings. */
  readonly prices: { readonly storage: string; readonly write: string };
  readonly nodes: readonly NodeStatus[];
  readonly pid: number;
  /** Processor time of all its processes since they started, in ms: ledger and nodes. */
  readonly cpuMs: number;
  readonly directory: string;
}
