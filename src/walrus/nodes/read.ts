/**
 * Reading systematic primary slivers: from their owners first, by recovery for those that are
 * missing or late. A read goes round after round until everything is there or its deadline ends
 * it; then it says which blob, how many shards, and which nodes are silent.
 */

import { abortError, type Deadline, deadline, throwIfAborted } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { BlobRef, StorageNode } from '../network.ts';
import { backoffMs, pause, type RetryPolicy } from '../retry.ts';
import { readingCommittee } from './epoch.ts';
import { noLongerNeeded } from './gather.ts';
import { isSilence } from './http.ts';
import { Movement } from './movement.ts';
import { recover } from './recover.ts';
import { BlobSlivers, type MetadataCache, type ReadParts } from './slivers.ts';

const READ_MS = 60_000;
const DIRECT_AT_ONCE = 64;
const ROUNDS: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 300, maxMs: 3_000 };
/** From this round on every node is asked, whatever it did before, and the committee is read anew. */
const EVERYONE_FROM_ROUND = 2;

/** What the caller asks for (see `Network.readPrimaries`). */
export interface ReadOptions {
  readonly verify: boolean;
  readonly signal: AbortSignal;
  /** Memory of the caller's for a sliver, which is nobody else's before the read has succeeded. */
  readonly place?: (index: number) => Buffer;
  readonly onSliver: (index: number, data: Buffer) => Promise<void> | void;
}

/** Reads systematic primary slivers by index. */
export const readPrimaries = async (
  parts: ReadParts,
  metadata: MetadataCache,
  blob: BlobRef,
  indices: readonly number[],
  options: ReadOptions,
): Promise<void> => {
  const limit = deadline(options.signal, READ_MS);
  const read = new PrimaryRead(parts, metadata, blob, indices, options);
  try {
    await read.run(limit.signal);
  } finally {
    limit.done();
  }
};

class PrimaryRead {
  readonly #parts: ReadParts;
  readonly #metadata: MetadataCache;
  readonly #blob: BlobRef;
  readonly #options: ReadOptions;
  readonly #wanted: Set<number>;
  readonly #have = new Map<number, Buffer>();
  readonly #places = new Map<number, Buffer>();
  /** Requests to owners that run, by sliver. */
  readonly #asked = new Map<number, { readonly node: StorageNode; readonly request: Deadline }>();
  /** Slivers that recovery makes, and no owner is asked for any more in this round. */
  readonly #claimed = new Set<number>();
  /** Nodes that recovery has overtaken in this round. */
  readonly #late = new Set<StorageNode>();
  /** What went wrong in the current round, by node. */
  #failures = new Map<StorageNode, unknown>();
  #consumerError: unknown;

  constructor(
    parts: ReadParts,
    metadata: MetadataCache,
    blob: BlobRef,
    indices: readonly number[],
    options: ReadOptions,
  ) {
    this.#parts = parts;
    this.#metadata = metadata;
    this.#blob = blob;
    this.#options = options;
    this.#wanted = new Set(indices);
  }

