/** Parts of the network room that need no network: places, wire forms, certificates, retry, TLS keys. */
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bcs } from '@mysten/sui/bcs';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { verifyPersonalMessageSignature } from '@mysten/sui/verify';
import { blobIdToInt } from '@mysten/walrus';
import { bls12381_min_pk_verify_aggregate } from '@mysten/walrus-wasm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { native } from '../../src/native.ts';
import {
  Confirmations,
  confirmationMessage,
  epochOfConfirmation,
  faultsOf,
  quorumOf,
  signersBitmap,
} from '../../src/walrus/certificate.ts';
import { chooseCoins } from '../../src/walrus/chain/coins.ts';
import { quoteBlob, withMargin } from '../../src/walrus/chain/cost.ts';
import { Lane } from '../../src/walrus/chain/lane.ts';
import { Blob, StakingPool } from '../../src/walrus/chain/layouts.ts';
import type { Committee, StorageNode } from '../../src/walrus/network.ts';
import { ByteBudget } from '../../src/walrus/nodes/budget.ts';
import { FirstNodes } from '../../src/walrus/nodes/first-nodes.ts';
import { gather } from '../../src/walrus/nodes/gather.ts';
import { IncomingSliver } from '../../src/walrus/nodes/incoming.ts';
import {
  pairOfShard,
  pairOfSliver,
  rotationOf,
  wireSliver,
} from '../../src/walrus/nodes/places.ts';
import { compressP256 } from '../../src/walrus/nodes/tls.ts';
import { UploadBudget } from '../../src/walrus/nodes/upload-budget.ts';
import { WirePool } from '../../src/walrus/nodes/wire-pool.ts';
import { retry } from '../../src/walrus/retry.ts';
import { loadWallet, saveWallet, Wallet } from '../../src/walrus/wallet.ts';

/** A clock that only moves when somebody sleeps. */
const stepClock = () => {
  let now = 0;
  const slept: number[] = [];
  const clock: Clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    sleep: async (ms, signal) => {
      if (signal?.aborted) throw signal.reason;
      slept.push(ms);
      now += ms;
    },
  };
  return { clock, slept };
};

const SliverData = bcs.struct('SliverData', {
  symbols: bcs.struct('Symbols', { data: bcs.byteVector(), symbol_size: bcs.u16() }),
  index: bcs.u16(),
});

test('slivers on the wire are BCS SliverData', () => {
  fc.assert(
    fc.property(fc.nat(40_000), fc.nat(65_534), fc.nat(999), (length, symbolBytes, index) => {
      const { wire, data } = wireSliver(length, symbolBytes, index);
      data.fill(7);
      const official = SliverData.serialize(
        { symbols: { data: new Uint8Array(length).fill(7), symbol_size: symbolBytes }, index },
        { maxSize: 1 << 20 },
      ).toBytes();
      expect(Buffer.compare(wire, official)).toBe(0);
      const place = Buffer.alloc(length);
      const incoming = new IncomingSliver(place);
      expect(incoming.wireBytes).toBe(wire.length);
      incoming.put(wire.subarray(0, 1));
      expect(incoming.is(symbolBytes, index)).toBe(false);
      incoming.put(wire.subarray(1));
      expect(incoming.is(symbolBytes, index)).toBe(true);
      expect(incoming.is(symbolBytes, (index + 1) % 1000)).toBe(false);
      expect(place.equals(data)).toBe(true);
      // The last byte of the length says that there is another.
      const bent = Buffer.from(wire);
      bent[wire.length - length - 5]! |= 128;
      const other = new IncomingSliver(Buffer.alloc(length));
      other.put(bent);
      expect(other.is(symbolBytes, index)).toBe(false);
    }),
    { numRuns: 60 },
  );
});

test('pairs rotate over shards by the blob ID as a big-endian number', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 4, max: 1000 }),
      (id, n) => {
        const rotation = rotationOf(blobIdFromBytes(id), n);
        expect(BigInt(rotation)).toBe(BigInt(`0x${Buffer.from(id).toString('hex')}`) % BigInt(n));
        for (let shard = 0; shard < n; shard += 7) {
          const pair = pairOfShard(shard, rotation, n);
          expect((pair + rotation) % n).toBe(shard);
          expect(pairOfSliver('secondary', pairOfSliver('secondary', pair, n), n)).toBe(pair);
        }
      },
    ),
  );
});

