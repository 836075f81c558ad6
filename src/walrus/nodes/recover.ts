/**
 * Systematic primary slivers whose owners do not give them. Two ways: decoding symbols of n − f
 * shards (about one sliver's bytes for each missing one, but a request to most nodes), or any
 * n − 2f primary slivers. The way that moves fewer bytes is taken; the second also stands in when
 * the first fails.
 */
import { TuskError } from '../../base/errors.ts';
import { native } from '../../native.ts';
import { faultsOf } from '../certificate.ts';
import type { BlobRef, StorageNode } from '../network.ts';
import { gather } from './gather.ts';
import { type BlobSlivers, byTrust, type ReadParts, rankOf } from './slivers.ts';

/** What one more request costs, counted in bytes. */
const REQUEST_BYTES = 32 * 1024;
/** What one more symbol costs beside its bytes: found, framed, taken apart and put in its place. */
const SYMBOL_BYTES = 256;

/** What recovery knows and gives. */
export interface Recovery {
  readonly parts: ReadParts;
  readonly blob: BlobRef;
  readonly slivers: BlobSlivers;
  /** Primary slivers that are here already, by index; grows. */
  readonly have: Map<number, Buffer>;
  /** Those of its slivers that are still wanted; others may come in meanwhile. */
  readonly missing: () => number[];
  /** Where a missing sliver is to be made: from then on nothing else is put there. */
  readonly place: (index: number) => Buffer;
  readonly give: (index: number, data: Buffer) => Promise<void>;
  readonly failed: (node: StorageNode, error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Gives every missing sliver; false if too few nodes answer. */
export const recover = async (recovery: Recovery): Promise<boolean> => {
  if (!symbolsAreCheaper(recovery)) return byPrimaries(recovery);
  const symbols = new Symbols(recovery);
  if (await symbols.recover()) return true;
  const done = await byPrimaries(recovery);
  if (done) await symbols.judge();
  return done;
};

const symbolsAreCheaper = ({ slivers, parts, missing, have }: Recovery): boolean => {
  const { shape, committee } = slivers;
  const { nodes, nShards } = committee;
  const trusted = nodes.filter(node => !parts.client.health.isShunned(node));
  const shards = trusted.reduce((sum, node) => sum + node.shards.length, 0);
  if (shards < nShards - faultsOf(nShards)) return false;
  const asked = Math.ceil((trusted.length * shape.nSecondary) / shards);
  const symbolBytes = shape.nSecondary * (shape.symbolBytes + SYMBOL_BYTES);
  const bySymbolsBytes = missing().length * symbolBytes + asked * REQUEST_BYTES;
  const more = shape.nPrimary - have.size;
  return bySymbolsBytes < more * (shape.primaryBytes + REQUEST_BYTES);
};

/** The first way. */
class Symbols {
  readonly #recovery: Recovery;
  readonly #targets: readonly number[];
  /** Symbols for all targets, by the secondary sliver that they are of. */
  readonly #runs = new Map<number, Buffer>();
  /** Targets for which the symbols gave a sliver that does not verify. */
  readonly #wrong: number[] = [];

  constructor(recovery: Recovery) {
    this.#recovery = recovery;
    this.#targets = recovery.missing();
  }

  /** Gives what verifies; true if that is everything. */
  async recover(): Promise<boolean> {
    const { slivers, blob, missing, have } = this.#recovery;
    const { nSecondary, symbolBytes } = slivers.shape;
    if (!(await this.#gather(nSecondary))) return false;
    if (missing().length === 0) return true;
    const inputs = [...this.#runs].slice(0, nSecondary).map(([index, data]) => ({ index, data }));
    const found = await native.recoverSlivers('primary', blob.nShards, symbolBytes, inputs);
    await Promise.all(
      this.#targets.map(async (target, at) => {
        const data = found[at]!;
        if (!(await slivers.verifiesPrimary(target, data))) return void this.#wrong.push(at);
        have.set(target, data);
        await this.#recovery.give(target, data);
      }),
    );
    return this.#wrong.length === 0;
  }

  #gather(need: number): Promise<boolean> {
    const { slivers, parts, signal, missing, failed } = this.#recovery;
    return gather({
      candidates: byTrust(slivers.committee.nodes, parts.client.health, parts.random),
      weight: node => node.shards.length,
      needed: () => (missing().length === 0 ? 0 : need - this.#runs.size),
      hedgeMs: parts.client.health.hedgeMs(),
      clock: parts.clock,
      signal,
      ask: async (node, abort) => {
        try {
          const runs = await slivers.symbols(node, this.#targets, abort);
          for (const [index, run] of runs) this.#runs.set(index, run);
        } catch (error) {
          if (!abort.aborted) failed(node, error);
          throw error;
        }
      },
    });
  }

  /** Names who sent wrong symbols, once the true slivers are here. */
  async judge(): Promise<void> {
    const { slivers, have } = this.#recovery;
    for (const at of this.#wrong) {
      const index = this.#targets[at]!;
      const data = have.get(index);
      if (data !== undefined) await slivers.judgeSymbols(this.#runs, at, index, data);
    }
  }
}

/**
 * Indices of primary slivers to ask for: those of trusted nodes first, then by number from the first
 * that holds no bytes of the blob on. The closer together, the less there is to compute.
 */
const candidates = ({ slivers, parts, have }: Recovery): number[] => {
  const { nShards } = slivers.committee;
  const { nPrimary } = slivers.shape;
  const rank = (index: number) => rankOf(slivers.nodeOf('primary', index), parts.client.health);
  return Array.from({ length: nShards }, (_, i) => (nPrimary + i) % nShards)
    .filter(index => !have.has(index))
    .sort((a, b) => rank(a) - rank(b));
};

/** Asks for primary slivers until there are enough; `proved`: each is verified as it comes. */
const gatherPrimaries = (recovery: Recovery, proved: boolean): Promise<boolean> => {
  const { slivers, parts, signal, have } = recovery;
  return gather({
    candidates: candidates(recovery),
    needed: () => (recovery.missing().length === 0 ? 0 : slivers.shape.nPrimary - have.size),
    hedgeMs: parts.client.health.hedgeMs(),
    clock: parts.clock,
    signal,
    ask: async (index, abort, came) => {
      if (have.has(index)) return;
      try {
        const place = slivers.memory('primary');
        const data = proved
          ? await slivers.sliver('primary', index, abort, place, came)
          : await slivers.unprovedSliver('primary', index, abort, place, came);
        have.set(index, data);
      } catch (error) {
        if (!abort.aborted) recovery.failed(slivers.nodeOf('primary', index), error);
        throw error;
      }
    },
  });
};

/**
 * The second way. What it gives is verified, not what it is made from: that takes as long, and binds
 * the bytes of a blob whose slivers do not belong together, too.
 */
const byPrimaries = async (recovery: Recovery, proved = false): Promise<boolean> => {
  const { slivers, blob, have } = recovery;
  if (!(await gatherPrimaries(recovery, proved))) return false;
  const wanted = recovery.missing();
  const inputs = [...have]
    .slice(0, slivers.shape.nPrimary)
    .map(([index, data]) => ({ index, data }));
  if (wanted.length === 0) return true;
  const places = wanted.map(index => ({ index, data: recovery.place(index) }));
  await native.recoverPrimaries(blob.size, blob.nShards, inputs, places);
  const verified = places.map(({ index, data }) => slivers.verifiesPrimary(index, data));
  if ((await Promise.all(verified)).includes(false)) {
    if (!(await dismissLies(recovery, inputs))) throw disjoint(blob);
    return byPrimaries(recovery, true);
  }
  for (const { index, data } of places) {
    have.set(index, data);
    await recovery.give(index, data);
  }
  return true;
};

/** Names who sent wrong slivers, and gives these up; false if all are right. */
const dismissLies = async (
  { slivers, have }: Recovery,
  inputs: readonly { index: number; data: Buffer }[],
): Promise<boolean> => {
  const judge = async ({ index, data }: { index: number; data: Buffer }): Promise<boolean> => {
    const right = await slivers.judgePrimary(index, data);
    if (!right) have.delete(index);
    return right;
  };
  return (await Promise.all(inputs.map(judge))).includes(false);
};

const disjoint = ({ blobId }: BlobRef): TuskError =>
  new TuskError(
    'unverified',
    `the slivers of blob ${blobId} do not belong together: whoever stored it did not encode one blob`,
    { details: { blobId } },
  );
