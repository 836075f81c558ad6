/**
 * Our own client against localnet, with the official SDK as judge: what we store it reads, what it
 * stores we read; nodes fail, lie and lag, prices move, answers get lost.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { native } from '../../src/native.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish, register, registerRequest } from '../support/blobs.ts';
import { officialClient } from '../support/official.ts';
import { settingsOf } from '../support/settings.ts';
import { keptSlivers, overwriteSliver } from '../support/sliver-files.ts';

let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
let network: RealNetwork;

const open = (of = wallet) => new RealNetwork(settingsOf(localnet), of);
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

const official = () => officialClient(localnet);

test.each([0, 1, 5000, 3_000_000])('the official SDK reads what we store, %i bytes', async size => {
  const bytes = bytesOf(size, size);
  const file = await encode(directory, bytes);
  const { objectId, tail } = await publish(network, file);
  expect(tail).toEqual({ shards: 100, missing: [] });
  const read = await official().readBlob({ blobId: file.blobId });
  expect(Buffer.compare(read, bytes)).toBe(0);
  expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
  const [blob] = await network.blobObjects([objectId]);
  expect(blob).toMatchObject({ blobId: file.blobId, size, deletable: true, certifiedEpoch: 1 });
  expect((await network.blobsOf(wallet.address)).map(one => one.objectId)).toContain(objectId);
});

test('we read what the official SDK stores, and single slivers of it', async () => {
  const signer = new Ed25519Keypair();
  await localnet.faucet(signer.toSuiAddress());
  const bytes = bytesOf(21, 1_000_000);
  const { blobId } = await official().writeBlob({
    blob: bytes,
    deletable: true,
    epochs: 2,
    signer,
  });
  expect(Buffer.compare(await network.readBlob(blobId, signal()), bytes)).toBe(0);
  const { primaryBytes } = native.blobShape(bytes.length, 100);
  const ref = { blobId, size: bytes.length, nShards: 100 };
  for (const verify of [false, true]) {
    const got = new Map<number, Buffer>();
    const onSliver = (index: number, data: Buffer) => void got.set(index, data);
    await network.readPrimaries(ref, [0, 7, 33], { verify, signal: signal(), onSliver });
    for (const index of [0, 7, 33]) {
      const slice = bytes.subarray(index * primaryBytes, (index + 1) * primaryBytes);
      expect(got.get(index)?.subarray(0, slice.length).equals(slice)).toBe(true);
    }
  }
});

/** Slivers of every node of a list that are there on disk, each with its bytes changed. */
const flip = (nodes: readonly number[], blobId: string) => {
  let flipped = 0;
  for (const index of nodes) {
    const home = localnet.nodeDirectory(index);
    for (const [name, bytes] of keptSlivers(home, blobId)) {
      bytes[Math.floor(bytes.length / 2)]! ^= 0xff;
      overwriteSliver(home, blobId, name, bytes);
      flipped++;
    }
  }
  return flipped;
};

test('4 of 13 nodes stopped, while storing and while reading', async () => {
  const bytes = bytesOf(31, 2_000_000);
  const whole = await encode(directory, bytesOf(32, 2_000_000));
  await publish(network, whole);
  await localnet.stopNode(0, 3, 6, 9);
  try {
    const file = await encode(directory, bytes);
    const startMs = performance.now();
    const { tail, certificate } = await publish(network, file);
    expect(tail.missing).toEqual(['node-0', 'node-3', 'node-6', 'node-9']);
    expect(certificate.shards).toBeGreaterThanOrEqual(67);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
    expect(Buffer.compare(await official().readBlob({ blobId: file.blobId }), bytes)).toBe(0);
    // One sliver at a time comes by symbols or primaries, whichever is cheaper.
    const fresh = open();
    const source = bytesOf(32, 2_000_000);
    const { primaryBytes } = native.blobShape(source.length, 100);
    for (let index = 0; index < 34; index++) {
      let data = Buffer.alloc(0);
      await fresh.readPrimaries(whole, [index], {
        verify: index % 2 === 0,
        signal: signal(),
        onSliver: (_, bytes) => void (data = bytes as typeof data),
      });
      const slice = source.subarray(index * primaryBytes, (index + 1) * primaryBytes);
      expect(data.subarray(0, slice.length).equals(slice)).toBe(true);
    }
    expect(fresh.health().filter(node => node.state === 'silent').length).toBeGreaterThan(0);
    // Symbols larger than any buffer of the nodes' answers came whole: nobody counts as a liar.
    expect(fresh.health().filter(node => node.state === 'liar')).toEqual([]);
    await fresh.close();
  } finally {
    await localnet.startNode(0, 3, 6, 9);
  }
});

