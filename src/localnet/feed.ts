/**
 * What a storage node of localnet learns from the ledger, and how: numbered events over HTTP from
 * the ledger's own port, the same in one process and in many. A node acts on an event only after
 * its delay has passed since `atMs`, as real nodes lag behind the chain.
 */
import type { BlobId, Epoch, SuiId } from '../base/ids.ts';

/** Something that happened on the ledger and that storage nodes care about. */
export type LedgerEvent = {
  readonly seq: number;
  readonly atMs: number;
  /** Transaction that it happened in, and its number among that transaction's events (Sui's EventID). */
  readonly txDigest: string;
  readonly eventSeq: number;
} & (
  | {
      readonly kind: 'registered' | 'certified' | 'extended';
      readonly blobId: BlobId;
      readonly objectId: SuiId;
      readonly size: number;
      readonly deletable: boolean;
      readonly endEpoch: Epoch;
      readonly epoch: Epoch;
    }
  | {
      readonly kind: 'deleted';
      readonly blobId: BlobId;
      readonly objectId: SuiId;
      readonly epoch: Epoch;
    }
  | {
      readonly kind: 'epoch';
      readonly epoch: Epoch;
      /** Shards by node index, if they are not those of the epoch before: shards must move. */
      readonly committee?: readonly (readonly number[])[];
    }
  /** Nodes of a quorum of shards have what the new committee must hold. */
  | { readonly kind: 'epochDone'; readonly epoch: Epoch }
  /** A quorum attested that the blob's slivers are no encoding. */
  | { readonly kind: 'invalidated'; readonly blobId: BlobId; readonly epoch: Epoch }
);

/** A node as the ledger's genesis describes it. */
export interface GenesisNode {
  readonly index: number;
  readonly nodeId: SuiId;
  readonly name: string;
  /** 127.0.0.1:port */
  readonly address: string;
  /** BLS public key, 96 bytes uncompressed, hex. */
  readonly publicKey: string;
  /** P-256 public key of the TLS certificate, as the pool publishes it, hex; empty without --tls. */
  readonly networkPublicKey: string;
  /** At genesis. */
  readonly shards: readonly number[];
}

/** `GET /localnet/state` of the ledger. */
export interface LedgerState {
  readonly epoch: Epoch;
  readonly nShards: number;
  readonly nodes: readonly GenesisNode[];
  /** Shards by node index now; none: the node is not in the committee. */
  readonly committee: readonly (readonly number[])[];
  /** Those of the epoch before, while shards move. */
  readonly previous?: readonly (readonly number[])[];
  readonly registrationDelayMs: number;
  readonly systemObjectId: SuiId;
  readonly stakingPoolId: SuiId;
}

/** `GET /localnet/events?since=SEQ&waitMs=N`: events with a greater seq, waiting up to N ms for one. */
export interface LedgerEvents {
  readonly events: readonly LedgerEvent[];
}

/** Members of the committee in the order of certificates, with their shards now. */
export const membersOf = (state: LedgerState): GenesisNode[] =>
  state.nodes
    .map(node => ({ ...node, shards: state.committee[node.index] ?? [] }))
    .filter(node => node.shards.length > 0);

/** Who serves reads: while shards move, the nodes of the epoch before. */
export const readersOf = (state: LedgerState): GenesisNode[] =>
  membersOf({ ...state, committee: state.previous ?? state.committee });
