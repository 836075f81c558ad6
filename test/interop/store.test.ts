/**
 * Storing on committees of uneven weight and beside nodes that hang: what counts is shards, nothing
 * is sent twice, and limits are kept.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { parseRatePlan } from '../../src/base/rate.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { NodeClient } from '../../src/walrus/nodes/client.ts';
import { FirstNodes } from '../../src/walrus/nodes/first-nodes.ts';
import { NodeHttp } from '../../src/walrus/nodes/http.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish, register } from '../support/blobs.ts';
import { settingsOf } from '../support/settings.ts';

const WEIGHTS = [12, 11, 10, 9, 9, 8, 8, 8, 7, 6, 5, 4, 3];

let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
let network: RealNetwork;

const open = () => new RealNetwork(settingsOf(localnet), wallet);
const signal = () => AbortSignal.timeout(60_000);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'G-store-'));
  localnet = await startLocalnet({
    directory: join(directory, 'net'),
    nodes: WEIGHTS.length,
    shards: 100,
    weights: WEIGHTS,
  });
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

test('the five smallest of 13 nodes stopped: the rest have 75 shards, and it stores', async () => {
  const { nodes } = await network.committee();
  expect(nodes.map(node => node.shards.length)).toEqual(WEIGHTS);
  const stopped = [8, 9, 10, 11, 12];
  await localnet.stopNode(...stopped);
  try {
    const bytes = bytesOf(1, 500_000);
    const file = await encode(directory, bytes);
    const { certificate, tail } = await publish(network, file);
    expect(certificate.shards).toBeGreaterThanOrEqual(67);
    expect(tail).toEqual({ shards: 75, missing: stopped.map(index => `node-${index}`) });
    expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
  } finally {
    await localnet.startNode(...stopped);
  }
});

test('the four largest stopped: it is pending, says why, and sends only what is missing when they are back', async () => {
  const stopped = [0, 1, 2, 3];
  const file = await encode(directory, bytesOf(2, 500_000));
  await localnet.stopNode(...stopped);
  const objectId = await register(network, file);
  const object = { objectId, deletable: true };
  try {
    const run = network.store(file, object, { signal: signal(), tailMs: 1_000 });
    await expect(run.certificate).rejects.toMatchObject({
      code: 'too_few_shards',
      kind: 'transient',
      message: `blob ${file.blobId} was confirmed by nodes of 58 of 100 shards, 67 are needed; missing: node-0, node-1, node-2, node-3. What was stored stays stored; it is tried again.`,
    });
  } finally {
    await localnet.startNode(...stopped);
  }
  const put = vi.spyOn(NodeClient.prototype, 'putSliver');
  try {
    const again = network.store(file, object, { signal: signal(), tailMs: 30_000 });
    expect((await again.certificate).shards).toBeGreaterThanOrEqual(67);
    expect(await again.tail()).toEqual({ shards: 100, missing: [] });
    const receivers = new Set(put.mock.calls.map(([node]) => node.index));
    expect(receivers).toEqual(new Set(stopped));
  } finally {
    put.mockRestore();
  }
});

test('a node that hangs and one that is slow delay neither the certificate nor the others', async () => {
  await localnet.misbehave(0, 'silent');
  await localnet.misbehave(1, 'slow=20000');
  try {
    const file = await encode(directory, bytesOf(5, 500_000));
    const object = { objectId: await register(network, file), deletable: true };
    const startMs = performance.now();
    const run = network.store(file, object, { signal: signal(), tailMs: 3_000 });
    expect((await run.certificate).shards).toBeGreaterThanOrEqual(67);
    expect(performance.now() - startMs).toBeLessThan(10_000);
    expect(await run.tail()).toEqual({ shards: 77, missing: ['node-0', 'node-1'] });
  } finally {
    await localnet.misbehave([0, 1]);
  }
});

test('metadata is sent to each node once, though nodes hear of the registration later', async () => {
  const put = vi.spyOn(NodeHttp.prototype, 'put');
  try {
    await publish(network, await encode(directory, bytesOf(4, 1_000)));
    const metadata = put.mock.calls.filter(([, { path }]) => path.endsWith('/metadata'));
    expect(metadata).toHaveLength(WEIGHTS.length);
  } finally {
    put.mockRestore();
  }
});

test('before a certificate nodes of a quorum and a few more are sent to, the others behind it', async () => {
  const put = vi.spyOn(NodeClient.prototype, 'putSliver');
  // On a busy machine some are late.
  const patient = vi.spyOn(FirstNodes.prototype, 'confirmed').mockReturnValue();
  const receivers = () => new Set(put.mock.calls.map(([node]) => node));
  try {
    const file = await encode(directory, bytesOf(6, 500_000));
    const object = { objectId: await register(network, file), deletable: true };
    const run = network.store(file, object, { signal: signal(), tailMs: 30_000 });
    await run.certificate;
    await new Promise(resolve => setTimeout(resolve, 300));
    const shards = [...receivers()].reduce((sum, node) => sum + node.shards.length, 0);
    expect(shards).toBeGreaterThanOrEqual(67);
    expect(shards).toBeLessThan(67 + 5 + Math.max(...WEIGHTS));
    expect(await run.tail()).toEqual({ shards: 100, missing: [] });
    expect(receivers().size).toBe(WEIGHTS.length);
  } finally {
    patient.mockRestore();
    put.mockRestore();
  }
});

test('limits of upload and download are kept', async () => {
  const bytes = bytesOf(3, 300_000);
  const file = await encode(directory, bytes);
  const objectId = await register(network, file);
  network.limits.upload.plan = parseRatePlan('1M');
  // On a busy machine time alone would not show that everything went by the limit.
  const taken = vi.spyOn(network.limits.upload, 'take');
  let bytesTotal = 0;
  let startMs = performance.now();
  const run = network.store(
    file,
    { objectId, deletable: true },
    {
      signal: signal(),
      tailMs: 60_000,
      onProgress: progress => {
        bytesTotal = progress.bytesTotal;
      },
    },
  );
  expect(await run.tail()).toEqual({ shards: 100, missing: [] });
  const counted = taken.mock.calls.reduce((sum, [amount]) => sum + amount, 0);
  expect(counted).toBeGreaterThan(bytesTotal);
  // The last sliver is owed when it is sent; a tenth of a second is for clocks.
  const atLeast = (amount: number) => ((amount - 20_000) / 2 ** 20) * 1000 - 100;
  expect(performance.now() - startMs).toBeGreaterThan(atLeast(bytesTotal));

  network.limits.download.plan = parseRatePlan('100K');
  startMs = performance.now();
  const read = network.readBlob(file.blobId, signal());
  expect(Buffer.compare(await read, bytes)).toBe(0);
  expect(performance.now() - startMs).toBeGreaterThan(10 * atLeast(300_000));
});
