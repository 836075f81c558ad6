/**
 * `Network` with planned faults in front of another one: the seam for what real networks do to a
 * client. Each fault strikes at one pass of one call; `finish` fails when a planned one never did.
 */

import { deadline } from '../../src/base/abort.ts';
import { systemClock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import type { BlobId, SuiId } from '../../src/base/ids.ts';
import type {
  BlobRef,
  CertifyRequest,
  EncodedFile,
  ExtendRequest,
  Network,
  RegisterRequest,
  SignedTx,
  StoreRun,
} from '../../src/walrus/network.ts';

/** Calls at which a fault can strike. */
export type FaultyCall = Exclude<keyof Network, 'address' | 'health' | 'close'>;

/** What happens. */
export type Fault =
  /** Nothing is done; the call rejects (for `store`: the certificate does). */
  | { readonly kind: 'refuse'; readonly error?: TuskError }
  /** The call happens later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The call happens and its answer is lost. */
  | { readonly kind: 'lost' }
  /** Reads: one byte of what comes is another. */
  | { readonly kind: 'wrongBytes' }
  /** Reads end after the first sliver, stores after the first progress. */
  | { readonly kind: 'cut' };

/** A fault and where it strikes: at the `pass`-th call (from 1). */
export type Plan = Fault & { readonly call: FaultyCall; readonly pass?: number };

type Reads = Parameters<Network['readPrimaries']>[2];
type Stores = Parameters<Network['store']>[2];

const lostAnswer = (call: FaultyCall): TuskError =>
  new TuskError('network', `planned fault: no answer from ${call}`);

const wrong = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  if (copy.length > 0) copy[copy.length >> 1]! ^= 0x01;
  return copy;
};

/** A network that misbehaves as planned. */
export class FaultyNetwork implements Network {
  readonly #inner: Network;
  readonly #plans: Set<Plan>;
  readonly #passes = new Map<FaultyCall, number>();
  /** Faults that have struck, in order. */
  readonly fired: Plan[] = [];

  constructor(inner: Network, plans: readonly Plan[] = []) {
    this.#inner = inner;
    this.#plans = new Set(plans);
  }

  get address(): SuiId {
    return this.#inner.address;
  }

  /** Adds a fault; its pass counts from now. */
  plan(plan: Plan): void {
    this.#plans.add({ ...plan, pass: (this.#passes.get(plan.call) ?? 0) + (plan.pass ?? 1) });
  }

  /** Fails if a planned fault has not struck. */
  finish(): void {
    const left = [...this.#plans].map(({ call, kind, pass = 1 }) => `${kind} at ${call}:${pass}`);
    if (left.length > 0) throw new Error(`planned faults never struck: ${left.join(', ')}`);
  }

  #strike(call: FaultyCall): Fault | undefined {
    const pass = (this.#passes.get(call) ?? 0) + 1;
    this.#passes.set(call, pass);
    for (const plan of this.#plans) {
      if (plan.call !== call || (plan.pass ?? 1) !== pass) continue;
      this.#plans.delete(plan);
      this.fired.push(plan);
      return plan;
    }
    return undefined;
  }

  async #through<T>(
    call: FaultyCall,
    signal: AbortSignal | undefined,
    run: (fault: Fault | undefined) => Promise<T>,
  ): Promise<T> {
    const fault = this.#strike(call);
    if (fault?.kind === 'refuse') throw fault.error ?? lostAnswer(call);
    if (fault?.kind === 'delay') await systemClock.sleep(fault.ms, signal);
    const answer = await run(fault);
    if (fault?.kind === 'lost') throw lostAnswer(call);
    return answer;
  }

