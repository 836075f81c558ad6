/** Storage nodes of this process over temporary directories, and blobs to put into them. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, blobIdFromBytes, blobIdToBytes } from '../../src/base/ids.ts';
import type { LedgerEvent } from '../../src/localnet/feed.ts';
import { writeSliver } from '../../src/localnet/node/bcs.ts';
import { nodeKeys } from '../../src/localnet/node/keys.ts';
import { StorageNode } from '../../src/localnet/node/node.ts';
import { Registry } from '../../src/localnet/node/registry.ts';
import { dealtShards, pairOfShard, rotationOf } from '../../src/localnet/node/shards.ts';
import { type EncodedBlob, native } from '../../src/native.ts';

export const N_SHARDS = 10;
export const NODES = 3;

/** A blob in its encoded form. */
export interface TestBlob {
  readonly id: BlobId;
  readonly encoded: EncodedBlob;
  sliver(pair: number, type: 'primary' | 'secondary'): Buffer;
  body(pair: number, type: 'primary' | 'secondary'): Buffer;
}

export const temporary = (): string => mkdtempSync(join(tmpdir(), 'F-localnet-'));
export const remove = (directory: string): void =>
  rmSync(directory, { recursive: true, force: true });

/** Encodes bytes that follow from `seed`. */
export const makeBlob = async (directory: string, seed: string, size = 5000): Promise<TestBlob> => {
  const plain = Buffer.alloc(size);
  for (let at = 0; at < size; at += 32) {
    createHash('sha256').update(`${seed}${at}`).digest().copy(plain, at);
  }
  const path = join(directory, `${seed}.plain`);
  writeFileSync(path, plain);
  const encoded = await native.encodeFile(path, N_SHARDS, `${path}.slivers`);
  const all = readFileSync(`${path}.slivers`);
  const { primaryBytes, secondaryBytes } = native.blobShape(size, N_SHARDS);
  const sliver = (pair: number, type: 'primary' | 'secondary') => {
    const at = pair * (primaryBytes + secondaryBytes) + (type === 'primary' ? 0 : primaryBytes);
    return all.subarray(at, at + (type === 'primary' ? primaryBytes : secondaryBytes));
  };
  return {
    id: blobIdFromBytes(encoded.blobId),
    encoded,
    sliver,
    body: (pair, type) =>
      writeSliver({
        data: sliver(pair, type),
        symbolBytes: encoded.symbolBytes,
        index: type === 'primary' ? pair : N_SHARDS - 1 - pair,
      }),
  };
};

/** A registry of the nodes of these tests. */
export const makeRegistry = (epoch = 1): Registry =>
  new Registry(
    epoch,
    Array.from({ length: NODES }, (_, index) => ({
      index,
      nodeId: `0x${String(index).padStart(64, '0')}`,
      name: `node-${index}`,
      address: '127.0.0.1:0',
      publicKey: '',
      networkPublicKey: '',
      shards: dealtShards(index, NODES, N_SHARDS),
    })),
  );

/** A node that knows what the test tells its registry. */
export const makeNode = (directory: string, index: number, registry: Registry, tls = false) => {
  const keys = nodeKeys(directory, tls);
  const identity = {
    index,
    nShards: N_SHARDS,
    blsSecret: keys.blsSecret,
    blsPublic: keys.blsPublic48,
  };
  const config = { name: `node-${index}`, port: 0, directory, identity };
  const node = new StorageNode(
    keys.tls === undefined ? config : { ...config, tls: keys.tls },
    registry,
  );
  return { node, keys, shards: dealtShards(index, NODES, N_SHARDS) };
};

export const pairsOf = (shards: readonly number[], id: BlobId): number[] =>
  shards.map(shard => pairOfShard(shard, rotationOf(blobIdToBytes(id), N_SHARDS), N_SHARDS));

export const OBJECT_ID = `0x${'ab'.repeat(32)}`;

/** A registration as the ledger reports it. */
export const registered = (
  id: BlobId,
  seq: number,
  more: Partial<Extract<LedgerEvent, { size: number }>> = {},
): LedgerEvent => ({
  seq,
  atMs: 0,
  txDigest: '11111111111111111111111111111111',
  eventSeq: 0,
  kind: 'registered',
  blobId: id,
  objectId: OBJECT_ID,
  size: 5000,
  deletable: true,
  endEpoch: 3,
  epoch: 1,
  ...more,
});

/** One request; the body is parsed when it is JSON. */
export const ask = async (port: number, method: string, path: string, body?: Uint8Array) => {
  const response = await fetch(`http://127.0.0.1:${port}/v1/${path}`, {
    method,
    ...(body === undefined ? {} : { body: new Uint8Array(body) }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get('content-type') === 'application/json';
  const json = isJson ? JSON.parse(bytes.toString()) : undefined;
  return { status: response.status, bytes, json, reason: json?.error?.details[0].reason };
};

/** PUTs metadata and all slivers of a node. */
export const upload = async (port: number, blob: TestBlob, pairs: readonly number[]) => {
  await ask(port, 'PUT', `blobs/${blob.id}/metadata`, blob.encoded.metadata);
  for (const pair of pairs) {
    for (const type of ['primary', 'secondary'] as const) {
      const path = `blobs/${blob.id}/slivers/${pair}/${type}`;
      const { status } = await ask(port, 'PUT', path, blob.body(pair, type));
      if (status !== 201) throw new Error(`sliver ${pair} ${type}: ${status}`);
    }
  }
};
