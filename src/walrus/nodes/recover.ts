/**
 * Systematic primary slivers whose owners do not give them. Two ways: decoding symbols of n − f
 * shards (about one sliver's bytes for each missing one, but a request to most nodes), or any
 * n − 2f primary slivers. The way that moves fewer bytes is taken; the second also stands in when
 * the first fails.
 */
import { sample } from '../../base/random.ts';
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

/** Indices of primary slivers to ask for, those of trusted nodes first. */
const candidates = ({ slivers, parts, have }: Recovery): number[] => {
  const { nShards } = slivers.committee;
  const rank = (index: number) => rankOf(slivers.nodeOf('primary', index), parts.client.health);
  return sample(parts.random, nShards, nShards)
    .filter(index => !have.has(index))
    .sort((a, b) => rank(a) - rank(b));
};

/** The second way. */
const byPrimaries = async (recovery: Recovery): Promise<boolean> => {
  const { slivers, parts, signal, blob, have } = recovery;
  const need = slivers.shape.nPrimary;
  const enough = await gather({
    candidates: candidates(recovery),
    needed: () => (recovery.missing().length === 0 ? 0 : need - have.size),
    hedgeMs: parts.client.health.hedgeMs(),
    clock: parts.clock,
    signal,
    ask: async (index, abort) => {
      if (have.has(index)) return;
      const node = slivers.nodeOf('primary', index);
      try {
        have.set(index, await slivers.sliver('primary', index, abort));
      } catch (error) {
        if (!abort.aborted) recovery.failed(node, error);
        throw error;
      }
    },
  });
  if (!enough) return false;
  const wanted = recovery.missing();
  const inputs = [...have].slice(0, need).map(([index, data]) => ({ index, data }));
  if (wanted.length === 0) return true;
  const found = await native.recoverPrimaries(blob.size, blob.nShards, inputs, wanted);
  for (const [i, index] of wanted.entries()) {
    have.set(index, found[i]!);
    await recovery.give(index, found[i]!);
  }
  return true;
};