  committee(options: { fresh?: boolean; signal?: AbortSignal } = {}) {
    return this.#through('committee', options.signal, () => this.#inner.committee(options));
  }
  prices(signal?: AbortSignal) {
    return this.#through('prices', signal, () => this.#inner.prices(signal));
  }
  quote(size: number, epochsAhead: number, signal?: AbortSignal) {
    return this.#through('quote', signal, () => this.#inner.quote(size, epochsAhead, signal));
  }
  balance(signal?: AbortSignal) {
    return this.#through('balance', signal, () => this.#inner.balance(signal));
  }
  signRegister(request: RegisterRequest, signal?: AbortSignal) {
    return this.#through('signRegister', signal, () => this.#inner.signRegister(request, signal));
  }
  signCertify(request: CertifyRequest, signal?: AbortSignal) {
    return this.#through('signCertify', signal, () => this.#inner.signCertify(request, signal));
  }
  signDelete(blobObjectId: SuiId, signal?: AbortSignal) {
    return this.#through('signDelete', signal, () => this.#inner.signDelete(blobObjectId, signal));
  }
  signExtend(request: ExtendRequest, signal?: AbortSignal) {
    return this.#through('signExtend', signal, () => this.#inner.signExtend(request, signal));
  }
  submit(tx: SignedTx, signal?: AbortSignal) {
    return this.#through('submit', signal, () => this.#inner.submit(tx, signal));
  }
  blobObjects(objectIds: readonly SuiId[], signal?: AbortSignal) {
    return this.#through('blobObjects', signal, () => this.#inner.blobObjects(objectIds, signal));
  }
  blobsOf(owner: SuiId, signal?: AbortSignal) {
    return this.#through('blobsOf', signal, () => this.#inner.blobsOf(owner, signal));
  }
  attributes(objectId: SuiId, signal?: AbortSignal) {
    return this.#through('attributes', signal, () => this.#inner.attributes(objectId, signal));
  }
  readBlob(blobId: BlobId, signal: AbortSignal) {
    return this.#through('readBlob', signal, async fault => {
      const bytes = await this.#inner.readBlob(blobId, signal);
      if (fault?.kind === 'cut') throw lostAnswer('readBlob');
      return fault?.kind === 'wrongBytes' ? wrong(bytes) : bytes;
    });
  }
  spotCheck(blob: BlobRef, metadata: Buffer, count: number, signal: AbortSignal) {
    return this.#through('spotCheck', signal, () =>
      this.#inner.spotCheck(blob, metadata, count, signal),
    );
  }

  readPrimaries(blob: BlobRef, indices: number[], options: Reads): Promise<void> {
    return this.#through('readPrimaries', options.signal, fault => {
      let given = 0;
      const onSliver = (index: number, data: Buffer) => {
        if (fault?.kind === 'cut' && given++ > 0) throw lostAnswer('readPrimaries');
        return options.onSliver(index, fault?.kind === 'wrongBytes' ? wrong(data) : data);
      };
      return this.#inner.readPrimaries(blob, indices, { ...options, onSliver });
    });
  }

  store(
    file: EncodedFile,
    object: { objectId: SuiId; deletable: boolean },
    options: Stores,
  ): StoreRun {
    const fault = this.#strike('store');
    if (fault?.kind === 'refuse') return failedRun(fault.error ?? lostAnswer('store'));
    const scope = deadline(options.signal, undefined);
    const started = (async () => {
      if (fault?.kind === 'delay') await systemClock.sleep(fault.ms, scope.signal);
      return this.#inner.store(file, object, {
        ...options,
        signal: scope.signal,
        onProgress: progress => {
          if (fault?.kind === 'cut') scope.controller.abort(lostAnswer('store'));
          options.onProgress?.(progress);
        },
      });
    })();
    const certificate = started.then(async run => {
      const found = await run.certificate;
      if (fault?.kind === 'lost') throw lostAnswer('store');
      return found;
    });
    certificate.catch(() => {});
    const tail = () =>
      started
        .then(run => run.tail())
        .catch(() => ({ shards: 0, missing: [] }))
        .finally(() => scope.done());
    return { certificate, tail };
  }

  health() {
    return this.#inner.health();
  }
  close() {
    return this.#inner.close();
  }
}

const failedRun = (error: TuskError): StoreRun => {
  const certificate = Promise.reject(error);
  certificate.catch(() => {});
  return { certificate, tail: async () => ({ shards: 0, missing: [] }) };
};
