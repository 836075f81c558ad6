/**
 * A changed committee: shards move with stakes, their new owners get the slivers, reads go on all
 * the while. Also a node that lost its disk, and a blob that is no encoding.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { blake2b } from '@noble/hashes/blake2.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { native } from '../../src/native.ts';
import type { EncodedFile } from '../../src/walrus/network.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish } from '../support/blobs.ts';
import { officialClient } from '../support/official.ts';
import { settingsOf } from '../support/settings.ts';
import { keptSlivers } from '../support/sliver-files.ts';

/** As few as leave every node some: rebuilding slivers costs their square. */
const SHARDS = 40;
let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
const signer = new Ed25519Keypair();

const open = () => new RealNetwork(settingsOf(localnet), wallet);
const official = () => officialClient(localnet);
const signal = () => AbortSignal.timeout(60_000);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-migration-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: SHARDS });
  await localnet.faucet(wallet.address);
  await localnet.faucet(signer.toSuiAddress());
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Waits until the nodes have learnt that a blob is certified. */
const known = (blobId: string) =>
  until('the nodes to know of it', async () =>
    /"initialCertifiedEpoch":\d/.test(JSON.stringify(await statusOf(blobId))),
  );

/** Stores with a client of its own. */
const store = async (seed: number, size: number) => {
  const network = open();
  const bytes = bytesOf(seed, size);
  const file = await encode(directory, bytes, SHARDS);
  await publish(network, file);
  await network.close();
  await known(file.blobId);
  return { bytes, file };
};

const statusOf = async (blobId: string): Promise<unknown> => {
  const url = `http://${localnet.nodes[0]!.address}/v1/blobs/${blobId}/status`;
  const { success } = (await (await fetch(url)).json()) as { success: { data: unknown } };
  return success.data;
};

