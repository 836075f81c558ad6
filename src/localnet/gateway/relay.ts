/**
 * The upload relay (official HTTP API): takes the bytes of a registered blob once, encodes them,
 * stores all slivers on the nodes and answers with the certificate. Bodies go through a file.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemClock } from '../../base/clock.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import { blobIdFromBytes, type SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import { type EncodedBlob, native } from '../../native.ts';
import { type GenesisNode, type LedgerState, membersOf } from '../feed.ts';
import { writeSliver } from '../node/bcs.ts';
import { confirmationMessage } from '../node/confirmation.ts';
import { pairOfShard, rotationOf, sliverOfPair } from '../node/shards.ts';
import { askPeer } from '../peers.ts';
import { RelayError } from './relay-error.ts';

const BODY_BYTES_MAX = 1024 ** 3;
const REGISTRATION_MS = 10_000;
const POLL_MS = 100;
/** Nodes that are slower than a quorum are waited for so long. */
const TAIL_MS = 2_000;

/** A body on disk. */
export interface Received {
  readonly path: string;
  readonly size: number;
  readonly sha256: Buffer;
}

/** Gives `use` a directory that is gone afterwards. */
export const withScratch = async <T>(
  parent: string,
  use: (directory: string) => Promise<T>,
): Promise<T> => {
  const directory = await mkdtemp(join(parent, 'relay-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

/** Writes a request's body into `directory`. */
export const receive = async (request: IncomingMessage, directory: string): Promise<Received> => {
  const path = join(directory, 'blob');
  const hash = createHash('sha256');
  let size = 0;
  const count = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      size += chunk.length;
      hash.update(chunk);
      if (size > BODY_BYTES_MAX) done(new RelayError(413, 'length limit exceeded'));
      else done(null, chunk);
    },
  });
  await pipeline(request, count, createWriteStream(path, { mode: 0o600 }));
  return { path, size, sha256: hash.digest() };
};

/** What the relay answers, in the official JSON shape. */
export interface RelayAnswer {
  readonly blob_id: string;
  readonly confirmation_certificate: {
    readonly signers: readonly number[];
    readonly serialized_message: readonly number[];
    readonly signature: string;
  };
}

/** Encodes a received blob, stores it on the nodes of the committee and aggregates what they sign. */
export const storeBlob = async (
  state: LedgerState,
  received: Received,
  blobId: string,
  objectId: SuiId | undefined,
  signal: AbortSignal,
): Promise<RelayAnswer> => {
  const sliversPath = `${received.path}.slivers`;
  const encoded = await native.encodeFile(received.path, state.nShards, sliversPath);
  if (blobIdFromBytes(encoded.blobId) !== blobId) {
    throw new RelayError(
      400,
      'the provided blob ID and the blob ID resulting from the blob encoding do not match',
    );
  }
  const upload = new Upload(state, encoded, sliversPath, objectId, signal);
  return { blob_id: blobId, confirmation_certificate: await upload.run() };
};

class Upload {
  readonly #nodes: readonly GenesisNode[];
  readonly #encoded: EncodedBlob;
  readonly #sliversPath: string;
  readonly #kind: string;
  readonly #message: Buffer;
  readonly #signal: AbortSignal;
  readonly #signatures = new Map<number, Buffer>();

  constructor(
    state: LedgerState,
    encoded: EncodedBlob,
    sliversPath: string,
    objectId: SuiId | undefined,
    signal: AbortSignal,
  ) {
    this.#nodes = membersOf(state);
    this.#encoded = encoded;
    this.#sliversPath = sliversPath;
    this.#kind = objectId === undefined ? 'permanent' : `deletable/${objectId}`;
    this.#message = confirmationMessage(state.epoch, encoded.blobId, objectId);
    this.#signal = signal;
  }