const committeeOf = (weights: number[]) => {
  let shard = 0;
  const secrets: Buffer[] = [];
  const nodes = weights.map((weight, index): StorageNode => {
    const key = native.blsKey(Buffer.alloc(32, index + 1));
    secrets.push(key.secret);
    const nodeId = `0x${String(index).padStart(64, '0')}`;
    const shards = Array.from({ length: weight }, () => shard++);
    const name = `node-${index}`;
    return {
      index,
      nodeId,
      name,
      address: '',
      publicKey: key.public96,
      networkPublicKey: Buffer.alloc(0),
      shards,
    };
  });
  const nodeOfShard = nodes.flatMap(node => node.shards.map(() => node));
  const committee: Committee = { epoch: 5, nShards: shard, nodes, nodeOfShard };
  return { committee, secrets };
};

test('a certificate is made at a quorum of shards and verifies officially', () => {
  const { committee, secrets } = committeeOf([1, 60, 1, 5, 1, 1, 1, 1, 1, 27, 1]);
  const blobId = blobIdFromBytes(Buffer.alloc(32, 9));
  const object = { objectId: `0x${'ab'.repeat(32)}`, deletable: true };
  const gathered = new Confirmations(committee, blobId, object);
  const { message } = gathered;
  expect(message.length).toBe(72);
  expect(message.subarray(0, 7).toString('hex')).toBe('01000305000000');
  const sign = (index: number) => native.blsSign(secrets[index]!, message);
  const add = (index: number, signature = sign(index)) =>
    gathered.add(committee.nodes[index]!, signature);
  for (const index of [10, 1]) add(index);
  add(1);
  expect(gathered.shards).toBe(61);
  expect(gathered.isQuorum).toBe(false);
  // Another node's signature, and bytes that are none: both nodes are named and do not count.
  add(9, sign(3));
  add(0, Buffer.alloc(96, 1));
  expect(gathered.isQuorum).toBe(true);
  expect(() => gathered.certificate()).toThrow();
  expect(gathered.verify().map(({ index }) => index)).toEqual([9, 0]);
  expect([gathered.shards, gathered.isQuorum]).toEqual([61, false]);
  for (const index of [3, 8]) add(index);
  expect(gathered.verify()).toEqual([]);
  expect([gathered.shards, gathered.isQuorum, quorumOf(100), faultsOf(100)]).toEqual([
    67,
    true,
    67,
    33,
  ]);
  const certificate = gathered.certificate();
  expect(certificate.signersBitmap.toString('hex')).toBe('0a05');
  const keys = [1, 3, 8, 10].map(index => native.blsKey(Buffer.alloc(32, index + 1)).public48);
  expect(bls12381_min_pk_verify_aggregate(keys, message, certificate.signature)).toBe(true);
});

test('the epoch of a confirmation is read only from one about the same blob', () => {
  const id = blobIdFromBytes(Buffer.alloc(32, 1));
  const object = { objectId: '0x1', deletable: true };
  const expected = confirmationMessage(5, id, object);
  expect(epochOfConfirmation(expected, expected)).toBe(5);
  expect(epochOfConfirmation(confirmationMessage(6, id, object), expected)).toBe(6);
  const other = blobIdFromBytes(Buffer.alloc(32, 2));
  expect(epochOfConfirmation(confirmationMessage(6, other, object), expected)).toBeUndefined();
  const permanent = { ...object, deletable: false };
  expect(epochOfConfirmation(confirmationMessage(6, id, permanent), expected)).toBeUndefined();
});

test('bitmap and permanent message have the form of the contract', () => {
  expect(signersBitmap(13, [0, 7, 8, 12]).toString('hex')).toBe('8111');
  const id = blobIdFromBytes(Buffer.alloc(32, 1));
  const message = confirmationMessage(1, id, { objectId: '0x1', deletable: false });
  expect(message.toString('hex')).toBe(`01000301000000${'01'.repeat(32)}00`);
});

test('a Blob object is read as the official layout writes it', () => {
  const bytes = Buffer.alloc(32, 3);
  const id = `0x${'11'.repeat(32)}`;
  const official = bcs.struct('Blob', {
    id: bcs.Address,
    registered_epoch: bcs.u32(),
    blob_id: bcs.u256(),
    size: bcs.u64(),
    encoding_type: bcs.u8(),
    certified_epoch: bcs.option(bcs.u32()),
    storage: bcs.struct('Storage', {
      id: bcs.Address,
      start_epoch: bcs.u32(),
      end_epoch: bcs.u32(),
      storage_size: bcs.u64(),
    }),
    deletable: bcs.bool(),
  });
  const raw = official.serialize({
    id,
    registered_epoch: 1,
    blob_id: blobIdToInt(blobIdFromBytes(bytes)),
    size: 2n ** 40n,
    encoding_type: 1,
    certified_epoch: null,
    storage: { id, start_epoch: 1, end_epoch: 3, storage_size: 77 },
    deletable: true,
  });
  const parsed = Blob.parse(raw.toBytes());
  expect(blobIdFromBytes(parsed.blob_id)).toBe(blobIdFromBytes(bytes));
  expect(parsed).toMatchObject({ size: String(2n ** 40n), certified_epoch: null, deletable: true });
});