test('wrong bytes on nodes of a third of the shards: the read is right, the nodes are named', async () => {
  const bytes = bytesOf(41, 1_500_000);
  const file = await encode(directory, bytes);
  await publish(network, file);
  const liars = [1, 2, 4, 5];
  const { nodes } = await network.committee();
  const shards = liars.reduce((sum, index) => sum + nodes[index]!.shards.length, 0);
  expect(shards).toBeLessThanOrEqual(33);
  expect(flip(liars, file.blobId)).toBeGreaterThan(2 * 28);
  const { primaryBytes } = native.blobShape(bytes.length, 100);
  const whole = Buffer.alloc(34 * primaryBytes);
  await network.readPrimaries(
    file,
    Array.from({ length: 34 }, (_, i) => i),
    {
      verify: true,
      signal: signal(),
      onSliver: (index, data) => void data.copy(whole, index * primaryBytes),
    },
  );
  expect(whole.subarray(0, bytes.length).equals(bytes)).toBe(true);
  const named = network.health().filter(node => node.state === 'liar');
  expect(named.length).toBeGreaterThan(0);
  expect(liars.map(index => `node-${index}`)).toEqual(
    expect.arrayContaining(named.map(node => node.name)),
  );
  const other = open();
  expect(Buffer.compare(await other.readBlob(file.blobId, signal()), bytes)).toBe(0);
  const check = await other.spotCheck(file, file.metadata, 200, signal());
  expect(check.held).toBe(200 - 2 * shards);
  expect(new Set(check.failed.map(one => one.node))).toEqual(
    new Set(liars.map(index => `node-${index}`)),
  );
  await other.close();
});

test('more shards gone than the network survives: an error within the deadline, then all is well', async () => {
  const bytes = bytesOf(51, 600_000);
  const file = await encode(directory, bytes);
  await publish(network, file);
  const stopped = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  await localnet.stopNode(...stopped);
  try {
    const startMs = performance.now();
    const read = network.readPrimaries(file, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], {
      verify: false,
      signal: AbortSignal.timeout(3_000),
      onSliver: () => {},
    });
    await expect(read).rejects.toMatchObject({
      code: 'too_few_shards',
      message: expect.stringContaining(file.blobId),
    });
    await expect(read).rejects.toThrow(/34 are needed.*node-0/);
    expect(performance.now() - startMs).toBeLessThan(4_000);

    const other = await encode(directory, bytesOf(52, 100_000));
    const objectId = await register(network, other);
    const object = { objectId, deletable: true };
    const run = network.store(other, object, { signal: signal(), tailMs: 1_000 });
    await expect(run.certificate).rejects.toMatchObject({ code: 'too_few_shards' });
    expect((await run.tail()).missing.length).toBe(10);
    await localnet.startNode(...stopped);
    const again = network.store(other, object, { signal: signal(), tailMs: 10_000 });
    expect((await again.certificate).shards).toBeGreaterThanOrEqual(67);
    expect(await again.tail()).toEqual({ shards: 100, missing: [] });
  } finally {
    await localnet.startNode(...stopped);
  }
  expect(Buffer.compare(await network.readBlob(file.blobId, signal()), bytes)).toBe(0);
});

test('cancelling ends an upload and a read at once', async () => {
  const file = await encode(directory, bytesOf(61, 400_000));
  const objectId = await register(network, file);
  const stop = new AbortController();
  const run = network.store(
    file,
    { objectId, deletable: true },
    { signal: stop.signal, tailMs: 1 },
  );
  stop.abort();
  await expect(run.certificate).rejects.toMatchObject({ code: 'aborted' });
  await run.tail();
  const read = network.readBlob(file.blobId, AbortSignal.abort());
  await expect(read).rejects.toMatchObject({ code: 'aborted' });
});