  get #path(): string {
    return `blobs/${blobIdFromBytes(this.#encoded.blobId)}`;
  }

  /** Stores on all nodes at once; ends when all have, or a while after a quorum has. */
  async run(): Promise<RelayAnswer['confirmation_certificate']> {
    const { nShards } = this.#encoded;
    const quorum = Promise.withResolvers<void>();
    const file = await open(this.#sliversPath);
    try {
      const each = this.#nodes.map(async node => {
        try {
          await this.#store(node, file);
          if (this.#isQuorum()) quorum.resolve();
        } catch (error) {
          log('localnet').debug(
            { node: node.name, error: messageOf(error) },
            'relay upload failed',
          );
        }
      });
      const all = Promise.all(each);
      await Promise.race([all, quorum.promise]);
      await Promise.race([all, systemClock.sleep(TAIL_MS)]);
      if (!this.#isQuorum()) {
        const shards = this.#shards();
        throw new TuskError(
          'too_few_shards',
          `nodes of ${shards} of ${nShards} shards stored the blob`,
        );
      }
      return this.#certificate();
    } finally {
      await file.close();
    }
  }

  #shards(): number {
    return [...this.#signatures.keys()].reduce(
      (sum, index) => sum + this.#nodes[index]!.shards.length,
      0,
    );
  }

  #isQuorum(): boolean {
    return 3 * this.#shards() >= 2 * this.#encoded.nShards + 1;
  }

  #certificate(): RelayAnswer['confirmation_certificate'] {
    const signers = [...this.#signatures.keys()].sort((a, b) => a - b);
    const signature = native.blsAggregate(signers.map(index => this.#signatures.get(index)!));
    return {
      signers,
      serialized_message: [...this.#message],
      signature: signature.toString('base64url'),
    };
  }

  async #store(node: GenesisNode, file: Awaited<ReturnType<typeof open>>): Promise<void> {
    await this.#putMetadata(node);
    const { nShards, symbolBytes, size, blobId } = this.#encoded;
    const { primaryBytes, secondaryBytes } = native.blobShape(size, nShards);
    const rotation = rotationOf(blobId, nShards);
    for (const shard of node.shards) {
      const pair = pairOfShard(shard, rotation, nShards);
      for (const type of ['primary', 'secondary'] as const) {
        const data = Buffer.alloc(type === 'primary' ? primaryBytes : secondaryBytes);
        const at = pair * (primaryBytes + secondaryBytes) + (type === 'primary' ? 0 : primaryBytes);
        await file.read(data, 0, data.length, at);
        const index = sliverOfPair(pair, type, nShards);
        await this.#put(node, `slivers/${pair}/${type}`, writeSliver({ data, symbolBytes, index }));
      }
    }
    await this.#confirm(node);
  }

  /** A node may learn of the registration later than the relay was asked. */
  async #putMetadata(node: GenesisNode): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + REGISTRATION_MS;
    for (;;) {
      try {
        return await this.#put(node, 'metadata', this.#encoded.metadata);
      } catch (error) {
        const waits = messageOf(error).includes('NOT_REGISTERED');
        if (!waits || systemClock.monotonicMs() > deadlineMs) throw error;
      }
      await systemClock.sleep(POLL_MS, this.#signal);
    }
  }

  async #put(node: GenesisNode, rest: string, body: Buffer): Promise<void> {
    const options = { body, signal: this.#signal };
    const answer = await askPeer(node, 'PUT', `${this.#path}/${rest}`, options);
    if (answer.status < 300) return;
    throw new TuskError('node_refused', `${node.name} answered ${answer.status} ${answer.body}`);
  }

  async #confirm(node: GenesisNode): Promise<void> {
    const path = `${this.#path}/confirmation/${this.#kind}`;
    const { status, body } = await askPeer(node, 'GET', path, { signal: this.#signal });
    if (status !== 200) throw new TuskError('node_refused', `${node.name} answered ${status}`);
    const { signed } = JSON.parse(body.toString()).success.data;
    const signature = Buffer.from(signed.signature, 'base64');
    const isOurs = this.#message.equals(Buffer.from(signed.serializedMessage, 'base64'));
    if (
      !isOurs ||
      !native.blsVerify(Buffer.from(node.publicKey, 'hex'), this.#message, signature)
    ) {
      throw new TuskError('unverified', `the confirmation of ${node.name} does not verify`);
    }
    this.#signatures.set(this.#nodes.indexOf(node), signature);
  }
}
