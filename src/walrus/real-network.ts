/**
 * `Network` over a real chain and real nodes. This file only wires: chain state and transactions
 * are in chain/, storage nodes in nodes/. One instance serves one wallet.
 */
import { type Clock, systemClock } from '../base/clock.ts';
import { TuskError } from '../base/errors.ts';
import type { BlobId, SuiId } from '../base/ids.ts';
import { log } from '../base/log.ts';
import { type Random, systemRandom } from '../base/random.ts';
import { RateLimiter } from '../base/rate.ts';
import { attributesOf, BLOB_MASK, blobFromObject, blobsOf } from './chain/blobs.ts';
import {
  type Coin,
  chooseCoins,
  KnownObjects,
  listCoins,
  type ObjectRef,
  overBudget,
  payable,
  readOwned,
  refOf,
  SUI_TYPE,
} from './chain/coins.ts';
import { quoteBlob, quoteExtension, withMargin } from './chain/cost.ts';
import { Lane } from './chain/lane.ts';
import { SuiRpc } from './chain/rpc.ts';
import { type Recipe, Signer } from './chain/signer.ts';
import { ChainState } from './chain/state.ts';
import { Submitter, settlesFate } from './chain/submit.ts';
import { certifyTx, deleteTx, extendTx, registerTx } from './chain/transactions.ts';
import type {
  Balance,
  BlobObject,
  BlobRef,
  CertifyRequest,
  Committee,
  EncodedFile,
  ExtendRequest,
  Network,
  NodeHealth,
  Prices,
  Quote,
  RegisterRequest,
  SignedTx,
  StoreRun,
  TxResult,
} from './network.ts';
import { Aggregators } from './nodes/aggregator.ts';
import { ByteBudget } from './nodes/budget.ts';
import { NodeClient, type RateLimits } from './nodes/client.ts';
import { Health } from './nodes/health.ts';
import { NodeHttp } from './nodes/http.ts';
import { type ReadOptions, readPrimaries } from './nodes/read.ts';
import { Relay } from './nodes/relay.ts';
import { startRelayedUpload } from './nodes/relayed-upload.ts';
import { MetadataCache, type ReadParts } from './nodes/slivers.ts';
import { startUpload } from './nodes/upload.ts';
import { UploadBudget } from './nodes/upload-budget.ts';
import { readBlob, spotCheck } from './nodes/whole.ts';
import { WirePool } from './nodes/wire-pool.ts';
import type { Signs } from './wallet.ts';

/** Slivers in memory at a time, over all uploads. */
const UPLOAD_BUDGET_BYTES = 32 * 1024 * 1024;
/** Slivers that are read back for a check at a time, over all blobs. */
const CHECK_BUDGET_BYTES = 8 * 1024 * 1024;

/** How to reach a network. */
export interface RealNetworkSettings {
  readonly name: string;
  /** Sui fullnodes that speak gRPC-web; the next one is used when one fails. */
  readonly rpcUrls: readonly string[];
  readonly systemObjectId: SuiId;
  readonly stakingPoolId: SuiId;
  /** Plain http only where the network's settings say so. */
  readonly nodeScheme: 'http' | 'https';
  /** Aggregators to read from where nodes cannot be reached, in that order. */
  readonly aggregatorUrls?: readonly string[] | undefined;
  /** Upload relay that takes blobs once; nodes are written to directly where it fails. */
  readonly relayUrl?: string | undefined;
  /** Most MIST that the relay's tip for one blob may be, as a decimal string; without it no tip is paid. */
  readonly relayTipMaxMist?: string | undefined;
}

