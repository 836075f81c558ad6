/**
 * What the rest of tuskfs knows of Walrus and Sui. The real form is `RealNetwork` (network of
 * chain and nodes over HTTP); tests decorate it with faults. Everything takes a signal, has a
 * deadline of its own and rejects with `TuskError`.
 */
import type { ErrorCode } from '../base/errors.ts';
import type { BlobId, Epoch, Frost, Mist, SliverType, SuiId, TxDigest } from '../base/ids.ts';

/** A storage node as the chain names it. */
export interface StorageNode {
  /** Position in the system committee: the index in certificates. */
  readonly index: number;
  readonly nodeId: SuiId;
  readonly name: string;
  /** host:port */
  readonly address: string;
  /** BLS public key, 96 bytes uncompressed. */
  readonly publicKey: Buffer;
  /** Network public key (P-256), as the pool publishes it. */
  readonly networkPublicKey: Buffer;
  readonly shards: readonly number[];
}

/** The committee of an epoch, with everything that writing and reading need. */
export interface Committee {
  readonly epoch: Epoch;
  readonly nShards: number;
  readonly nodes: readonly StorageNode[];
  /** Node of each shard. */
  readonly nodeOfShard: readonly StorageNode[];
  /** The committee of the epoch before, while shards still move to their new owners. */
  readonly previous?: Committee;
}

/** Where Walrus' time stands. */
export interface EpochTime {
  readonly epoch: Epoch;
  /** Epochs' length in ms, for dates; 0 where they end only when told to. */
  readonly epochMs: number;
  /** When this epoch began (ms since 1970); 0 while it is just beginning. */
  readonly epochStartMs: number;
}

/** Current prices, in FROST a storage unit (1 MiB encoded) and epoch, and a unit written. */
export interface Prices extends EpochTime {
  readonly storagePerUnitEpoch: Frost;
  readonly writePerUnit: Frost;
}

/** What one blob costs. */
export interface Quote {
  readonly encodedBytes: number;
  readonly storage: Frost;
  readonly write: Frost;
}

/** What a registration agreed with the upload relay; kept with the signed bytes, so that a retry shows the same. */
export interface RelayTicket {
  readonly url: string;
  /** MIST that the transaction pays the relay, as a decimal string. */
  readonly tip: string;
  /** Secret that proves to the relay who paid, base64url; none where no tip is asked. */
  readonly nonce?: string;
}

/** A transaction signed but perhaps not yet sent; these very bytes are sent again after a crash. */
export interface SignedTx {
  readonly digest: TxDigest;
  /** BCS TransactionData, base64. */
  readonly bytes: string;
  /** Serialized signature, base64. */
  readonly signature: string;
  /** Epoch of Sui after which it can no longer execute. */
  readonly expiresAfterEpoch: number;
  /** A registration whose bytes go to the upload relay. */
  readonly relay?: RelayTicket;
}

/** A final transaction. */
export interface TxResult {
  readonly digest: TxDigest;
  readonly ok: boolean;
  /** The abort or error as text when not ok. */
  readonly error: string;
  /** What kind of failure, when not ok: `conflicting_head`, `price_changed`, `stale_package`, `epoch_changed`, `unfunded`, else `tx_failed`. */
  readonly code?: ErrorCode;
  /** Name of the Move function and abort code, if it aborted. */
  readonly abort?: { readonly module: string; readonly fn: string; readonly code: number };
  /** Created Blob object, if any. */
  readonly blobObjectId?: SuiId;
  /** What the signer paid. */
  readonly walSpent: Frost;
  readonly suiSpent: Mist;
}

/** A Blob object on the chain. */
export interface BlobObject {
  readonly objectId: SuiId;
  readonly blobId: BlobId;
  readonly size: number;
  readonly registeredEpoch: Epoch;
  readonly certifiedEpoch: Epoch | undefined;
  readonly endEpoch: Epoch;
  readonly deletable: boolean;
  readonly storageBytes: number;
}

/** An encoded blob on this machine, ready to be stored; slivers are read from `sliversPath` (native.encodeFile's layout). */
export interface EncodedFile {
  readonly blobId: BlobId;
  readonly rootHash: Buffer;
  readonly size: number;
  readonly nShards: number;
  readonly metadata: Buffer;
  readonly sliversPath: string;
  /** The blob itself, for the upload relay. */
  readonly blobPath?: string;
}

/** A certificate of availability, as the chain takes it. */
export interface Certificate {
  readonly epoch: Epoch;
  readonly message: Buffer;
  readonly signature: Buffer;
  readonly signersBitmap: Buffer;
  /** Shards of the nodes that signed. */
  readonly shards: number;
}

/** A running upload. */
export interface StoreRun {
  /** As soon as nodes of a quorum of shards (3w ≥ 2n+1) have confirmed. */
  readonly certificate: Promise<Certificate>;
  /**
   * Goes on behind the certificate, best when it is on the chain: what is on its way to more nodes would
   * be before it on the line. Resolves when every reachable node has everything, or after the tail's
   * limit: shards stored and nodes missing. Never rejects.
   */
  tail(): Promise<{ shards: number; missing: string[] }>;
}

/** Progress of an upload, for `status` and bars. */
export interface StoreProgress {
  bytesSent: number;
  bytesTotal: number;
  shardsConfirmed: number;
}

/** State of a node as this client sees it. */
export interface NodeHealth {
  readonly index: number;
  readonly nodeId: SuiId;
  readonly name: string;
  readonly address: string;
  readonly shards: number;
  /** ok; silent = unreachable of late; liar = sent bytes that did not verify. */
  readonly state: 'ok' | 'silent' | 'liar' | 'unknown';
  readonly lastError: string;
}