test('a price that moves between signing and sending: up to a tenth passes, a fall gives money back', async () => {
  const { storage, write } = (await localnet.status()).prices;
  const [oldStorage, oldWrite] = [BigInt(storage), BigInt(write)];
  const spend = async (seed: number, moveTo: (price: bigint) => bigint) => {
    const file = await encode(directory, bytesOf(seed, 50_000));
    const quote = await network.quote(file.size, 2);
    const before = await network.balance();
    const tx = await network.signRegister(registerRequest(file));
    await localnet.setPrice(moveTo(oldStorage), moveTo(oldWrite));
    try {
      const result = await network.submit(tx);
      const after = await network.balance();
      expect(before.wal - after.wal).toBe(result.walSpent);
      expect(before.sui - after.sui).toBe(result.suiSpent);
      return { result, quoted: quote.storage + quote.write };
    } finally {
      await localnet.setPrice(oldStorage, oldWrite);
    }
  };
  const same = await spend(71, price => price);
  expect(same.result.walSpent).toBe(same.quoted);
  const up = await spend(72, price => (price * 11n) / 10n);
  expect(up.result).toMatchObject({ ok: true });
  expect(up.result.walSpent).toBeGreaterThan(up.quoted);
  const down = await spend(73, price => price / 2n);
  expect(down.result.ok).toBe(true);
  expect(down.result.walSpent).toBeLessThan(down.quoted);
  const doubled = await spend(74, price => price * 2n);
  expect(doubled.result).toMatchObject({ ok: false, code: 'price_changed', walSpent: 0n });
});

test('limits and empty wallets are refused before anything is signed', async () => {
  const file = await encode(directory, bytesOf(81, 10_000));
  const request = registerRequest(file);
  await expect(network.signRegister({ ...request, walMax: 1n })).rejects.toMatchObject({
    code: 'over_budget',
  });
  const pauper = open(Wallet.generate());
  await expect(pauper.signRegister(request)).rejects.toMatchObject({ code: 'unfunded' });
  await expect(pauper.signRegister(request)).rejects.toThrow(pauper.address);
  const body = JSON.stringify({ address: pauper.address, sui: '1000000' });
  await fetch(`${localnet.rpcUrl}/localnet/faucet`, { method: 'POST', body });
  await expect(pauper.signRegister(request)).rejects.toThrow(
    /^the wallet 0x\w{64} holds 0.001 SUI, too little for the gas .* send SUI to that address/,
  );
  await pauper.close();
});

test('a wallet of very many small coins pays with those that a transaction can take', async () => {
  const owner = Wallet.generate();
  const give = async (wal: bigint, sui: bigint) => {
    const body = JSON.stringify({ address: owner.address, wal: `${wal}`, sui: `${sui}` });
    const url = `${localnet.rpcUrl}/localnet/faucet`;
    const { ok } = await fetch(url, { method: 'POST', body });
    expect(ok).toBe(true);
  };
  // All together hold more than what is offered to the simulation as gas, 200 of them less.
  for (let i = 0; i < 210; i++) await give(100_000_000n, 2_450_000n);
  const dusty = open(owner);
  const file = await encode(directory, bytesOf(82, 10_000));
  expect((await dusty.submit(await dusty.signRegister(registerRequest(file)))).ok).toBe(true);
  await dusty.close();
});

test('the same bytes sent twice, and by another process, are one transaction', async () => {
  const file = await encode(directory, bytesOf(91, 10_000));
  const before = await network.balance();
  const tx = await network.signRegister(registerRequest(file));
  const first = await network.submit(tx);
  const other = open();
  const again = await Promise.all([network.submit(tx), other.submit(tx)]);
  for (const result of again) expect(result).toEqual(first);
  const after = await network.balance();
  expect(before.wal - after.wal).toBe(first.walSpent);
  const mine = await network.blobsOf(wallet.address);
  expect(mine.filter(blob => blob.blobId === file.blobId)).toHaveLength(1);
  await other.close();
});

test('a transaction overtaken by another over the same coins can be built anew', async () => {
  const [one, two] = await Promise.all([
    encode(directory, bytesOf(101, 1_000)),
    encode(directory, bytesOf(102, 1_000)),
  ]);
  const other = open();
  const stale = await other.signRegister(registerRequest(one));
  await register(network, two);
  await expect(other.submit(stale)).rejects.toMatchObject({ code: 'tx_expired' });
  const again = await other.submit(await other.signRegister(registerRequest(one)));
  expect(again.ok).toBe(true);
  await other.close();
});