test('fields that an upgrade appends to a pool do not matter', () => {
  const id = `0x${'22'.repeat(32)}`;
  const pool = StakingPool.serialize({
    id,
    state: { Active: true },
    voting_params: { storage_price: 1, write_price: 2, node_capacity: 3 },
    node_info: {
      name: 'n',
      node_id: id,
      network_address: '127.0.0.1:1',
      public_key: [1],
      next_epoch_public_key: null,
      network_public_key: [2],
    },
  }).toBytes();
  const longer = Buffer.concat([pool, Buffer.alloc(50, 0xee)]);
  expect(StakingPool.parse(longer).node_info).toMatchObject({
    name: 'n',
    network_address: '127.0.0.1:1',
  });
});

test('retries follow the kind of the error, with growing waits, and are replayable', async () => {
  const policy = { tries: 5, baseMs: 100, maxMs: 400 };
  const run = async (kind: 'transient' | 'permanent', seed: number, details = {}) => {
    const { clock, slept } = stepClock();
    let tries = 0;
    const failing = retry(policy, { clock, random: seededRandom(seed) }, undefined, async () => {
      tries++;
      throw new TuskError('network', 'down', { kind, details });
    });
    await expect(failing).rejects.toThrow('down');
    return { tries, slept };
  };
  const first = await run('transient', 1);
  expect(first.tries).toBe(5);
  for (const [i, ms] of first.slept.entries()) {
    const full = Math.min(400, 100 * 2 ** i);
    expect(ms).toBeGreaterThanOrEqual(full / 2);
    expect(ms).toBeLessThanOrEqual(full);
  }
  expect(await run('transient', 1)).toEqual(first);
  expect((await run('transient', 2)).slept).not.toEqual(first.slept);
  expect((await run('permanent', 1)).tries).toBe(1);
  // What a node asks for is kept, within bounds.
  expect((await run('transient', 1, { retryAfterMs: 900 })).slept).toEqual([900, 900, 900, 900]);
  expect((await run('transient', 1, { retryAfterMs: 1e9 })).slept[0]).toBe(1_600);
});

test('a gathering asks only as many as it needs, replaces failures, hedges silence', async () => {
  const asked: number[] = [];
  let have = 0;
  const { clock } = stepClock();
  const ok = await gather({
    candidates: [0, 1, 2, 3, 4, 5],
    needed: () => 2 - have,
    hedgeMs: 10,
    clock: {
      ...clock,
      sleep: (ms, signal) =>
        new Promise((go, no) => {
          const timer = setTimeout(go, ms);
          signal?.addEventListener('abort', () => {
            clearTimeout(timer);
            no(signal.reason);
          });
        }),
    },
    signal: AbortSignal.timeout(5_000),
    ask: (candidate, abort) => {
      asked.push(candidate);
      if (candidate === 0) return Promise.reject(new Error('no'));
      if (candidate === 1)
        return new Promise((_, no) => abort.addEventListener('abort', () => no(abort.reason)));
      have++;
      return Promise.resolve();
    },
  });
  expect(ok).toBe(true);
  expect(asked.slice(0, 3)).toEqual([0, 1, 2]);
  expect(asked.length).toBeLessThanOrEqual(4);
});