/** Walrus and Sui over HTTP. */
export class RealNetwork implements Network {
  readonly address: SuiId;
  /** Limits of what goes to and comes from storage nodes; their plans may change at any time. */
  readonly limits: RateLimits;
  readonly #parts: ReadParts;
  readonly #rpc: SuiRpc;
  readonly #state: ChainState;
  readonly #known: KnownObjects;
  readonly #signer: Signer;
  readonly #submitter: Submitter;
  readonly #lane = new Lane();
  readonly #http: NodeHttp;
  readonly #client: NodeClient;
  readonly #metadata = new MetadataCache();
  readonly #budget: UploadBudget;
  readonly #checkBudget = new ByteBudget(CHECK_BUDGET_BYTES);
  readonly #pool = new WirePool();
  readonly #relay: Relay | undefined;

  constructor(
    settings: RealNetworkSettings,
    wallet: Signs,
    options: { readonly clock?: Clock; readonly random?: Random } = {},
  ) {
    const parts = {
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
    };
    this.address = wallet.address;
    this.#budget = new UploadBudget(UPLOAD_BUDGET_BYTES, parts.clock);
    this.#rpc = new SuiRpc(settings.name, settings.rpcUrls, parts);
    this.#state = new ChainState(this.#rpc, settings.systemObjectId, settings.stakingPoolId, parts);
    this.#known = new KnownObjects(wallet.address);
    this.#signer = new Signer(this.#rpc, this.#state, this.#known, wallet, parts);
    this.#submitter = new Submitter(this.#rpc, this.#state, this.#known, wallet.address, parts);
    this.#http = new NodeHttp(settings.nodeScheme);
    this.limits = { upload: new RateLimiter(parts.clock), download: new RateLimiter(parts.clock) };
    this.#client = new NodeClient(this.#http, new Health(parts.clock), this.limits, parts);
    const { relayUrl, relayTipMaxMist } = settings;
    if (relayUrl !== undefined) {
      const relay = { url: relayUrl, tipMax: BigInt(relayTipMaxMist ?? 0) };
      this.#relay = new Relay(relay, this.limits.upload, parts);
    }
    this.#parts = {
      ...parts,
      client: this.#client,
      aggregators: new Aggregators(
        settings.aggregatorUrls ?? [],
        parts.clock,
        this.limits.download,
      ),
      committee: (fresh, signal) => this.committee({ fresh, signal }),
    };
  }

  async committee(options: { fresh?: boolean; signal?: AbortSignal } = {}): Promise<Committee> {
    const committee = await this.#state.committee(options.fresh ?? false, options.signal);
    this.#client.health.watch(committee);
    return committee;
  }

  prices(signal?: AbortSignal): Promise<Prices> {
    return this.#state.prices(false, signal);
  }

  async quote(size: number, epochsAhead: number, signal?: AbortSignal): Promise<Quote> {
    const [{ nShards }, prices] = await Promise.all([
      this.committee({ ...(signal && { signal }) }),
      this.prices(signal),
    ]);
    return quoteBlob(size, nShards, epochsAhead, prices);
  }

  async balance(signal?: AbortSignal): Promise<Balance> {
    const { walType } = await this.#state.refs(signal);
    const [wal, sui] = await Promise.all([
      this.#rpc.balance(this.address, walType, signal),
      this.#rpc.balance(this.address, SUI_TYPE, signal),
    ]);
    return { wal, sui };
  }

  #sign(recipe: Recipe, signal?: AbortSignal, fromGas = 0n): Promise<SignedTx> {
    return this.#lane.sign(signal, () => this.#signer.sign(recipe, fromGas, signal));
  }

  #walCoins(walType: string, signal?: AbortSignal): Promise<Coin[]> {
    return listCoins(this.#rpc, this.#known, this.address, walType, this.#parts, signal);
  }

  /** Those of the WAL coins that hold the cost and its margin, within the owner's limit. */
  #payment(what: string, cost: bigint, walMax: bigint, coins: readonly Coin[]) {
    if (cost > walMax) throw overBudget(what, cost, walMax);
    const present = payable(coins);
    const padded = withMargin(cost, walMax);
    // A wallet that holds the price but not the margin pays with what it has.
    const amount = present >= cost && present < padded ? present : padded;
    return { coins: chooseCoins(coins, amount, this.address, 'WAL'), amount };
  }

  #blobs(ids: readonly SuiId[], signal?: AbortSignal) {
    return readOwned(this.#rpc, this.#known, ids, BLOB_MASK, this.#parts, signal);
  }

  async #owned(objectId: SuiId, what: string, signal?: AbortSignal): Promise<ObjectRef> {
    const [object] = await this.#blobs([objectId], signal);
    if (object !== undefined) return refOf(object);
    throw new TuskError('not_found', `${what} ${objectId} does not exist on chain`, {
      details: { objectId },
    });
  }

  async signRegister(request: RegisterRequest, signal?: AbortSignal): Promise<SignedTx> {
    const agreed = await this.#relayTicket(request, signal);
    const tip = agreed?.payment;
    const recipe: Recipe = async refs => {
      const [{ nShards }, prices, coins] = await Promise.all([
        this.committee({ ...(signal && { signal }) }),
        this.#state.prices(true, signal),
        this.#walCoins(refs.walType, signal),
      ]);
      const quote = quoteBlob(request.size, nShards, request.epochsAhead, prices);
      const cost = quote.storage + quote.write;
      const what = `registering blob ${request.blobId}`;
      const paid = this.#payment(what, cost, request.walMax, coins);
      const { address } = this;
      return registerTx(refs, address, request, quote.encodedBytes, paid.coins, paid.amount, tip);
    };
    const tx = await this.#sign(recipe, signal, tip?.amount);
    return agreed === undefined ? tx : { ...tx, relay: agreed.ticket };
  }

  async #relayTicket({ blobId, size, blobPath }: RegisterRequest, signal?: AbortSignal) {
    if (this.#relay === undefined || blobPath === undefined) return undefined;
    const { nShards } = await this.committee({ ...(signal && { signal }) });
    return this.#relay.ticket({ blobId, size, nShards, path: blobPath }, signal);
  }

  signCertify(request: CertifyRequest, signal?: AbortSignal): Promise<SignedTx> {
    return this.#sign(async refs => {
      const { previous } = request.head ?? {};
      const [blob, head] = await Promise.all([
        this.#owned(request.blobObjectId, 'Blob object', signal),
        previous === undefined ? undefined : this.#owned(previous, 'the previous head', signal),
      ]);
      return certifyTx(refs, request, blob, head);
    }, signal);
  }

  signDelete(blobObjectId: SuiId, signal?: AbortSignal): Promise<SignedTx> {
    return this.#sign(async refs => {
      const blob = await this.#owned(blobObjectId, 'Blob object', signal);
      return deleteTx(refs, this.address, blob);
    }, signal);
  }

  /** Those of the blobs that can be paid for longer, within the limit, and what that costs now. */
  async #extensions({ blobObjectIds, endEpoch, walMaxEach }: ExtendRequest, signal?: AbortSignal) {
    const [{ originalPackage }, prices, objects] = await Promise.all([
      this.#state.refs(signal),
      this.#state.prices(true, signal),
      this.#blobs(blobObjectIds, signal),
    ]);
    const found: { blob: ObjectRef; epochs: number; cost: bigint }[] = [];
    let refused: TuskError | undefined;
    for (const object of objects) {
      const facts = blobFromObject(object, originalPackage);
      const lives = facts?.certifiedEpoch !== undefined && facts.endEpoch > prices.epoch;
      if (!lives || facts.endEpoch >= endEpoch) continue;
      const epochs = endEpoch - facts.endEpoch;
      const cost = quoteExtension(facts.storageBytes, epochs, prices);
      if (cost > walMaxEach) refused = overBudget(`extending ${facts.objectId}`, cost, walMaxEach);
      else found.push({ blob: refOf(object!), epochs, cost });
    }
    if (refused !== undefined && found.length === 0) throw refused;
    if (refused !== undefined) log('walrus').warn(refused.message);
    return found;
  }

  async signExtend(request: ExtendRequest, signal?: AbortSignal): Promise<SignedTx | undefined> {
    if ((await this.#extensions(request, signal)).length === 0) return undefined;
    return this.#sign(async refs => {
      // Read again with each attempt: versions and prices are those of the transaction.
      const [found, coins] = await Promise.all([
        this.#extensions(request, signal),
        this.#walCoins(refs.walType, signal),
      ]);
      const extensions = affordable(found, payable(coins));
      const left = found.length - extensions.length;
      if (left > 0)
        log('walrus').warn({ left }, 'the wallet does not hold what all extensions cost');
      const cost = extensions.reduce((sum, each) => sum + each.cost, 0n);
      const walMax = request.walMaxEach * BigInt(extensions.length);
      const what = `extending ${extensions.length} blobs`;
      const paid = this.#payment(what, cost, walMax, coins);
      return extendTx(refs, extensions, paid.coins, paid.amount);
    }, signal);
  }

  submit(tx: SignedTx, signal?: AbortSignal): Promise<TxResult> {
    return this.#lane.send(tx.digest, signal, settlesFate, () =>
      this.#submitter.submit(tx, signal),
    );
  }

  async blobObjects(
    objectIds: readonly SuiId[],
    signal?: AbortSignal,
  ): Promise<(BlobObject | undefined)[]> {
    const [{ originalPackage }, objects] = await Promise.all([
      this.#state.refs(signal),
      this.#blobs(objectIds, signal),
    ]);
    return objects.map(object => blobFromObject(object, originalPackage));
  }

  async blobsOf(owner: SuiId, signal?: AbortSignal): Promise<BlobObject[]> {
    const { originalPackage } = await this.#state.refs(signal);
    return blobsOf(this.#rpc, owner, originalPackage, signal);
  }

  attributes(objectId: SuiId, signal?: AbortSignal): Promise<Record<string, string>> {
    return attributesOf(this.#rpc, objectId, signal);
  }

  store(
    file: EncodedFile,
    object: { readonly objectId: SuiId; readonly deletable: boolean },
    options: Parameters<Network['store']>[2],
  ): StoreRun {
    const parts = { ...this.#parts, budget: this.#budget, pool: this.#pool };
    const { blobPath } = file;
    const { digest = '', relay: ticket } = options.registration ?? {};
    const relay = this.#relay;
    if (
      relay === undefined ||
      ticket === undefined ||
      blobPath === undefined ||
      !relay.serves(ticket)
    )
      return startUpload(parts, file, object, options);
    const registration = { digest, ticket };
    return startRelayedUpload(
      { ...parts, relay },
      { ...file, blobPath },
      object,
      registration,
      options,
    );
  }

  readPrimaries(blob: BlobRef, indices: number[], options: ReadOptions): Promise<void> {
    return readPrimaries(this.#parts, this.#metadata, blob, indices, options);
  }

  readBlob(blobId: BlobId, signal: AbortSignal): Promise<Buffer> {
    return readBlob(this.#parts, this.#metadata, blobId, signal);
  }

  spotCheck(
    blob: BlobRef,
    metadata: Buffer,
    count: number,
    signal: AbortSignal,
  ): ReturnType<Network['spotCheck']> {
    const parts = { ...this.#parts, budget: this.#checkBudget, pool: this.#pool };
    return spotCheck(parts, blob, metadata, count, signal);
  }

  health(): NodeHealth[] {
    return this.#client.health.report();
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#http.close(),
      this.#parts.aggregators.close(),
      this.#relay?.close(),
      this.#rpc.close(),
    ]);
  }
}

/** The first ones that can be paid; all where not even the first can, for whoever says what is missing. */
const affordable = <T extends { readonly cost: bigint }>(
  all: readonly T[],
  present: bigint,
): readonly T[] => {
  let left = present;
  const tooDear = all.findIndex(({ cost }) => {
    left -= cost;
    return left < 0n;
  });
  return tooDear > 0 ? all.slice(0, tooDear) : all;
};