test('the head moves only from the head that the writer saw', async () => {
  const key = 'tuskfs-head';
  const put = async (seed: number, value: string, previous: string | undefined) =>
    publish(network, await encode(directory, bytesOf(seed, 1_000)), { key, value, previous });
  const first = await put(111, '1', undefined);
  const second = await put(112, '2', first.objectId);
  expect(await network.attributes(first.objectId)).toEqual({});
  expect(await network.attributes(second.objectId)).toEqual({ [key]: '2' });
  await expect(put(113, '2', first.objectId)).rejects.toMatchObject({ code: 'conflicting_head' });

  // Two writers sign over the same head: the slower one fails on chain.
  const file = await encode(directory, bytesOf(114, 1_000));
  const objectId = await register(network, file);
  const run = network.store(
    file,
    { objectId, deletable: true },
    { signal: signal(), tailMs: 1_000 },
  );
  const certificate = await run.certificate;
  await put(115, '3', second.objectId);
  const head = { key, value: '3', previous: second.objectId };
  const late = network.signCertify({ blobObjectId: objectId, certificate, head });
  await expect(late).rejects.toMatchObject({ code: 'conflicting_head' });
  await run.tail();
});

test('extending pays for epochs, deleting gives the blob up', async () => {
  const file = await encode(directory, bytesOf(121, 1_000));
  const { objectId } = await publish(network, file);
  const { endEpoch } = (await network.blobObjects([objectId]))[0]!;
  const request = { blobObjectIds: [objectId], endEpoch: endEpoch + 3, walMaxEach: 10n ** 15n };
  await expect(network.signExtend({ ...request, walMaxEach: 1n })).rejects.toMatchObject({
    code: 'over_budget',
  });
  const extend = await network.submit((await network.signExtend(request))!);
  expect(extend).toMatchObject({ ok: true });
  expect(extend.walSpent).toBeGreaterThan(0n);
  expect((await network.blobObjects([objectId]))[0]!.endEpoch).toBe(endEpoch + 3);
  expect(await network.signExtend(request)).toBeUndefined();
  const gone = await network.submit(await network.signDelete(objectId));
  expect(gone).toMatchObject({ ok: true });
  expect(await network.blobObjects([objectId])).toEqual([undefined]);
});

test('a wallet that cannot pay for all extensions pays for the first', async () => {
  const owner = Wallet.generate();
  const poor = open(owner);
  const files = [
    await encode(directory, bytesOf(122, 1_000)),
    await encode(directory, bytesOf(123, 1_000)),
  ];
  const { epochsAhead } = registerRequest(files[0]!);
  const { storage, write } = await network.quote(1_000, epochsAhead);
  const anEpoch = storage / BigInt(epochsAhead);
  const body = { address: owner.address, wal: `${2n * (storage + write) + 5n * anEpoch}` };
  await fetch(`${localnet.rpcUrl}/localnet/faucet`, { method: 'POST', body: JSON.stringify(body) });
  const blobObjectIds: string[] = [];
  for (const file of files) blobObjectIds.push((await publish(poor, file)).objectId);
  const ends = async () => (await poor.blobObjects(blobObjectIds)).map(blob => blob!.endEpoch);
  const [end] = await ends();
  const request = { blobObjectIds, endEpoch: end! + 3, walMaxEach: 10n ** 15n };
  expect(await poor.submit((await poor.signExtend(request))!)).toMatchObject({
    walSpent: 3n * anEpoch,
  });
  expect(await ends()).toEqual([end! + 3, end]);
  await expect(poor.signExtend(request)).rejects.toMatchObject({ code: 'unfunded' });
  await poor.close();
});

test('after an epoch change a new committee is read and blobs are certified in it', async () => {
  const before = await network.committee();
  const epoch = await localnet.advanceEpoch();
  expect(epoch).toBe(before.epoch + 1);
  const file = await encode(directory, bytesOf(131, 1_000));
  const objectId = await register(network, file);
  const object = { objectId, deletable: true };
  // The cached committee is of the last epoch: the upload notices and goes on in the new one.
  const run = network.store(file, object, { signal: signal(), tailMs: 1_000 });
  const certificate = await run.certificate;
  expect(certificate.epoch).toBe(epoch);
  const result = await network.submit(
    await network.signCertify({ blobObjectId: objectId, certificate }),
  );
  expect(result.ok).toBe(true);
  await run.tail();
});