const until = async (what: string, holds: () => boolean | Promise<boolean>) => {
  for (const deadlineMs = Date.now() + 90_000; ; ) {
    if (await holds()) return;
    if (Date.now() > deadlineMs) throw new Error(`${what}: not within 90 s`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
};

const sliversOf = (node: number, blobId: string): Map<string, Buffer> =>
  keptSlivers(localnet.nodeDirectory(node), blobId);

/** Does every node hold exactly its slivers of the blob, each the one of the metadata? */
const isWhole = async ({ blobId, metadata }: EncodedFile): Promise<boolean> => {
  for (const { index, shards } of (await localnet.status()).nodes) {
    const slivers = sliversOf(index, blobId);
    if (slivers.size !== 2 * shards.length) return false;
    for (const [name, bytes] of slivers) {
      const [pair, type] = name.split('.') as [string, 'primary' | 'secondary'];
      const sliver = bytes.readUInt16LE(bytes.length - 2);
      expect(sliver).toBe(type === 'primary' ? Number(pair) : SHARDS - 1 - Number(pair));
      const { primaryBytes, secondaryBytes } = native.blobShape(
        Number(metadata.readBigUInt64LE(2)),
        SHARDS,
      );
      const data = bytes.subarray(
        bytes.length - 4 - (type === 'primary' ? primaryBytes : secondaryBytes),
        bytes.length - 4,
      );
      expect(await native.verifySliver(metadata, SHARDS, type, sliver, data)).toBe(true);
    }
  }
  return true;
};

const hash = (...parts: Uint8Array[]): Buffer =>
  Buffer.from(blake2b(Buffer.concat(parts), { dkLen: 32 }));

/** Root of Walrus' Merkle tree over leaf hashes. */
const rootOf = (nodes: Buffer[]): Buffer => {
  if (nodes.length === 1) return nodes[0]!;
  const parents = [];
  for (let at = 0; at < nodes.length; at += 2) {
    parents.push(hash(Buffer.of(1), nodes[at]!, nodes[at + 1] ?? Buffer.alloc(32)));
  }
  return rootOf(parents);
};

/** The primary slivers of one blob with the secondary ones of another: each holds, together they are no encoding. */
const mix = async (one: EncodedFile, two: EncodedFile): Promise<EncodedFile> => {
  const metadata = Buffer.from(one.metadata);
  const headBytes = metadata.length - SHARDS * 66;
  const leaves = [];
  for (let at = headBytes; at < metadata.length; at += 66) {
    two.metadata.copy(metadata, at + 33, at + 33, at + 66);
    const [primary, secondary] = [
      metadata.subarray(at + 1, at + 33),
      metadata.subarray(at + 34, at + 66),
    ];
    leaves.push(hash(Buffer.of(0), primary, secondary));
  }
  const rootHash = rootOf(leaves);
  const { primaryBytes, secondaryBytes } = native.blobShape(one.size, SHARDS);
  const slivers = readFileSync(one.sliversPath);
  const others = readFileSync(two.sliversPath);
  for (let pair = 0; pair < SHARDS; pair++) {
    const at = pair * (primaryBytes + secondaryBytes) + primaryBytes;
    others.copy(slivers, at, at, at + secondaryBytes);
  }
  const sliversPath = `${one.sliversPath}.mixed`;
  writeFileSync(sliversPath, slivers);
  const blobId = blobIdFromBytes(hash(Buffer.of(1), metadata.subarray(2, 10), rootHash));
  return { ...one, blobId, rootHash, metadata, sliversPath };
};

const change = async (stakes: Record<number, number>) => {
  await localnet.setStakes(stakes);
  const epoch = await localnet.advanceEpoch();
  return epoch;
};
const settled = () => until('the change', async () => !(await localnet.status()).isChanging);

test('shards follow stakes: new owners hold their slivers, everything reads before, while and after', async () => {
  const { bytes, file } = await store(1, 700_000);
  const before = (await localnet.status()).nodes.map(node => node.shards.length);
  const old = official();
  // The biggest of all, a smaller one, and one that leaves the committee.
  await change({ 0: 6_000, 5: 1_000, 12: 0 });
  const during = official().readBlob({ blobId: file.blobId });
  await settled();
  expect(Buffer.compare(await during, bytes)).toBe(0);
  const { nodes } = await localnet.status();
  const after = nodes.map(node => node.shards.length);
  expect(after.reduce((sum, shards) => sum + shards, 0)).toBe(SHARDS);
  expect(after[0]).toBeGreaterThan(before[0]!);
  expect(after[5]).toBeLessThan(before[5]!);
  expect(after[12]).toBe(0);
  await until('all slivers in their places', () => isWhole(file));
  // A new client reads with the new committee, the SDK's and ours; both store.
  expect(Buffer.compare(await official().readBlob({ blobId: file.blobId }), bytes)).toBe(0);
  const network = open();
  expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
  expect((await network.committee()).nodes.map(node => node.shards.length)).toEqual(
    after.filter(shards => shards > 0),
  );
  await network.close();
  const written = await official().writeBlob({
    blob: new Uint8Array(bytesOf(2, 50_000)),
    deletable: true,
    epochs: 2,
    signer,
  });
  const read = await official().readBlob({ blobId: written.blobId });
  expect(Buffer.compare(read, bytesOf(2, 50_000))).toBe(0);
  await store(3, 50_000);
  // A client of the old epoch reads what did not move, or says that it cannot: never wrong bytes.
  const stale = await old.readBlob({ blobId: file.blobId }).catch(() => undefined);
  if (stale !== undefined) expect(Buffer.compare(stale, bytes)).toBe(0);
});

test('while shards move, reads go to the committee before; owners that are gone are made up for', async () => {
  const { bytes, file } = await store(11, 400_000);
  // Without these no quorum of shards can be taken over. Node 3, which gives shards away, stays down:
  // what only it had must be rebuilt from symbols.
  const down = [3, 6, 7, 8, 9, 10];
  await localnet.setStakes({ 3: 1_000, 4: 6_000 });
  await localnet.stopNode(...down);
  try {
    await localnet.advanceEpoch();
    const ours = open();
    expect(Buffer.compare(await ours.readBlob(file.blobId, signal()), bytes)).toBe(0);
    await ours.close();
    expect((await localnet.status()).isChanging).toBe(true);
    const { epoch_state } = await official().stakingState();
    expect(epoch_state.$kind).toBe('EpochChangeSync');
    await localnet.startNode(...down.slice(1));
    const reader = official();
    expect(Buffer.compare(await reader.readBlob({ blobId: file.blobId }), bytes)).toBe(0);
    await settled();
  } finally {
    await localnet.startNode(...down);
  }
  await until('all slivers in their places', () => isWhole(file));
});

test('a node that lost its disk gets everything back, beside others that lie', async () => {
  const { file } = await store(21, 300_000);
  const lost = sliversOf(2, file.blobId).size;
  expect(lost).toBeGreaterThan(2);
  await localnet.stopNode(2);
  rmSync(join(localnet.nodeDirectory(2), 'blobs'), { recursive: true });
  await localnet.misbehave(1, 'bad-proof');
  await localnet.misbehave(5, 'wrong-bytes');
  try {
    await localnet.startNode(2);
    await until('the lost slivers', () => sliversOf(2, file.blobId).size === lost);
    await until('all slivers in their places', () => isWhole(file));
  } finally {
    await localnet.misbehave([1, 5]);
  }
});

test('a blob whose slivers are no encoding is found, proved, and invalid from then on', async () => {
  const network = open();
  const [one, two] = await Promise.all([
    encode(directory, bytesOf(31, 90_000), SHARDS),
    encode(directory, bytesOf(32, 90_000), SHARDS),
  ]);
  const mixed = await mix(one, two);
  await publish(network, mixed);
  await network.close();
  await known(mixed.blobId);
  await localnet.stopNode(1);
  rmSync(join(localnet.nodeDirectory(1), 'blobs', mixed.blobId), { recursive: true });
  await localnet.startNode(1);
  await until('an invalid blob', async () =>
    JSON.stringify(await statusOf(mixed.blobId)).includes('invalid'),
  );
  const status = await official().getVerifiedBlobStatus({ blobId: mixed.blobId });
  expect(status.type).toBe('invalid');
  await expect(official().readBlob({ blobId: mixed.blobId })).rejects.toThrow();
  await until('no bytes of it', () => sliversOf(0, mixed.blobId).size === 0);
});
