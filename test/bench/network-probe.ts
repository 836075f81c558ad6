/** Do the nodes verify? A blob of the bench itself, whose slivers are sent corrupted and must be refused. */
import { readFileSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import type { LocalnetHandle } from '../../src/localnet/handle.ts';
import { native } from '../../src/native.ts';
import type { EncodedFile, StorageNode } from '../../src/walrus/network.ts';
import { pairOfShard, rotationOf, sliverPath, wireSliver } from '../../src/walrus/nodes/places.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, register } from '../support/blobs.ts';
import { settingsOf } from '../support/settings.ts';

const PROBE_BYTES = 100_000;
const EVERY_MS = 200;
const REGISTRATION_MS = 30_000;

/** A sliver as it ought to be, and where it belongs. */
interface Place {
  readonly url: string;
  readonly wire: Buffer;
}

/** The answer's HTTP status and the reason of a refusal. */
const put = async (url: string, body: Buffer): Promise<{ status: number; reason: string }> => {
  const headers = { 'content-type': 'application/octet-stream' };
  const response = await fetch(url, { method: 'PUT', headers, body: new Uint8Array(body) });
  const json = (await response.json()) as { error?: { details?: { reason?: string }[] } };
  return { status: response.status, reason: json.error?.details?.[0]?.reason ?? '' };
};

const putMetadata = async (url: string, metadata: Buffer): Promise<void> => {
  for (const end = performance.now() + REGISTRATION_MS; performance.now() < end; ) {
    const { status, reason } = await put(url, metadata);
    if (status < 300) return;
    if (reason !== 'NOT_REGISTERED') throw new Error(`${url} refused metadata: ${reason}`);
    await systemClock.sleep(EVERY_MS);
  }
  throw new Error(`${url} did not learn of the registration`);
};

/** The primary sliver of a node's first shard. */
const placeAt = (base: string, node: StorageNode, file: EncodedFile, slivers: Buffer): Place => {
  const { size, nShards, blobId } = file;
  const { primaryBytes, secondaryBytes, symbolBytes } = native.blobShape(size, nShards);
  const pair = pairOfShard(node.shards[0]!, rotationOf(blobId, nShards), nShards);
  const { wire, data } = wireSliver(primaryBytes, symbolBytes, pair);
  slivers.copy(data, 0, pair * (primaryBytes + secondaryBytes));
  return { url: `${base}${sliverPath(blobId, pair, 'primary')}`, wire };
};

/** Sends corrupted slivers, to one node after the other. */
export class Probe {
  readonly #places: readonly Place[];
  #next = 0;

  private constructor(places: readonly Place[]) {
    this.#places = places;
  }

  /** Registers the blob and gives every node its metadata; the last node takes a sliver as it ought to be. */
  static async open(localnet: LocalnetHandle, work: string): Promise<Probe> {
    const { nodeScheme, nShards } = localnet;
    const wallet = Wallet.generate();
    const network = new RealNetwork(settingsOf(localnet), wallet);
    try {
      await localnet.faucet(wallet.address);
      const file = await encode(work, bytesOf(0, PROBE_BYTES), nShards);
      await register(network, file);
      const slivers = readFileSync(file.sliversPath);
      const { nodes } = await network.committee();
      const places = await Promise.all(
        nodes.map(async node => {
          const base = `${nodeScheme}://${node.address}`;
          await putMetadata(`${base}/v1/blobs/${file.blobId}/metadata`, file.metadata);
          return placeAt(base, node, file, slivers);
        }),
      );
      const { url, wire } = places.pop()!;
      const { status } = await put(url, wire);
      if (status !== 201) throw new Error(`${url} answered ${status} to a sliver that is right`);
      return new Probe(places);
    } finally {
      await network.close();
    }
  }

  /** Runs `work` while corrupted slivers are sent; throws if a node takes one. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const running = work();
    const over = new AbortController();
    const sending = this.#send(over.signal);
    try {
      return await running;
    } finally {
      over.abort();
      await sending;
    }
  }

  async #send(signal: AbortSignal): Promise<void> {
    do {
      const { url, wire } = this.#places[this.#next++ % this.#places.length]!;
      const corrupted = Buffer.from(wire);
      corrupted[corrupted.length >> 1]! ^= 1;
      const { status, reason } = await put(url, corrupted);
      if (status < 400 || reason !== 'INVALID_SLIVER')
        throw new Error(
          `${url} answered ${status} ${reason} to a corrupted sliver: the row is void`,
        );
      await systemClock.sleep(EVERY_MS, signal).catch(() => undefined);
    } while (!signal.aborted);
  }
}
