/**
 * Systematic primary slivers whose owners do not give them. Two ways: decoding symbols of n − f
 * shards (about one sliver's bytes for each missing one, but a request to most nodes), or any
 * n − 2f primary slivers. The way that moves fewer bytes is taken; the second also stands in when
 * the first fails.
 */
import { sample } from '../../base/random.ts';
import { type IndexedBytes, native } from '../../native.ts';
import { faultsOf } from '../certificate.ts';
import type { BlobRef, StorageNode } from '../network.ts';
import { gather } from './gather.ts';
import { type BlobSlivers, byTrust, type ReadParts } from './slivers.ts';

/** What one more request costs, counted in bytes. */
const REQUEST_BYTES = 32 * 1024;

/** What recovery knows and gives. */
export interface Recovery {
  readonly parts: ReadParts;
  readonly blob: BlobRef;
  readonly slivers: BlobSlivers;
  /** Primary slivers that are here already, by index; grows. */
  readonly have: Map<number, Buffer>;
  /** Systematic slivers that are still wanted. */
  readonly missing: () => number[];
  readonly give: (index: number, data: Buffer) => Promise<void>;
  readonly failed: (node: StorageNode, error: unknown) => void;
  /** A last attempt also asks nodes that were silent or lied. */
  readonly everyone: boolean;
  readonly signal: AbortSignal;
}

/** Gives every missing sliver; false if too few nodes answer. */
export const recover = async (recovery: Recovery): Promise<boolean> => {
  const nodes = trusted(recovery);
  if (symbolsAreCheaper(recovery, nodes) && (await bySymbols(recovery, nodes))) return true;
  return byPrimaries(recovery);
};

const trusted = ({ slivers, parts, everyone }: Recovery): StorageNode[] => {
  const { health } = parts.client;
  const nodes = byTrust(slivers.committee.nodes, health, parts.random);
  return everyone ? nodes : nodes.filter(node => !health.isSilent(node) && !health.isLiar(node));
};

const symbolsAreCheaper = (recovery: Recovery, nodes: readonly StorageNode[]): boolean => {
  const { shape, committee } = recovery.slivers;
  const shards = nodes.reduce((sum, node) => sum + node.shards.length, 0);
  if (shards < committee.nShards - faultsOf(committee.nShards)) return false;
  const bySymbolsBytes =
    recovery.missing().length * shape.primaryBytes + nodes.length * REQUEST_BYTES;
  const more = shape.nPrimary - recovery.have.size;
  return bySymbolsBytes < more * (shape.primaryBytes + REQUEST_BYTES);
};

const bySymbols = async (recovery: Recovery, nodes: readonly StorageNode[]): Promise<boolean> => {
  const { slivers, parts, signal, blob } = recovery;
  const need = slivers.shape.nSecondary;
  const targets = recovery.missing();
  const gathered = new Map<number, IndexedBytes[]>(targets.map(target => [target, []]));
  const short = () =>
    recovery.missing().some(target => (gathered.get(target)?.length ?? need) < need);
  const enough = await gather({
    candidates: nodes,
    needed: () => (short() ? nodes.length : 0),
    hedgeMs: parts.client.health.hedgeMs(),
    clock: parts.clock,
    signal,
    ask: async (node, abort) => {
      try {
        const symbols = await slivers.symbols(node, targets, abort);
        for (const [target, list] of symbols) gathered.get(target)?.push(...list);
      } catch (error) {
        if (!abort.aborted) recovery.failed(node, error);
        throw error;
      }
    },
  });
  if (!enough) return false;
  for (const target of recovery.missing()) {
    const symbols = gathered.get(target)?.slice(0, need) ?? [];
    const data = await native.recoverSliver('primary', blob.nShards, symbols);
    if (!(await slivers.verifiesPrimary(target, data))) return false;
    await recovery.give(target, data);
  }
  return true;
};

/** Indices of primary slivers to ask for, those of trusted nodes first. */
const candidates = ({ slivers, parts, have, everyone }: Recovery): number[] => {
  const { health } = parts.client;
  const { nShards } = slivers.committee;
  const rank = (index: number) => {
    const node = slivers.nodeOf('primary', index);
    return health.isLiar(node) ? 2 : health.isSilent(node) ? 1 : 0;
  };
  return sample(parts.random, nShards, nShards)
    .filter(index => !have.has(index) && (everyone || rank(index) === 0))
    .sort((a, b) => rank(a) - rank(b));
};

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
  if (wanted.length === 0) return true;
  const inputs = [...have].slice(0, need).map(([index, data]) => ({ index, data }));
  const found = await native.recoverPrimaries(blob.size, blob.nShards, inputs, wanted);
  for (const [i, index] of wanted.entries()) await recovery.give(index, found[i]!);
  return true;
};