/** A blob to be read. */
export interface BlobRef {
  readonly blobId: BlobId;
  readonly size: number;
  readonly nShards: number;
}

/** Balance of the volume's wallet. */
export interface Balance {
  readonly wal: Frost;
  readonly sui: Mist;
}

/** What a registration needs to know. */
export interface RegisterRequest {
  readonly blobId: BlobId;
  readonly rootHash: Buffer;
  readonly size: number;
  readonly epochsAhead: number;
  readonly deletable: boolean;
  /** Attributes set on the new Blob object (hints). */
  readonly attributes: Readonly<Record<string, string>>;
  /** Most FROST this registration may cost; above: `over_budget`. The coin passed holds the quote + 10 %, never above this; the rest comes back. */
  readonly walMax: Frost;
  /** File of the blob's bytes: with it, the upload relay of the settings may be used (and paid its tip). */
  readonly blobPath?: string;
}

/** What a certification needs to know. */
export interface CertifyRequest {
  readonly blobObjectId: SuiId;
  readonly certificate: Certificate;
  /** If given, this blob becomes the head in the same transaction: `key` is removed from `previous` (unless undefined) and set to `value` here. */
  readonly head?: {
    readonly key: string;
    readonly value: string;
    readonly previous: SuiId | undefined;
  };
}

/** What an extension needs to know. */
export interface ExtendRequest {
  readonly blobObjectIds: readonly SuiId[];
  /** First epoch that shall not be paid; what is paid so far already is left as it is. */
  readonly endEpoch: Epoch;
  /** Most FROST that the extension of one of them may cost; above: `over_budget`. */
  readonly walMaxEach: Frost;
}

/** Walrus and Sui as tuskfs uses them. */
export interface Network {
  /** Address of the wallet that signs. */
  readonly address: SuiId;
  /** Committee, cached; `fresh` reads chain state anew (after an epoch change, wrong package or repeated failures). */
  committee(options?: { fresh?: boolean; signal?: AbortSignal }): Promise<Committee>;
  /** Prices, never older than 30 s. */
  prices(signal?: AbortSignal): Promise<Prices>;
  quote(size: number, epochsAhead: number, signal?: AbortSignal): Promise<Quote>;
  balance(signal?: AbortSignal): Promise<Balance>;

  /** Builds and signs; sends nothing. Prices are read fresh. Rejects `unfunded`, `over_budget` (price or tip). */
  signRegister(request: RegisterRequest, signal?: AbortSignal): Promise<SignedTx>;
  signCertify(request: CertifyRequest, signal?: AbortSignal): Promise<SignedTx>;
  signDelete(blobObjectId: SuiId, signal?: AbortSignal): Promise<SignedTx>;
  /** Extends, in one transaction, those that end earlier and have not ended, the first ones if the wallet cannot pay for all; undefined if there are none. */
  signExtend(request: ExtendRequest, signal?: AbortSignal): Promise<SignedTx | undefined>;
  /**
   * Sends exactly these bytes (again if need be) until the transaction is final and readers see its
   * effects. A transaction that failed on chain is a result with `ok: false`; `tx_expired` if it can
   * never execute any more (then another may be built).
   */
  submit(tx: SignedTx, signal?: AbortSignal): Promise<TxResult>;

  /** Blob objects by id, in order; undefined where there is none. */
  blobObjects(
    objectIds: readonly SuiId[],
    signal?: AbortSignal,
  ): Promise<(BlobObject | undefined)[]>;
  /** All Blob objects of an address (pages followed). */
  blobsOf(owner: SuiId, signal?: AbortSignal): Promise<BlobObject[]>;
  /** Attributes of a Blob object. */
  attributes(objectId: SuiId, signal?: AbortSignal): Promise<Record<string, string>>;

  /**
   * Stores slivers on all nodes in parallel; resumable: what a node already has is not sent again.
   * With a registration that has a relay's ticket the relay is asked to do it; if it fails, as without.
   */
  store(
    file: EncodedFile,
    object: { objectId: SuiId; deletable: boolean },
    options: {
      signal: AbortSignal;
      onProgress?: (progress: StoreProgress) => void;
      tailMs: number;
      registration?: Pick<SignedTx, 'digest' | 'relay'> | undefined;
    },
  ): StoreRun;

  /**
   * Systematic primary slivers by index (each `primaryBytes`, the last ones zero-padded). `onSliver` is
   * called as each arrives. With `verify` every sliver that is given is checked against metadata that is
   * checked against the blob ID, also one that was made from others, and liars are remembered. Without,
   * only its length is checked: the caller has another proof, the tags of sealed frames. Falls back as
   * DESIGN §3 says. Rejects `too_few_shards`/`timeout` naming blob and shards, and `unverified` if the
   * slivers do not belong together.
   */
  readPrimaries(
    blob: BlobRef,
    indices: number[],
    options: {
      verify: boolean;
      signal: AbortSignal;
      onSliver: (index: number, data: Buffer) => Promise<void> | void;
    },
  ): Promise<void>;
  /** The whole blob, every sliver of it verified against the blob ID. */
  readBlob(blobId: BlobId, signal: AbortSignal): Promise<Buffer>;
  /** Reads `count` random slivers back from their nodes and verifies them; returns how many held and who lied. */
  spotCheck(
    blob: BlobRef,
    metadata: Buffer,
    count: number,
    signal: AbortSignal,
  ): Promise<{
    held: number;
    failed: { type: SliverType; index: number; node: string; reason: string }[];
  }>;

  /** What is known of each node now. */
  health(): NodeHealth[];
  close(): Promise<void>;
}
