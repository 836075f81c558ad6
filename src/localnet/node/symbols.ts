/**
 * Symbols that other nodes and clients use to rebuild a sliver: the symbol at the crossing of a
 * primary and a secondary sliver belongs to both. Decoding symbols come bare and only for source
 * slivers (they are read straight from the file); recovery symbols come with a Merkle proof.
 */
import type { BlobId, SliverType } from '../../base/ids.ts';
import { native } from '../../native.ts';
import { type DecodingSymbol, type RecoverySymbol, readSliver, sliverHeaderBytes } from './bcs.ts';
import { Refusal } from './refusal.ts';
import type { NodeService } from './service.ts';
import { orthogonal, sliverOfPair } from './shards.ts';

/** Place of a symbol: primary and secondary sliver index. */
export interface SymbolId {
  readonly primary: number;
  readonly secondary: number;
}

/** Which recovery symbols are asked for. */
export type SymbolFilter =
  | { readonly ids: readonly SymbolId[] }
  | { readonly target: number; readonly targetType: SliverType };

/** Symbols of this node's slivers for each of the wanted source slivers. */
export const decodingSymbols = async (
  node: NodeService,
  blobId: BlobId,
  targets: readonly number[],
  targetType: SliverType,
): Promise<Map<number, DecodingSymbol[]>> => {
  const { shape } = await availableMetadata(node, blobId);
  if (targets.length === 0) {
    throw new Refusal(
      'NO_TARGET_SLIVERS_SPECIFIED',
      'at least one target sliver must be specified',
    );
  }
  const sources = targetType === 'primary' ? shape.nPrimary : shape.nSecondary;
  const outside = targets.find(target => !Number.isInteger(target) || target >= sources);
  if (outside !== undefined) {
    throw new Refusal(
      'RECOVERY_SYMBOL_OUT_OF_RANGE',
      `target sliver index out of range, requested target sliver index ${outside}, max source sliver index ${sources}, requested sliver type ${targetType}`,
    );
  }
  const wanted = [...new Set(targets)];
  const type = orthogonal(targetType);
  const head = sliverHeaderBytes(type === 'primary' ? shape.primaryBytes : shape.secondaryBytes);
  const found = new Map<number, DecodingSymbol[]>();
  for (const pair of node.readablePairs(blobId)) {
    const offsets = wanted.map(target => head + target * shape.symbolBytes);
    const parts = await node.store.sliverParts(blobId, pair, type, offsets, shape.symbolBytes);
    const index = sliverOfPair(pair, type, node.identity.nShards);
    for (const [i, data] of parts?.entries() ?? []) {
      const symbols = found.get(wanted[i]!) ?? [];
      found.set(wanted[i]!, symbols);
      symbols.push({ type: targetType, index, data });
    }
  }
  return found;
};

/** Recovery symbols that this node can give; refuses only when it can give none. */
export const recoverySymbols = async (
  node: NodeService,
  blobId: BlobId,
  filter: SymbolFilter,
  proofAxis: SliverType | undefined,
): Promise<RecoverySymbol[]> => {
  await availableMetadata(node, blobId);
  const ids = 'ids' in filter ? filter.ids : crossings(node, blobId, filter);
  if (ids.length === 0) {
    throw new Refusal('NO_SYMBOLS_SPECIFIED', 'at least one symbol ID must be specified');
  }
  const symbols: RecoverySymbol[] = [];
  let refusal: unknown;
  for (const id of ids) {
    try {
      symbols.push(await symbolAt(node, blobId, id, proofAxis));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refusal = error;
    }
  }
  if (symbols.length === 0) throw refusal;
  return symbols;
};

const availableMetadata = async (node: NodeService, blobId: BlobId) => {
  if (!node.hasMetadata(blobId)) {
    throw new Refusal('SLIVER_NOT_FOUND', 'the requested sliver is unavailable');
  }
  return node.metadata(blobId);
};

/** Where this node's slivers cross the target. */
const crossings = (
  node: NodeService,
  blobId: BlobId,
  { target, targetType }: { target: number; targetType: SliverType },
): SymbolId[] => {
  const { nShards } = node.identity;
  return node.readablePairs(blobId).map(pair => {
    const source = sliverOfPair(pair, orthogonal(targetType), nShards);
    return targetType === 'primary'
      ? { primary: target, secondary: source }
      : { primary: source, secondary: target };
  });
};

/** The symbol from whichever of its two slivers is here; the primary sliver is tried first. */
const symbolAt = async (
  node: NodeService,
  blobId: BlobId,
  id: SymbolId,
  proofAxis: SliverType | undefined,
): Promise<RecoverySymbol> => {
  node.requireIndex(id.primary);
  node.requireIndex(id.secondary);
  const { nShards } = node.identity;
  const own = new Set(node.readablePairs(blobId));
  let refusal = new Refusal(
    'SYMBOL_NOT_PRESENT_AT_SHARDS',
    "the requested recovery symbol is not the responsibility of this node's shards",
  );
  for (const source of ['primary', 'secondary'] as const) {
    if (proofAxis !== undefined && proofAxis !== source) continue;
    const index = id[source];
    const pair = sliverOfPair(index, source, nShards);
    if (!own.has(pair)) continue;
    const bytes = await node.store.sliver(blobId, pair, source);
    const sliver = bytes && readSliver(bytes);
    if (sliver === undefined) {
      refusal = new Refusal('SLIVER_NOT_FOUND', 'the requested sliver is unavailable');
      continue;
    }
    const targetType = orthogonal(source);
    const targetIndex = id[targetType];
    const { symbol, proof } = await native.recoverySymbol(
      source,
      nShards,
      sliver.data,
      targetIndex,
    );
    return { type: targetType, index, data: symbol, targetIndex, proof };
  }
  throw refusal;
};
