/**
 * Rebuilding a sliver from recovery symbols of other nodes. Every symbol comes with a proof
 * against the sliver it was taken from, so what is decoded is either the sliver that the metadata
 * commits to, or the proof that the blob is no encoding at all.
 */
import type { BlobId, SliverType } from '../../base/ids.ts';
import { native } from '../../native.ts';
import { askPeer, type BlobMetadata, type Peer } from '../peers.ts';
import { type RecoverySymbol, readRecoverySymbols } from './bcs.ts';
import { proves } from './merkle.ts';
import { orthogonal, sliverOfPair } from './shards.ts';

/** Where Merkle roots begin in BlobMetadata: version, encoding type, length, count of pairs. */
const headBytes = (nShards: number): number => 1 + 1 + 8 + (nShards < 128 ? 1 : 2);
const ROOT_BYTES = 33;
/** Nodes asked for symbols of one sliver at a time, and how long each may take. */
const PEERS_AT_ONCE = 4;
const SYMBOLS_MS = 10_000;

/** Root of a sliver's tree as the metadata has it. */
export const rootOf = (
  metadata: Buffer,
  nShards: number,
  type: SliverType,
  index: number,
): Buffer => {
  const pair = sliverOfPair(index, type, nShards);
  const at = headBytes(nShards) + (2 * pair + (type === 'primary' ? 0 : 1)) * ROOT_BYTES;
  return metadata.subarray(at + 1, at + ROOT_BYTES);
};

/** A sliver that is wanted. */
export interface Target {
  readonly type: SliverType;
  readonly index: number;
}

/** How many symbols make a sliver. */
export const symbolsFor = ({ shape }: BlobMetadata, type: SliverType): number =>
  type === 'primary' ? shape.nSecondary : shape.nPrimary;

/** Does the symbol come from the sliver that it claims, at the target's place? */
export const isProved = (
  metadata: BlobMetadata,
  nShards: number,
  target: Target,
  symbol: RecoverySymbol,
): boolean => {
  const { type, index, targetIndex, data, proof } = symbol;
  if (type !== target.type || targetIndex !== target.index || index >= nShards) return false;
  if (data.length !== metadata.shape.symbolBytes) return false;
  const root = rootOf(metadata.bytes, nShards, orthogonal(target.type), index);
  return proves(root, data, target.index, proof);
};

/** What came of a recovery: the sliver's data, or symbols that prove the blob inconsistent. */
export type Recovered =
  | { readonly data: Buffer }
  | { readonly inconsistent: readonly RecoverySymbol[] };

/** Decodes proved symbols. */
export const decodeSymbols = async (
  metadata: BlobMetadata,
  nShards: number,
  target: Target,
  symbols: readonly RecoverySymbol[],
): Promise<Recovered> => {
  const data = await native.recoverSliver(
    target.type,
    nShards,
    symbols.map(({ index, data }) => ({ index, data })),
  );
  const { type, index } = target;
  const holds = await native.verifySliver(metadata.bytes, nShards, type, index, data);
  return holds ? { data } : { inconsistent: symbols };
};

/** Asks some nodes at a time until there are symbols enough; undefined if there are not. */
export const recoverSliver = async (
  peers: readonly Peer[],
  blobId: BlobId,
  metadata: BlobMetadata,
  nShards: number,
  target: Target,
  signal: AbortSignal,
): Promise<Recovered | undefined> => {
  const needed = symbolsFor(metadata, target.type);
  const found = new Map<number, RecoverySymbol>();
  const axis = orthogonal(target.type);
  const query = `targetSliver=${target.index}&targetType=${target.type}&proofAxis=${axis}`;
  const timeoutMs = SYMBOLS_MS;
  const bytesMax = nShards * (metadata.shape.symbolBytes + 16 * 33 + 16) + 16;
  const queue = [...peers];
  const worker = async () => {
    for (
      let peer = queue.shift();
      peer !== undefined && found.size < needed;
      peer = queue.shift()
    ) {
      try {
        const path = `blobs/${blobId}/recoverySymbols?${query}`;
        const { status, body } = await askPeer(peer, 'GET', path, { signal, bytesMax, timeoutMs });
        for (const symbol of (status === 200 && readRecoverySymbols(body)) || []) {
          if (isProved(metadata, nShards, target, symbol)) found.set(symbol.index, symbol);
        }
      } catch {
        signal.throwIfAborted();
      }
    }
  };
  await Promise.all(Array.from({ length: PEERS_AT_ONCE }, worker));
  if (found.size < needed) return undefined;
  const symbols = [...found.values()].sort((a, b) => a.index - b.index).slice(0, needed);
  return decodeSymbols(metadata, nShards, target, symbols);
};
