/**
 * Single slivers, metadata and symbols of one blob, each checked as far as the caller asks: shape
 * always, Merkle roots when there is metadata to check against. Whoever sends bytes that do not
 * verify is remembered as a liar.
 */
import { LRUCache } from 'lru-cache';
import { throwIfAborted } from '../../base/abort.ts';
import { ByteReader } from '../../base/bytes.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import { type BlobId, blobIdToBytes, type Epoch, type SliverType } from '../../base/ids.ts';
import { type Random, sample } from '../../base/random.ts';
import { type BlobShape, native } from '../../native.ts';
import type { BlobRef, Committee, StorageNode } from '../network.ts';
import type { Parts } from '../retry.ts';
import type { Aggregators } from './aggregator.ts';
import type { NodeClient } from './client.ts';
import { gather } from './gather.ts';
import type { Health } from './health.ts';
import { IncomingSliver } from './incoming.ts';
import { nodeOfSliver, pairOfSliver, rotationOf } from './places.ts';

/** What reading works with. */
export interface ReadParts extends Parts {
  readonly client: NodeClient;
  readonly committee: (fresh: boolean, signal: AbortSignal) => Promise<Committee>;
  readonly aggregators: Aggregators;
}

/** The error for bytes that do not verify; the node is noted as a liar. */
const lie = (health: Health, node: StorageNode, what: string): TuskError => {
  health.lied(node, what);
  return new TuskError('unverified', `storage node ${node.name} sent ${what}`, {
    details: { node: node.name },
  });
};

/** 0 for nodes that behave, 1 for silent ones, 2 for liars: the order in which to ask. */
export const rankOf = (node: StorageNode, health: Health): number =>
  health.isLiar(node) ? 2 : health.isSilent(node) ? 1 : 0;

/** Nodes in the order to ask them: well-behaved ones first, in random order; liars last. */
export const byTrust = (
  nodes: readonly StorageNode[],
  health: Health,
  random: Random,
): StorageNode[] =>
  sample(random, nodes.length, nodes.length)
    .map(i => nodes[i]!)
    .sort((a, b) => rankOf(a, health) - rankOf(b, health));

/** Metadata that has been verified against its blob ID, of recent blobs. */
export class MetadataCache {
  /** Epochs in which blobs were certified first, as more nodes say than may lie. */
  readonly certified = new LRUCache<BlobId, Epoch>({ max: 4096 });
  readonly #cache = new LRUCache<BlobId, Buffer>({ max: 64 });

  /** BCS BlobMetadata, from whichever node sends what belongs to the blob ID. */
  async get(
    parts: ReadParts,
    committee: Committee,
    blobId: BlobId,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const cached = this.#cache.get(blobId);
    if (cached !== undefined) return cached;
    const { client } = parts;
    let found: Buffer | undefined;
    let last: unknown;
    const ok = await gather({
      candidates: byTrust(committee.nodes, client.health, parts.random),
      needed: () => (found === undefined ? 1 : 0),
      hedgeMs: client.health.hedgeMs(),
      clock: parts.clock,
      signal,
      ask: async (node, abort) => {
        try {
          const bytes = await client.metadata(node, blobId, abort);
          if (!belongs(bytes, committee.nShards, blobId)) {
            throw lie(client.health, node, `metadata that does not belong to blob ${blobId}`);
          }
          found ??= bytes.subarray(32);
        } catch (error) {
          if (!abort.aborted) last = error;
          throw error;
        }
      },
    });
    if (!ok || found === undefined) {
      found = await parts.aggregators.metadata(blobId, committee.nShards, signal);
    }
    if (found === undefined) {
      throw new TuskError(
        'too_few_shards',
        `no storage node has the metadata of blob ${blobId}: ${messageOf(last)}`,
        { cause: last, details: { blobId } },
      );
    }
    this.#cache.set(blobId, found);
    return found;
  }
}

const belongs = (bytes: Buffer, nShards: number, blobId: BlobId): boolean => {
  const id = blobIdToBytes(blobId);
  if (bytes.length < 32 || !bytes.subarray(0, 32).equals(id)) return false;
  try {
    return native.verifyMetadata(bytes.subarray(32), nShards, id);
  } catch {
    return false;
  }
};

/** Unencoded size that metadata states (BCS: version, encoding type, then the length as u64). */
export const sizeOfMetadata = (metadata: Buffer): number => new ByteReader(metadata, 2).u64();

/** One blob as its committee holds it. */
export class BlobSlivers {
  readonly committee: Committee;
  readonly shape: BlobShape;
  readonly #client: NodeClient;
  readonly #blob: BlobRef;
  readonly #rotation: number;
  readonly #metadata: Buffer | undefined;

  /** With `metadata` every sliver is verified; without, only its shape is. */
  constructor(
    client: NodeClient,
    committee: Committee,
    blob: BlobRef,
    metadata: Buffer | undefined,
  ) {
    this.#client = client;
    this.committee = committee;
    this.#blob = blob;
    this.#metadata = metadata;
    this.shape = native.blobShape(blob.size, blob.nShards);
    this.#rotation = rotationOf(blob.blobId, blob.nShards);
  }