test('the other nodes of an upload wait for those who go first, but not for who is late or fails', async () => {
  const nodes = Array.from({ length: 10 }, (_, index) => ({ index, shards: [index] }));
  const committee = { nShards: 10 } as Committee;
  const { signal } = new AbortController();
  const round = () => {
    let nowMs = 0;
    const clock = { monotonicMs: () => nowMs } as Clock;
    const first = new FirstNodes(committee, nodes as unknown as StorageNode[], clock);
    const gone: number[] = [];
    for (const node of nodes as unknown as StorageNode[])
      void first.turn(node, signal).then(() => gone.push(node.index));
    const after = async (ms: number) => {
      await new Promise(resolve => setTimeout(resolve, ms));
      return gone.length;
    };
    return { first, after, pass: (ms: number) => void (nowMs += ms) };
  };

  // A quorum of 7 and one more.
  const prompt = round();
  expect(await prompt.after(0)).toBe(8);
  prompt.pass(200);
  prompt.first.confirmed(6);
  prompt.first.confirmed(7);
  expect(await prompt.after(300)).toBe(8);
  prompt.first.letAllGo();
  expect(await prompt.after(0)).toBe(10);

  const late = round();
  late.first.confirmed(3);
  expect(await late.after(200)).toBe(8);
  late.pass(400);
  late.first.confirmed(4);
  expect(await late.after(150)).toBe(8);
  expect(await late.after(150)).toBe(10);

  const stop = new AbortController();
  const waits = round().first.turn(nodes[9] as unknown as StorageNode, stop.signal);
  stop.abort();
  await expect(waits).rejects.toMatchObject({ code: 'aborted' });
});

test('a budget of bytes is never passed and serves in order', async () => {
  const budget = new ByteBudget(100);
  const { signal } = new AbortController();
  let used = 0;
  let most = 0;
  const order: number[] = [];
  const sizes = [60, 60, 30, 150, 10];
  await Promise.all(
    sizes.map((bytes, i) =>
      budget.using(bytes, signal, async () => {
        order.push(i);
        used += bytes;
        most = Math.max(most, used);
        await new Promise(resolve => setTimeout(resolve, 5));
        used -= bytes;
      }),
    ),
  );
  expect(order).toEqual([0, 1, 2, 3, 4]);
  expect(most).toBe(150);
  const stop = new AbortController();
  const holding = budget.using(100, signal, () => new Promise(resolve => setTimeout(resolve, 30)));
  const waiting = budget.using(50, stop.signal, async () => {});
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  await holding;
  await budget.using(100, signal, async () => {});
});

test('an upload takes no more of a slow line than it brings in time, and more when it is quick again', async () => {
  let nowMs = 0;
  const budget = new UploadBudget(32 * 2 ** 20, { monotonicMs: () => nowMs } as Clock);
  const MIB = 2 ** 20;
  /** Asks for a hundred MiB one by one: how many are under way at once. Those end as said, the others are called off. */
  const wave = async (tookMs: number, isLate: boolean) => {
    let running = 0;
    let most = 0;
    const ended = Promise.withResolvers<void>();
    const stop = new AbortController();
    const work = async () => {
      most = Math.max(most, ++running);
      await ended.promise;
      running--;
      if (isLate) throw new TuskError('timeout', 'late');
    };
    const all = Array.from({ length: 100 }, () =>
      budget.using(MIB, stop.signal, () => budget.send(MIB, work)).catch(() => {}),
    );
    await new Promise(resolve => setImmediate(resolve));
    stop.abort();
    nowMs += tookMs;
    ended.resolve();
    await Promise.all(all);
    return most;
  };
  expect(await wave(25_000, true)).toBe(32);
  expect(await wave(25_000, true)).toBe(8);
  expect(await wave(12_000, false)).toBe(2);
  for (const granted of [2, 4, 8, 16, 32]) expect(await wave(100, false)).toBe(granted);
  const { signal } = new AbortController();
  // Beside answers that are quick, who is late is alone in it.
  const late = budget.using(MIB, signal, () =>
    budget.send(MIB, async () => {
      await budget.using(MIB, signal, () => budget.send(MIB, async () => void (nowMs += 10)));
      nowMs += 15_000;
      throw new TuskError('timeout', 'late');
    }),
  );
  await expect(late).rejects.toMatchObject({ code: 'timeout' });
  expect(await wave(100, false)).toBe(32);
});

test('the pool of wire buffers gives memory away again, never to two at a time', () => {
  const pool = new WirePool();
  const [first, second] = [pool.take(100_000), pool.take(100_000)];
  expect(first.length).toBe(100_000);
  expect(second.buffer).not.toBe(first.buffer);
  pool.give(first);
  const third = pool.take(110_000);
  expect(third.length).toBe(110_000);
  expect(third.buffer).toBe(first.buffer);
  pool.give(second);
  expect(pool.take(200_000).buffer).not.toBe(second.buffer);
  expect(pool.take(1).buffer).toBe(second.buffer);
  expect(pool.take(1).buffer).not.toBe(second.buffer);
});

