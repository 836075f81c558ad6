/**
 * Our client over https with pinned keys, against a ledger whose readers lag; and planned faults
 * in front of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { nodeKeys } from '../../src/localnet/node/keys.ts';
import type { StorageNode } from '../../src/walrus/network.ts';
import { NodeHttp } from '../../src/walrus/nodes/http.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish, register, registerRequest } from '../support/blobs.ts';
import { FaultyNetwork } from '../support/faulty-network.ts';
import { settingsOf } from '../support/settings.ts';

let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
let network: RealNetwork;
const signal = () => AbortSignal.timeout(30_000);

const open = (nodeScheme: 'http' | 'https') =>
  new RealNetwork(
    {
      ...settingsOf({ ...localnet, nodeScheme }),
      rpcUrls: ['http://127.0.0.1:9', localnet.rpcUrl],
    },
    wallet,
  );

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'G-tls-'));
  localnet = await startLocalnet({
    directory: join(directory, 'net'),
    nodes: 4,
    shards: 10,
    tls: true,
    readLagMs: 700,
  });
  await localnet.faucet(wallet.address);
  await new Promise(resolve => setTimeout(resolve, 800));
  network = open('https');
});
afterAll(async () => {
  await network?.close();
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

test('stores and reads over https, behind readers that lag and an address that is dead', async () => {
  const bytes = bytesOf(1, 300_000);
  const file = await encode(directory, bytes, 10);
  const head = { key: 'k', value: '1', previous: undefined };
  const first = await publish(network, file, head);
  expect(first.tail).toEqual({ shards: 10, missing: [] });
  expect((await network.readBlob(file.blobId, signal())).equals(bytes)).toBe(true);
  // Three more in a row over the same coins: every one names what the last one left.
  const objects = [];
  for (let i = 0; i < 3; i++)
    objects.push(await register(network, await encode(directory, bytesOf(10 + i, 100), 10)));
  expect(new Set(objects).size).toBe(3);
  // A new process knows nothing of the last transaction, and reads may be old: nothing breaks.
  const other = open('https');
  await register(other, await encode(directory, bytesOf(20, 100), 10));
  await other.close();
});

test('plain http to such nodes fails; nothing hangs', async () => {
  const plain = open('http');
  const { blobId } = await encode(directory, bytesOf(1, 300_000), 10);
  await expect(plain.readBlob(blobId, AbortSignal.timeout(3_000))).rejects.toMatchObject({
    kind: 'transient',
  });
  await plain.close();
});

test('a node with another key is refused before a byte is sent', async () => {
  const keys = nodeKeys(join(directory, 'impostor'), true);
  const real = nodeKeys(join(directory, 'real'), true);
  let requests = 0;
  const server = createServer({ key: keys.tls!.key, cert: keys.tls!.cert }, (_, response) => {
    requests++;
    response.end('{}');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const node = (networkPublicKey: Buffer): StorageNode => ({
    index: 0,
    nodeId: '0x1',
    name: 'node-x',
    address,
    publicKey: Buffer.alloc(96),
    networkPublicKey,
    shards: [],
  });
  const http = new NodeHttp('https');
  const get = (key: Buffer) =>
    http.json(node(key), { method: 'GET', path: '/', timeoutMs: 5_000, signal: signal() });
  const wrong = get(real.tls!.publicKey);
  await expect(wrong).rejects.toMatchObject({ code: 'identity_mismatch', kind: 'permanent' });
  await expect(wrong).rejects.toThrow(/node-x/);
  await expect(get(Buffer.alloc(0))).rejects.toMatchObject({ code: 'identity_mismatch' });
  expect(requests).toBe(0);
  await get(keys.tls!.publicKey);
  expect(requests).toBe(1);
  await http.close();
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});

test('a lost answer is no second payment', async () => {
  const faulty = new FaultyNetwork(network, [
    { call: 'submit', kind: 'lost' },
    { call: 'readBlob', kind: 'wrongBytes' },
    { call: 'store', kind: 'cut' },
  ]);
  const file = await encode(directory, bytesOf(30, 20_000), 10);
  const tx = await faulty.signRegister(registerRequest(file));
  const before = await network.balance();
  await expect(faulty.submit(tx)).rejects.toMatchObject({ code: 'network' });
  const result = await faulty.submit(tx);
  expect(result.ok).toBe(true);
  expect(before.wal - (await network.balance()).wal).toBe(result.walSpent);
  const object = { objectId: result.blobObjectId!, deletable: true };
  const cut = faulty.store(file, object, { signal: signal(), tailMs: 1_000 });
  await expect(cut.certificate).rejects.toMatchObject({ kind: 'transient' });
  await cut.tail();
  const run = faulty.store(file, object, { signal: signal(), tailMs: 5_000 });
  const certificate = await run.certificate;
  const certify = await faulty.signCertify({ blobObjectId: object.objectId, certificate });
  expect((await faulty.submit(certify)).ok).toBe(true);
  await run.tail();
  expect(() => faulty.finish()).toThrow(/wrongBytes at readBlob/);
  const bytes = await faulty.readBlob(file.blobId, signal());
  expect(bytes.equals(bytesOf(30, 20_000))).toBe(false);
  faulty.finish();
  expect(faulty.fired.map(plan => plan.kind)).toEqual(['lost', 'cut', 'wrongBytes']);
});