  /** The node that must hold a sliver. */
  nodeOf(type: SliverType, index: number): StorageNode {
    return nodeOfSliver(this.committee, this.#rotation, type, index);
  }

  /** Memory for a sliver's data. */
  memory(type: SliverType): Buffer {
    const { primaryBytes, secondaryBytes } = this.shape;
    return Buffer.allocUnsafeSlow(type === 'primary' ? primaryBytes : secondaryBytes);
  }

  /** A sliver's data from the node that must hold it, in `place`; `came` hears of bytes on the way. */
  async sliver(
    type: SliverType,
    index: number,
    signal: AbortSignal,
    place = this.memory(type),
    came?: (bytes: number) => void,
  ): Promise<Buffer> {
    await this.unprovedSliver(type, index, signal, place, came);
    const right = await this.#verifies(type, index, place);
    // Who aborts may have put something else there meanwhile.
    throwIfAborted(signal);
    if (!right) throw this.#wrong(type, index);
    return place;
  }

  /** As `sliver`, but it may be wrong in everything but its shape. */
  async unprovedSliver(
    type: SliverType,
    index: number,
    signal: AbortSignal,
    place = this.memory(type),
    came?: (bytes: number) => void,
  ): Promise<Buffer> {
    const { blobId, nShards } = this.#blob;
    const node = this.nodeOf(type, index);
    const pair = pairOfSliver(type, index, nShards);
    const incoming = new IncomingSliver(place, came);
    await this.#client.sliver(node, blobId, pair, type, incoming, signal);
    if (!incoming.is(this.shape.symbolBytes, index)) throw this.#wrong(type, index);
    return place;
  }

  #wrong(type: SliverType, index: number): TuskError {
    const what = `a wrong ${type} sliver ${index} of blob ${this.#blob.blobId}`;
    return lie(this.#client.health, this.nodeOf(type, index), what);
  }

  /** Does a primary sliver that was made from others belong to the blob? */
  verifiesPrimary(index: number, data: Buffer): Promise<boolean> {
    return this.#verifies('primary', index, data);
  }

  /** Does a primary sliver belong to the blob that its node sent? If not, the node is noted as a liar. */
  async judgePrimary(index: number, data: Buffer): Promise<boolean> {
    const right = await this.#verifies('primary', index, data);
    if (!right) this.#wrong('primary', index);
    return right;
  }

  async #verifies(type: SliverType, index: number, data: Buffer): Promise<boolean> {
    if (this.#metadata === undefined) return true;
    return native.verifySliver(this.#metadata, this.#blob.nShards, type, index, data);
  }

  /**
   * What a node's secondary slivers hold of each of the wanted primary slivers: by the secondary's
   * index its symbols for the wanted ones, one behind the other, in their order.
   */
  async symbols(
    node: StorageNode,
    primaries: readonly number[],
    signal: AbortSignal,
  ): Promise<Map<number, Buffer>> {
    const { blobId } = this.#blob;
    const each = this.shape.symbolBytes + 16;
    const bytesMax = primaries.length * (node.shards.length * each + 16) + 64;
    const bytes = await this.#client.decodingSymbols(node, blobId, primaries, bytesMax, signal);
    const { nShards } = this.#blob;
    const isOwn = (index: number): boolean =>
      index < nShards && this.nodeOf('secondary', index) === node;
    const runs = parseSymbols(bytes, primaries, this.shape.symbolBytes, isOwn);
    if (runs !== undefined) return runs;
    throw lie(this.#client.health, node, `malformed decoding symbols of blob ${blobId}`);
  }

  /** Names the nodes whose symbols at place `at` of their runs are not those of the true primary sliver. */
  async judgeSymbols(runs: Map<number, Buffer>, at: number, index: number, data: Buffer) {
    const { blobId, nShards } = this.#blob;
    const { symbolBytes } = this.shape;
    const sources = [...runs.keys()];
    const symbols = await native.sliverSymbols('primary', nShards, data, sources);
    const liars = new Set<StorageNode>();
    for (const [i, source] of sources.entries()) {
      const sent = runs.get(source)!.subarray(at * symbolBytes, (at + 1) * symbolBytes);
      if (!sent.equals(symbols[i]!)) liars.add(this.nodeOf('secondary', source));
    }
    const what = `wrong decoding symbols for primary sliver ${index} of blob ${blobId}`;
    for (const node of liars) this.#client.health.lied(node, what);
  }
}

/**
 * BCS map<u16, vector<enum{0 Primary, 1 Secondary}{index u16, data bytes}>>, turned about: the
 * symbols of each source for all targets. Sources that lack a target are left out; undefined if
 * the bytes are none, name a source that is not the sender's (`isOwn`), or one twice for a target.
 */
export const parseSymbols = (
  bytes: Buffer,
  targets: readonly number[],
  symbolBytes: number,
  isOwn: (index: number) => boolean,
): Map<number, Buffer> | undefined => {
  const reader = new ByteReader(bytes);
  const uleb = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = reader.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const place = new Map(targets.map((target, at) => [target, at]));
  const runs = new Map<number, { run: Buffer; symbols: number; last: number }>();
  try {
    for (let left = uleb(); left > 0; left--) {
      const at = place.get(reader.u16());
      if (at === undefined || !place.delete(targets[at]!)) return undefined;
      for (let count = uleb(); count > 0; count--) {
        reader.u8();
        const index = reader.u16();
        if (uleb() !== symbolBytes) return undefined;
        let source = runs.get(index);
        if (source === undefined) {
          if (!isOwn(index)) return undefined;
          const run = Buffer.allocUnsafeSlow(targets.length * symbolBytes);
          source = { run, symbols: 0, last: -1 };
          runs.set(index, source);
        }
        if (source.last === at) return undefined;
        source.last = at;
        source.run.set(reader.raw(symbolBytes), at * symbolBytes);
        source.symbols++;
      }
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  if (reader.left !== 0) return undefined;
  const complete = [...runs].filter(([, { symbols }]) => symbols === targets.length);
  return new Map(complete.map(([index, { run }]) => [index, run]));
};