test('the lane: one signed transaction at a time, closed while an outcome is unknown', async () => {
  const lane = new Lane();
  await lane.sign(undefined, async () => ({ digest: 'A' }));
  const second = lane.sign(undefined, async () => ({ digest: 'B' }));
  const lost = lane.send(
    'A',
    undefined,
    () => false,
    async () => {
      throw new TuskError('network', 'lost');
    },
  );
  await expect(lost).rejects.toThrow('lost');
  expect(await Promise.race([second, Promise.resolve('still waiting')])).toBe('still waiting');
  await lane.send(
    'A',
    undefined,
    () => false,
    async () => 'final',
  );
  expect(await second).toEqual({ digest: 'B' });
});

test('coins: largest first; too little names address, need and present', () => {
  const coin = (id: string, balance: bigint) => ({
    objectId: id,
    version: '1',
    digest: '',
    balance,
  });
  const coins = [coin('a', 5n), coin('b', 50n), coin('c', 0n), coin('d', 20n)];
  const ids = (amount: bigint) =>
    chooseCoins(coins, amount, '0xme', 'WAL').map(one => one.objectId);
  expect(ids(50n)).toEqual(['b']);
  expect(ids(71n)).toEqual(['b', 'd', 'a']);
  expect(() => ids(2_500_000_000n)).toThrow(/0xme holds 0.000000075 WAL and 2.5 WAL/);
  // A transaction takes 200 coins and no more.
  const dust = Array.from({ length: 250 }, (_, i) => coin(`${i}`, 1_000_000_000n));
  expect(chooseCoins(dust, 200_000_000_000n, '0xme', 'WAL')).toHaveLength(200);
  expect(() => chooseCoins(dust, 201_000_000_000n, '0xme', 'WAL')).toThrow(
    /the 200 largest WAL coins of the wallet 0xme hold 200 WAL and 201 WAL are needed/,
  );
});

test('cost and margin', () => {
  const prices = {
    storagePerUnitEpoch: 10n,
    writePerUnit: 3n,
    epoch: 1,
    epochMs: 1,
    epochStartMs: 0,
  };
  const quote = quoteBlob(1, 1000, 2, prices);
  // n·(64·n + 32) + (p + s)·symbol·n, in units of 1 MiB: 63 at 1000 shards.
  expect(quote).toEqual({
    encodedBytes: 1000 * 64_032 + (334 + 667) * 2 * 1000,
    storage: 1260n,
    write: 189n,
  });
  expect(withMargin(100n, 1000n)).toBe(110n);
  expect(withMargin(100n, 105n)).toBe(105n);
  expect(withMargin(1n, 1000n)).toBe(2n);
});

test('a P-256 key is the same in every form a pool may publish', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const point = der.subarray(der.length - 65);
  const compressed = compressP256(point)!;
  expect(compressP256(point.subarray(1))?.equals(compressed)).toBe(true);
  expect(compressP256(compressed)?.equals(compressed)).toBe(true);
  expect(compressP256(Buffer.alloc(10))).toBeUndefined();
  const openssl = execFileSync(
    'openssl',
    ['ec', '-pubin', '-inform', 'DER', '-conv_form', 'compressed', '-outform', 'DER'],
    { input: der, stdio: ['pipe', 'pipe', 'ignore'] },
  );
  expect(openssl.subarray(openssl.length - 33).equals(compressed)).toBe(true);
  expect(createPublicKey({ key: der, format: 'der', type: 'spki' }).asymmetricKeyType).toBe('ec');
});

test("a wallet is kept in Sui's own form, privately, and signs deterministically", async () => {
  const directory = mkdtempSync(join(tmpdir(), 'G-wallet-'));
  try {
    const path = join(directory, 'wallet');
    const wallet = Wallet.generate();
    saveWallet(path, wallet);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const again = loadWallet(path);
    expect(again.address).toBe(wallet.address);
    expect(Ed25519Keypair.fromSecretKey(wallet.toText()).toSuiAddress()).toBe(wallet.address);
    const message = Buffer.from('label and volume');
    const one = await wallet.signPersonal(message);
    expect(one.length).toBe(64);
    expect((await again.signPersonal(message)).equals(one)).toBe(true);
    const key = Ed25519Keypair.fromSecretKey(wallet.toText()).getPublicKey().toRawBytes();
    const serialized = Buffer.concat([Buffer.of(0), one, key]).toString('base64');
    const signer = await verifyPersonalMessageSignature(message, serialized);
    expect(signer.toSuiAddress()).toBe(wallet.address);
    expect(() => loadWallet(join(directory, 'none'))).toThrow(/cannot be read/);
    expect(() => Wallet.fromText('suiprivkey1nonsense')).toThrow(/no Ed25519 key/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
