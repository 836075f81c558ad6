/**
 * The upload relay and the aggregator: the official SDK stores through the one, with tips and
 * without, and what the other answers is what was stored.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { WalrusClient } from '@mysten/walrus';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { bytesOf } from '../support/blobs.ts';
import { officialClient } from '../support/official.ts';

let directory: string;
let localnet: LocalnetHandle;
const signer = new Ed25519Keypair();
const sui = () => new SuiGrpcClient({ network: 'localnet', baseUrl: localnet.rpcUrl });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-gateway-'));
  localnet = await startLocalnet({ directory, nodes: 13, shards: 100 });
  await localnet.faucet(signer.toSuiAddress());
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

const official = (max?: number) =>
  new WalrusClient({
    suiClient: sui(),
    packageConfig: localnet.packageConfig,
    storageNodeUrlScheme: 'http',
    uploadRelay: {
      host: localnet.relayUrl,
      ...(max === undefined ? {} : { sendTip: { max } }),
    },
  });

const write = (blob: Uint8Array, max?: number) =>
  official(max).writeBlob({ blob: new Uint8Array(blob), deletable: true, epochs: 2, signer });

const suiOf = async (owner: string) =>
  BigInt((await sui().core.getBalance({ owner })).balance.balance);

/** One request to the aggregator. */
const aggregate = (blobId: string, method = 'GET', headers: Record<string, string> = {}) =>
  new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: Buffer }>(
    (resolve, reject) => {
      const url = `${localnet.aggregatorUrl}/v1/blobs/${blobId}`;
      request(url, { method, headers }, response => {
        const chunks: Buffer[] = [];
        response.on('data', chunk => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      })
        .on('error', reject)
        .end();
    },
  );

test('the SDK stores through the relay without a tip, permanently and deletably', async () => {
  const bytes = bytesOf(1, 500_000);
  const { blobId, blobObject } = await write(bytes);
  expect(blobObject.certified_epoch).toBe(1);
  const again = await official().writeBlob({
    blob: new Uint8Array(bytesOf(2, 10)),
    deletable: false,
    epochs: 1,
    signer,
  });
  expect(again.blobObject).toMatchObject({ certified_epoch: 1, deletable: false });
  // Every node got its slivers from the relay: the SDK reads without it.
  const read = await officialClient(localnet).readBlob({ blobId });
  expect(Buffer.compare(read, bytes)).toBe(0);
});

test('tips: constant and by size; too little, none and a limit below are refused', async () => {
  const relayAddress = localnet.packageConfig.stakingPoolId;
  try {
    await localnet.setTip({ const: 5_000 });
    const before = await suiOf(relayAddress);
    await write(bytesOf(3, 20_000), 10_000);
    expect((await suiOf(relayAddress)) - before).toBe(5_000n);
    await localnet.setTip({ base: 1_000, perEncodedKib: 2 });
    await write(bytesOf(4, 300_000), 100_000);
    const paid = (await suiOf(relayAddress)) - before - 5_000n;
    expect(paid).toBeGreaterThan(1_000n + 2n * 900n);
    await expect(write(bytesOf(5, 300_000), 1_000)).rejects.toThrow(/tip/i);
    // A client that believes an old, lower price has paid too little; one that pays nothing, nothing.
    const stale = official(100_000);
    const options = { deletable: true, epochs: 1, signer };
    await stale.writeBlob({ blob: new Uint8Array(bytesOf(6, 100)), ...options });
    await localnet.setTip({ const: 50_000_000 });
    await expect(
      stale.writeBlob({ blob: new Uint8Array(bytesOf(7, 100)), ...options }),
    ).rejects.toMatchObject({ status: 402 });
    await expect(write(bytesOf(8, 100))).rejects.toMatchObject({ status: 400 });
  } finally {
    await localnet.setTip('none');
  }
});

test('the relay refuses bytes of another blob ID', async () => {
  const { blobId } = await write(bytesOf(9, 1_000));
  const response = await fetch(`${localnet.relayUrl}/v1/blob-upload-relay?blob_id=${blobId}`, {
    method: 'POST',
    body: new Uint8Array(bytesOf(10, 1_000)),
  });
  expect(response.status).toBe(400);
  expect(await response.text()).toMatch(/do not match/);
});

test('the aggregator answers whole blobs, ranges and HEAD, also beside silent and lying nodes', async () => {
  const bytes = bytesOf(11, 1_234_567);
  const { blobId } = await write(bytes);
  const empty = await write(Buffer.alloc(0));
  expect(await aggregate(empty.blobId)).toMatchObject({ status: 200, body: Buffer.alloc(0) });
  const check = async () => {
    const whole = await aggregate(blobId);
    expect(whole).toMatchObject({ status: 200, headers: { etag: blobId } });
    expect(Buffer.compare(whole.body, bytes)).toBe(0);
    for (const [start, end] of [
      [0, 0],
      [100_000, 399_999],
      [1_234_000, 1_234_566],
    ] as const) {
      const part = await aggregate(blobId, 'GET', { range: `bytes=${start}-${end}` });
      expect(part).toMatchObject({
        status: 206,
        headers: { 'content-range': `bytes ${start}-${end}/${bytes.length}` },
      });
      expect(Buffer.compare(part.body, bytes.subarray(start, end + 1))).toBe(0);
    }
  };
  await check();
  const head = await aggregate(blobId, 'HEAD');
  expect(head).toMatchObject({ status: 200, headers: { 'content-length': `${bytes.length}` } });
  expect(head.body.length).toBe(0);
  await localnet.misbehave([0, 1], 'wrong-bytes');
  await localnet.misbehave([2, 3], 'refuses');
  await check();
  await localnet.misbehave([0, 1, 2, 3]);
  for (const range of ['bytes=0-1234567', 'bytes=5-', 'bytes=-5', 'bytes=9-8', 'bytes=0-1,3-4']) {
    expect((await aggregate(blobId, 'GET', { range })).status).toBe(416);
  }
  const unknown = Buffer.alloc(32, 7).toString('base64url');
  expect(JSON.parse((await aggregate(unknown)).body.toString())).toMatchObject({
    error: { code: 404, details: [{ reason: 'BLOB_NOT_FOUND' }] },
  });
});