  /** Rounds until nothing is wanted any more. */
  async run(signal: AbortSignal): Promise<void> {
    for (let round = 1; this.#wanted.size > 0; round++) {
      const last = this.#failures;
      this.#failures = new Map();
      try {
        if (await this.#round(round, signal)) return;
        if (round >= EVERYONE_FROM_ROUND && !this.#worthWaiting()) break;
        const { clock, random } = this.#parts;
        await pause(clock, backoffMs(ROUNDS, round, random), signal);
      } catch (error) {
        if (this.#consumerError !== undefined) throw this.#consumerError;
        if (!signal.aborted) throw error;
        if (this.#failures.size === 0) this.#failures = last;
        throw this.#ended(signal);
      }
    }
    if (this.#wanted.size > 0) throw this.#tooFew();
  }

  async #round(round: number, signal: AbortSignal): Promise<boolean> {
    const everyone = round >= EVERYONE_FROM_ROUND;
    const slivers = await this.#open(everyone, signal);
    if (slivers === undefined) return false;
    const { health } = this.#parts.client;
    this.#claimed.clear();
    this.#late.clear();
    const scope = deadline(signal, undefined);
    const skipped = [...this.#wanted].filter(
      index => !everyone && health.isShunned(slivers.nodeOf('primary', index)),
    );
    try {
      const early = this.#recover(slivers, new Set(skipped), scope.signal);
      early.catch(() => {}); // awaited below, unless the direct requests fail first
      const direct = this.#direct(slivers, new Set(skipped), scope.signal);
      await direct.doneOrLate;
      if (this.#consumerError !== undefined) throw this.#consumerError;
      const lost = [...this.#wanted].filter(index => !skipped.includes(index));
      const recovered = await this.#recover(slivers, new Set(lost), scope.signal);
      if (recovered) this.#noteLate();
      if (!((await early) && recovered) && !(await this.#fromAggregators(slivers, scope.signal)))
        await direct.settled;
      return this.#wanted.size === 0;
    } finally {
      scope.controller.abort(noLongerNeeded());
      scope.done();
    }
  }

  /** What is still wanted, from whoever reads the nodes for us; true if that was everything. */
  async #fromAggregators(slivers: BlobSlivers, signal: AbortSignal): Promise<boolean> {
    await this.#parts.aggregators.slivers(
      this.#blob,
      [...this.#wanted],
      signal,
      async (i, data) => {
        if (!(await slivers.verifiesPrimary(i, data))) return false;
        await this.#giveMade(slivers, i, data);
        return true;
      },
    );
    if (this.#consumerError !== undefined) throw this.#consumerError;
    return this.#wanted.size === 0;
  }

  /** Those of `lost` that are still wanted, made from what other nodes hold. */
  async #recover(
    slivers: BlobSlivers,
    lost: ReadonlySet<number>,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (lost.size === 0) return true;
    return recover({
      parts: this.#parts,
      blob: this.#blob,
      slivers,
      have: this.#have,
      missing: () => [...this.#wanted].filter(index => lost.has(index)),
      place: index => {
        this.#claim(index);
        return this.#place(slivers, index);
      },
      give: (index, data) => this.#giveMade(slivers, index, data),
      failed: (node, error) => this.#failures.set(node, error),
      signal,
    });
  }

  /** Committee and, to verify, metadata; undefined if the metadata is nowhere to be had now. */
  async #open(fresh: boolean, signal: AbortSignal): Promise<BlobSlivers | undefined> {
    const parts = this.#parts;
    const current = await parts.committee(false, signal).then(async cached => {
      // The chain may be out of reach while the nodes are not.
      return fresh ? parts.committee(true, signal).catch(() => cached) : cached;
    });
    const { blobId } = this.#blob;
    const { certified } = this.#metadata;
    const committee = await readingCommittee(parts, certified, current, blobId, fresh, signal);
    if (committee.nShards !== this.#blob.nShards) {
      throw new TuskError(
        'unsupported',
        `blob ${this.#blob.blobId} was encoded for ${this.#blob.nShards} shards, the network has ${committee.nShards}`,
      );
    }
    if (!this.#options.verify) {
      return new BlobSlivers(parts.client, committee, this.#blob, undefined);
    }
    try {
      const metadata = await this.#metadata.get(parts, committee, this.#blob.blobId, signal);
      return new BlobSlivers(parts.client, committee, this.#blob, metadata);
    } catch (error) {
      if (!(error instanceof TuskError) || error.code !== 'too_few_shards') throw error;
      for (const node of committee.nodes) this.#failures.set(node, error.cause ?? error);
      return undefined;
    }
  }

  /** Asks the owners of what is not skipped. `doneOrLate` resolves when nothing is left but late requests. */
  #direct(slivers: BlobSlivers, skipped: ReadonlySet<number>, signal: AbortSignal) {
    const { client, clock } = this.#parts;
    const { health } = client;
    const queue = [...this.#wanted].filter(index => !skipped.has(index));
    const movement = new Movement(clock);
    const done = Promise.withResolvers<void>();
    const isDone = () => queue.length === 0 && this.#asked.size === 0;
    const ask = async (index: number): Promise<void> => {
      if (this.#claimed.has(index)) return;
      const node = slivers.nodeOf('primary', index);
      const request = deadline(signal, undefined);
      this.#asked.set(index, { node, request });
      movement.now();
      try {
        const place = this.#place(slivers, index);
        const data = await slivers.sliver('primary', index, request.signal, place, movement.bytes);
        throwIfAborted(request.signal);
        this.#have.set(index, data);
        await this.#give(index, data);
      } catch (error) {
        if (!request.signal.aborted) this.#failures.set(node, error);
      } finally {
        request.done();
        this.#asked.delete(index);
        movement.now();
        if (isDone()) done.resolve();
      }
    };
    const worker = async () => {
      for (let index = queue.shift(); index !== undefined; index = queue.shift()) await ask(index);
    };
    const settled = Promise.all(Array.from({ length: DIRECT_AT_ONCE }, worker));
    if (isDone()) done.resolve();
    const doneOrLate = movement.quiet(done.promise, health.hedgeMs(), signal).then(() => {
      if (signal.aborted) throw abortError(signal);
    });
    return { settled, doneOrLate };
  }

  /** Nodes that recovery overtakes again and again count as silent: reads then do not wait for them. */
  #noteLate(): void {
    const why = `a sliver of blob ${this.#blob.blobId} came too late`;
    for (const node of this.#late) this.#parts.client.health.late(node, why);
  }

  #place(slivers: BlobSlivers, index: number): Buffer {
    let place = this.#places.get(index);
    if (place === undefined) {
      place = this.#options.place?.(index) ?? slivers.memory('primary');
      this.#places.set(index, place);
    }
    return place;
  }

  /** Takes a sliver's place away from its owner's answer, which is late if it is still to come. */
  #claim(index: number): void {
    this.#claimed.add(index);
    const asked = this.#asked.get(index);
    if (asked === undefined) return;
    this.#late.add(asked.node);
    asked.request.controller.abort(noLongerNeeded());
  }

  /** Gives a sliver that did not come from its owner. */
  async #giveMade(slivers: BlobSlivers, index: number, data: Buffer): Promise<void> {
    if (!this.#wanted.has(index)) return;
    this.#claim(index);
    if (this.#options.place === undefined) return this.#give(index, data);
    const place = this.#place(slivers, index);
    if (place !== data) data.copy(place);
    await this.#give(index, place);
  }

  async #give(index: number, data: Buffer): Promise<void> {
    if (!this.#wanted.delete(index)) return;
    try {
      await this.#options.onSliver(index, data);
    } catch (error) {
      this.#consumerError ??= error;
      throw error;
    }
  }

  /** Could another round end differently? Not if every node has said no for good. */
  #worthWaiting(): boolean {
    for (const error of this.#failures.values()) {
      if (!(error instanceof TuskError) || error.kind === 'transient') return true;
    }
    return false;
  }

  #ended(signal: AbortSignal): TuskError {
    const error = abortError(signal);
    return error.code === 'timeout' && this.#failures.size > 0 ? this.#tooFew() : error;
  }

  #tooFew(): TuskError {
    const { blobId, nShards, size } = this.#blob;
    const failures = [...this.#failures];
    const names = (silence: boolean) =>
      failures.filter(([, error]) => isSilence(error) === silence).map(([node]) => node.name);
    const lost = failures.reduce((sum, [node]) => sum + node.shards.length, 0);
    const need = Math.min(nShards, this.#neededShards());
    const have = Math.max(this.#have.size, nShards - lost);
    const silent = names(true).join(', ') || 'none';
    const refusing = names(false).join(', ') || 'none';
    const first = failures.find(([, error]) => !isSilence(error)) ?? failures[0];
    const isLate = have >= need;
    return new TuskError(
      isLate ? 'timeout' : 'too_few_shards',
      `blob ${blobId} (${size} bytes) ${isLate ? 'did not come in time' : 'cannot be read now'}: ${have} of ${nShards} shards answer, ${need} are needed; silent nodes: ${silent}; refusing nodes: ${refusing}${first === undefined ? '' : ` (${messageOf(first[1])})`}. Nodes hold it as long as it is paid for: read it again when they are back.`,
      { cause: first?.[1], details: { blobId, have, need } },
    );
  }

  #neededShards(): number {
    const faults = Math.floor((this.#blob.nShards - 1) / 3);
    return this.#blob.nShards - 2 * faults;
  }
}
