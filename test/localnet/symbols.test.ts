import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { bcs } from '@mysten/sui/bcs';
import { blake2b } from '@noble/hashes/blake2.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { native } from '../../src/native.ts';
import {
  ask,
  makeBlob,
  makeNode,
  makeRegistry,
  N_SHARDS,
  NODES,
  pairsOf,
  registered,
  remove,
  type TestBlob,
  temporary,
  upload,
} from './support.ts';

// Layouts as Walrus has them, by the official BCS library.
const Bare = bcs.struct('DecodingSymbol', { index: bcs.u16(), data: bcs.byteVector() });
const Either = bcs.enum('EitherDecodingSymbol', { Primary: Bare, Secondary: Bare });
const Decoding = bcs.map(bcs.u16(), bcs.vector(Either));
const MerkleNode = bcs.enum('Node', { Empty: null, Digest: bcs.fixedArray(32, bcs.u8()) });
const Recovery = bcs.vector(
  bcs.struct('GeneralRecoverySymbol', {
    symbol: Either,
    targetIndex: bcs.u16(),
    proof: bcs.vector(MerkleNode),
  }),
);

let directory: string;
let blob: TestBlob;
let ports: number[];
const nodes: ReturnType<typeof makeNode>[] = [];

beforeAll(async () => {
  directory = temporary();
  blob = await makeBlob(directory, 'symbols');
  const registry = makeRegistry();
  registry.apply(registered(blob.id, 1));
  for (let i = 0; i < NODES; i++) {
    const made = makeNode(join(directory, `node-${i}`), i, registry);
    await made.node.start();
    await upload(made.node.port, blob, pairsOf(made.shards, blob.id));
    nodes.push(made);
  }
  ports = nodes.map(({ node }) => node.port);
});
afterAll(async () => {
  for (const { node } of nodes) await node.stop();
  remove(directory);
});

const hash = (...parts: Uint8Array[]) => Buffer.from(blake2b(Buffer.concat(parts), { dkLen: 32 }));

/** Merkle root that a proof leads to, by the definition of Walrus' trees. */
const rootOf = (leaf: Uint8Array, index: number, proof: Uint8Array[]): Buffer => {
  let node = hash(Buffer.from([0]), leaf);
  let at = index;
  for (const sibling of proof) {
    const [left, right] = at % 2 === 0 ? [node, sibling] : [sibling, node];
    node = hash(Buffer.from([1]), left, right);
    at >>= 1;
  }
  return node;
};

/** Root of a pair's sliver as the metadata has it. */
const committedRoot = (pair: number, type: 'primary' | 'secondary'): Buffer => {
  const at = 11 + pair * 66 + (type === 'primary' ? 1 : 34);
  return blob.encoded.metadata.subarray(at, at + 32);
};

describe.each(['primary', 'secondary'] as const)('a lost %s sliver', type => {
  const target = 2;
  const pair = type === 'primary' ? target : N_SHARDS - 1 - target;

  test('comes back from decoding symbols', async () => {
    const query = `decodingSymbols?targetSlivers=${target}&targetSlivers=3&targetType=${type}`;
    const symbols = [];
    for (const port of ports) {
      const { bytes } = await ask(port, 'GET', `blobs/${blob.id}/${query}`);
      const found = Decoding.parse(bytes);
      expect([...found.keys()]).toEqual([2, 3]);
      symbols.push(...found.get(target)!.map(one => (one.Primary ?? one.Secondary)!));
    }
    expect(symbols).toHaveLength(N_SHARDS);
    const some = symbols
      .slice(0, type === 'primary' ? 7 : 4)
      .map(({ index, data }) => ({ index, data: new Uint8Array(data) }));
    expect(await native.recoverSliver(type, N_SHARDS, some)).toEqual(blob.sliver(pair, type));
  });

  test('comes back from recovery symbols, each proved against the metadata', async () => {
    const query = `recoverySymbols?targetSliver=${target}&targetType=${type}&proofAxis=${
      type === 'primary' ? 'secondary' : 'primary'
    }`;
    const symbols: { index: number; data: Uint8Array }[] = [];
    for (const port of ports) {
      const { bytes } = await ask(port, 'GET', `blobs/${blob.id}/${query}`);
      for (const one of Recovery.parse(bytes)) {
        const { index, data } = (type === 'primary' ? one.symbol.Primary : one.symbol.Secondary)!;
        expect(one.targetIndex).toBe(target);
        const source = type === 'primary' ? 'secondary' : 'primary';
        const sourcePair = type === 'primary' ? N_SHARDS - 1 - index : index;
        const proof = one.proof.map(node => new Uint8Array(node.Digest ?? Buffer.alloc(32)));
        const leaf = new Uint8Array(data);
        expect(rootOf(leaf, target, proof)).toEqual(committedRoot(sourcePair, source));
        symbols.push({ index, data: leaf });
      }
    }
    const some = symbols.slice(-(type === 'primary' ? 7 : 4));
    expect(await native.recoverSliver(type, N_SHARDS, some)).toEqual(blob.sliver(pair, type));
  });
});

test('recovery symbols are also given by id, and refused only when there are none', async () => {
  const pairs = pairsOf(nodes[0]!.shards, blob.id);
  const foreign = pairsOf(nodes[1]!.shards, blob.id)[0]!;
  const other = (pair: number) => N_SHARDS - 1 - pair;
  const own = `${pairs[0]}-${other(foreign)}`;
  const away = `${foreign}-${other(foreign)}`;
  const path = `blobs/${blob.id}/recoverySymbols`;
  const both = await ask(ports[0]!, 'GET', `${path}?id=${away}&id=${own}`);
  const symbols = Recovery.parse(both.bytes);
  expect(symbols).toHaveLength(1);
  expect(symbols[0]).toMatchObject({
    symbol: { Secondary: { index: pairs[0] } },
    targetIndex: other(foreign),
  });
  expect(await ask(ports[0]!, 'GET', `${path}?id=${away}`)).toMatchObject({
    status: 400,
    reason: 'SYMBOL_NOT_PRESENT_AT_SHARDS',
  });
  const outside = `blobs/${blob.id}/decodingSymbols?targetSlivers=9&targetType=primary`;
  expect(await ask(ports[0]!, 'GET', outside)).toMatchObject({
    reason: 'RECOVERY_SYMBOL_OUT_OF_RANGE',
  });
});

test('with TLS a node shows the key that it publishes', async () => {
  const { node, keys } = makeNode(join(directory, 'tls'), 0, makeRegistry(), true);
  await node.start();
  const certificate = await new Promise<X509Certificate>((resolve, reject) => {
    const url = `https://127.0.0.1:${node.port}/v1/health`;
    const call = request(url, { ca: keys.tls!.cert, agent: false }, response => {
      response.resume();
      resolve(new X509Certificate((response.socket as TLSSocket).getPeerCertificate().raw));
    });
    call.on('error', reject);
    call.end();
  });
  const shown = certificate.publicKey.export({ format: 'jwk' });
  const published = keys.tls!.publicKey;
  expect(published).toHaveLength(33);
  expect(published.subarray(1).toString('base64url')).toBe(shown.x);
  expect(published[0]).toBe(2 + (Buffer.from(shown.y!, 'base64url').at(-1)! & 1));
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  await node.stop();
});
