/**
 * Our own client against localnet, with the official SDK as judge: what we store it reads, what it
 * stores we read; nodes fail, lie and lag, prices move, answers get lost.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { WalrusClient } from '@mysten/walrus';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { native } from '../../src/native.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish } from '../support/blobs.ts';

let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
let network: RealNetwork;

const open = (of = wallet) =>
  new RealNetwork(
    {
      name: 'localnet',
      rpcUrls: [localnet.rpcUrl],
      ...localnet.packageConfig,
      nodeScheme: localnet.nodeScheme,
    },
    of,
  );
const signal = () => AbortSignal.timeout(30_000);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'G-client-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: 100 });
  await localnet.faucet(wallet.address);
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(() => {
  network = open();
});
afterEach(() => network.close());

const official = () =>
  new WalrusClient({
    suiClient: new SuiGrpcClient({ network: 'localnet', baseUrl: localnet.rpcUrl }),
    packageConfig: localnet.packageConfig,
    storageNodeUrlScheme: 'http',
  });

test.each([0, 1, 5000, 3_000_000])('the official SDK reads what we store, %i bytes', async size => {
  const bytes = bytesOf(size, size);
  const file = await encode(directory, bytes);
  const { objectId, tail } = await publish(network, file);
  expect(tail).toEqual({ shards: 100, missing: [] });
  const read = await official().readBlob({ blobId: file.blobId });
  expect(Buffer.compare(read, bytes)).toBe(0);
  expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
  const blob = await network.blobObject(objectId);
  expect(blob).toMatchObject({ blobId: file.blobId, size, deletable: true, certifiedEpoch: 1 });
  expect((await network.blobsOf(wallet.address)).map(one => one.objectId)).toContain(objectId);
});
