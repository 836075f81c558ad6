/**
 * The official SDK, unmodified, as the judge of localnet: what it writes it reads back, and it can
 * do everything to its blobs that it can do on mainnet.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { WalrusClient } from '@mysten/walrus';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';

let directory: string;
let localnet: LocalnetHandle;
const signer = new Ed25519Keypair();
let walrus: WalrusClient;
let sui: SuiGrpcClient;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-sdk-'));
  localnet = await startLocalnet({ directory, nodes: 13, shards: 100 });
  await localnet.faucet(signer.toSuiAddress());
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});
// A client keeps what it read for ever: each test begins with a fresh one.
const connect = () => {
  sui = new SuiGrpcClient({ network: 'localnet', baseUrl: localnet.rpcUrl });
  walrus = newClient();
};
beforeEach(connect);

const newClient = () =>
  new WalrusClient({
    suiClient: sui,
    packageConfig: localnet.packageConfig,
    storageNodeUrlScheme: 'http',
  });

const bytesOf = (seed: number, size: number) => {
  const out = new Uint8Array(size);
  const block = seededRandom(seed).bytes(4096);
  for (let at = 0; at < size; at += 4096) {
    out.set(block.subarray(0, Math.min(4096, size - at)), at);
    block.writeUInt32LE(at, 0);
  }
  return out;
};

const write = (blob: Uint8Array, more: { attributes?: Record<string, string> } = {}) =>
  walrus.writeBlob({ blob, deletable: true, epochs: 2, signer, ...more });

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** What every node says of a blob, once all of them know of it. */
const statusWhen = async (blobId: string, type: string, certified?: boolean) => {
  for (;;) {
    const status = await newClient().getVerifiedBlobStatus({ blobId });
    const isCertified = 'initialCertifiedEpoch' in status && status.initialCertifiedEpoch !== null;
    if (status.type === type && (certified === undefined || isCertified === certified)) {
      return status;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
};

test.each([0, 1, 5000, 3_000_000])('a blob of %i bytes comes back', async size => {
  const blob = bytesOf(size, size);
  const { blobId, blobObject } = await write(blob);
  expect(blobObject.certified_epoch).toBe(1);
  expect(same(await newClient().readBlob({ blobId }), blob)).toBe(true);
});

test('a permanent blob is stored and certified as such', async () => {
  const blob = bytesOf(77, 2000);
  const { blobId } = await walrus.writeBlob({ blob, deletable: false, epochs: 3, signer });
  expect(await statusWhen(blobId, 'permanent', true)).toMatchObject({
    endEpoch: 4,
    isCertified: true,
    deletableCounts: { count_deletable_total: 0 },
  });
});

test('attributes are set, changed and removed', async () => {
  const { blobObject } = await write(bytesOf(1, 100), { attributes: { a: '1', b: '2' } });
  const { id } = blobObject;
  expect(await walrus.readBlobAttributes({ blobObjectId: id })).toEqual({ a: '1', b: '2' });
  await walrus.executeWriteBlobAttributesTransaction({
    blobObjectId: id,
    attributes: { a: '3', b: null, c: '4' },
    signer,
  });
  connect();
  expect(await walrus.readBlobAttributes({ blobObjectId: id })).toEqual({ a: '3', c: '4' });
});

test('a blob is extended, then deleted, and nodes stop serving it', async () => {
  const { blobId, blobObject } = await write(bytesOf(2, 9000));
  const before = blobObject.storage.end_epoch;
  await walrus.executeExtendBlobTransaction({ blobObjectId: blobObject.id, epochs: 5, signer });
  connect();
  const extended = await walrus.getBlobObject(blobObject.id);
  expect(extended.storage.end_epoch).toBe(before + 5);
  await statusWhen(blobId, 'deletable', true);
  await walrus.executeDeleteBlobTransaction({ blobObjectId: blobObject.id, signer });
  await statusWhen(blobId, 'nonexistent');
  await expect(newClient().readBlob({ blobId })).rejects.toThrow();
});

test('a quilt comes back file by file', async () => {
  const files = [10, 3000, 40_000].map((size, i) => ({
    contents: bytesOf(100 + i, size),
    identifier: `file-${i}`,
    tags: { n: String(i) },
  }));
  const { blobId } = await walrus.writeQuilt({ blobs: files, deletable: true, epochs: 2, signer });
  const blob = await newClient().getBlob({ blobId });
  // Read the blob as a whole first: files that cross a column are cut short otherwise.
  await blob.asFile().bytes();
  const found = await blob.files();
  const named = new Map(
    await Promise.all(found.map(async file => [await file.getIdentifier(), file] as const)),
  );
  for (const { identifier, contents, tags } of files) {
    const file = named.get(identifier)!;
    expect(same(await file.bytes(), contents)).toBe(true);
    expect(await file.getTags()).toEqual(tags);
  }
});

test('with 4 of 13 nodes stopped blobs are read and written', async () => {
  const blob = bytesOf(5, 200_000);
  const { blobId } = await write(blob);
  await localnet.stopNode(0, 1, 5, 9);
  try {
    expect(same(await newClient().readBlob({ blobId }), blob)).toBe(true);
    const other = bytesOf(6, 100_000);
    const written = await write(other);
    expect(same(await newClient().readBlob({ blobId: written.blobId }), other)).toBe(true);
  } finally {
    await localnet.startNode(0, 1, 5, 9);
  }
});
