/**
 * Reading from real nodes by hand-made views of the chain: who is asked and how often, while the
 * epoch changes, while a node is slow or lies, and where nodes cannot be reached at all.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { BlobId, SliverType } from '../../src/base/ids.ts';
import { systemRandom } from '../../src/base/random.ts';
import { parseRatePlan, RateLimiter } from '../../src/base/rate.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { native } from '../../src/native.ts';
import type { Committee, EncodedFile, StorageNode } from '../../src/walrus/network.ts';
import { Aggregators } from '../../src/walrus/nodes/aggregator.ts';
import { NodeClient } from '../../src/walrus/nodes/client.ts';
import { Health } from '../../src/walrus/nodes/health.ts';
import { NodeHttp, type NodeRequest } from '../../src/walrus/nodes/http.ts';
import { nodeOfSliver, rotationOf } from '../../src/walrus/nodes/places.ts';
import { readPrimaries } from '../../src/walrus/nodes/read.ts';
import { MetadataCache } from '../../src/walrus/nodes/slivers.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish } from '../support/blobs.ts';
import { until } from '../support/sandbox.ts';
import { settingsOf } from '../support/settings.ts';
import { keptSlivers, overwriteSliver } from '../support/sliver-files.ts';

const SIZE = 2_000_000;
const bytes = bytesOf(5, SIZE);
const { primaryBytes } = native.blobShape(SIZE, 100);

let directory: string;
let localnet: LocalnetHandle;
let file: EncodedFile;
let committee: Committee;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-reading-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: 100 });
  const wallet = Wallet.generate();
  await localnet.faucet(wallet.address);
  const network = new RealNetwork(settingsOf(localnet), wallet);
  file = await encode(directory, bytes);
  await publish(network, file);
  committee = await network.committee();
  await network.close();
  await until('every node has heard of the certificate', async () => {
    const urls = committee.nodes.map(
      node => `http://${node.address}/v1/blobs/${file.blobId}/status`,
    );
    const answers = await Promise.all(urls.map(async url => (await fetch(url)).text()));
    return answers.every(text => /"initialCertifiedEpoch":\d/.test(text));
  });
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Remembers every request. */
class CountingHttp extends NodeHttp {
  readonly sent: { node: StorageNode; path: string }[] = [];
  override send(node: StorageNode, request: NodeRequest): Promise<Buffer> {
    this.sent.push({ node, path: request.path });
    return super.send(node, request);
  }
}

/** Never asks twice because an answer is late: a busy machine does not change who is asked. */
class Patient extends Health {
  override hedgeMs(): number {
    return 60_000;
  }
}

/** A reader of its own that takes `view` for what the chain says. */
const reader = (
  view: Committee,
  aggregatorUrls: string[] = [],
  health = new Health(systemClock),
  metadata = new MetadataCache(),
) => {
  const times = { clock: systemClock, random: systemRandom };
  const http = new CountingHttp('http');
  const limits = { upload: new RateLimiter(systemClock), download: new RateLimiter(systemClock) };
  const client = new NodeClient(http, health, limits, times);
  const aggregators = new Aggregators(aggregatorUrls, systemClock, limits.download);
  ends.push(
    () => http.close(),
    () => aggregators.close(),
  );
  const parts = { ...times, client, aggregators, committee: async () => view };
  /** Reads slivers and expects them to be right. */
  const read = async (indices: number[], verify = true, timeoutMs = 60_000): Promise<void> => {
    const wrong = new Set(indices);
    await readPrimaries(parts, metadata, file, indices, {
      verify,
      signal: AbortSignal.timeout(timeoutMs),
      onSliver: (index, data) => {
        const slice = bytes.subarray(index * primaryBytes, (index + 1) * primaryBytes);
        if (data.subarray(0, slice.length).equals(slice)) wrong.delete(index);
      },
    });
    expect([...wrong]).toEqual([]);
  };
  const slivers = () => http.sent.filter(({ path }) => path.endsWith('/primary'));
  /** Requests for slivers that went to nodes which do not hold them. */
  const astray = () =>
    slivers().filter(({ node, path }) => {
      const index = Number(/slivers\/(\d+)\//.exec(path)![1]);
      const rotation = rotationOf(file.blobId, 100);
      return nodeOfSliver(committee, rotation, 'primary', index).address !== node.address;
    });
  const sent = () => http.sent.length;
  const metadataOf = (blobId: BlobId) =>
    metadata.get(parts, view, blobId, AbortSignal.timeout(60_000));
  return { read, metadataOf, health, limits, sent, slivers, astray };
};

const ALL = Array.from({ length: 34 }, (_, i) => i);

/** As the chain would say it with every shard at another node. */
const displaced = (epoch: number, previous?: Committee): Committee => {
  const nodes = committee.nodes.map((node, i) => ({
    ...node,
    shards: committee.nodes[(i + 1) % committee.nodes.length]!.shards,
  }));
  const nodeOfShard: StorageNode[] = [];
  for (const node of nodes) for (const shard of node.shards) nodeOfShard[shard] = node;
  return { epoch, nShards: 100, nodes, nodeOfShard, ...(previous && { previous }) };
};

test('slivers of a range come in one request each', async () => {
  const { read, slivers } = reader(committee, [], new Patient(systemClock));
  await read([3, 4, 5], false);
  expect(slivers()).toHaveLength(3);
});

test('while the epoch changes, blobs certified before are read from the committee before', async () => {
  const before = reader(displaced(2, committee), [], new Patient(systemClock));
  await before.read(ALL);
  expect(before.slivers()).toHaveLength(34);
  // When it was certified is asked for once.
  const asked = before.sent();
  await before.read([3]);
  expect(before.sent()).toBe(asked + 1);
  expect(before.astray()).toEqual([]);
  // Certified in the epoch that begins: from the new owners, though there is a committee before.
  const view = { ...committee, epoch: 1, previous: displaced(0) };
  const since = reader(view, [], new Patient(systemClock));
  await since.read(ALL);
  expect(since.slivers()).toHaveLength(34);
  expect(since.astray()).toEqual([]);
});

test('a slow node is learnt, and then no longer waited for', async () => {
  const { read, health, slivers } = reader(committee);
  const slow = committee.nodes[4]!;
  await localnet.misbehave(slow.index, 'slow=20000');
  ends.push(() => localnet.misbehave(slow.index));
  for (let reads = 0; !health.isSilent(slow); reads++) {
    expect(reads).toBeLessThan(20);
    // Others are asked long before it answers.
    await read(ALL, false, 10_000);
  }
  const before = slivers().length;
  await read(ALL, false);
  expect(
    slivers()
      .slice(before)
      .filter(({ node }) => node === slow),
  ).toEqual([]);
});

test('a liar is named, left alone for a while, and asked again after that', async () => {
  let aheadMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const { read, health, slivers } = reader(committee, [], new Patient(clock));
  const liar = committee.nodes[4]!;
  const isAsked = async () => {
    const before = slivers().length;
    await read(ALL);
    return slivers()
      .slice(before)
      .some(({ node }) => node === liar);
  };
  await localnet.misbehave(liar.index, 'wrong-bytes');
  ends.push(() => localnet.misbehave(liar.index));
  expect(await isAsked()).toBe(true);
  expect(committee.nodes.filter(node => health.isLiar(node))).toEqual([liar]);
  expect(await isAsked()).toBe(false);
  await localnet.misbehave(liar.index);
  aheadMs = 11 * 60_000;
  expect(await isAsked()).toBe(true);
  expect(health.isLiar(liar)).toBe(false);
});

test('metadata that does not belong to the blob is not taken, and who sends it is named', async () => {
  const { metadataOf, health } = reader(committee, [], new Patient(systemClock));
  const [liar, ...others] = committee.nodes as [StorageNode, ...StorageNode[]];
  // Silent nodes are asked last: it is the first.
  for (const node of others) for (let i = 0; i < 2; i++) health.silent(node, 'said the test');
  await localnet.misbehave(liar.index, 'wrong-bytes');
  ends.push(() => localnet.misbehave(liar.index));
  const found = await metadataOf(file.blobId);
  expect(found.equals(file.metadata)).toBe(true);
  expect(committee.nodes.filter(node => health.isLiar(node))).toEqual([liar]);
});

/** The committee behind one line of `bytesPerMs`, which all answers share. */
const behindLine = async (bytesPerMs: number): Promise<Committee> => {
  const LOOK_MS = 20;
  const waiting: { response: ServerResponse; body: Buffer }[] = [];
  const timer = setInterval(() => {
    const share = Math.floor((bytesPerMs * LOOK_MS) / Math.max(1, waiting.length));
    for (const answer of waiting.splice(0)) {
      answer.response.write(answer.body.subarray(0, share));
      answer.body = answer.body.subarray(share);
      if (answer.body.length > 0) waiting.push(answer);
      else answer.response.end();
    }
  }, LOOK_MS);
  ends.push(() => clearInterval(timer));
  const nodes = await Promise.all(
    committee.nodes.map(async node => {
      const server = createServer(async (request, response) => {
        const answer = await fetch(`http://${node.address}${request.url}`);
        response.writeHead(answer.status);
        waiting.push({ response, body: Buffer.from(await answer.arrayBuffer()) });
      });
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      ends.push(
        () => server.closeAllConnections(),
        () => server.close(),
      );
      return { ...node, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
    }),
  );
  return {
    ...committee,
    nodes,
    nodeOfShard: committee.nodeOfShard.map(({ index }) => nodes[index]!),
  };
};

test('on a slow line all slivers are late, and nothing is asked for twice because of it', async () => {
  class Hasty extends Health {
    override hedgeMs(): number {
      return 1_000;
    }
  }
  const view = await behindLine(500);
  const { read, sent } = reader(view, [], new Hasty(systemClock));
  await read(ALL, false);
  expect(sent()).toBe(ALL.length);
});

test('what a slow line does not bring in time is called late, not lost', async () => {
  const view = await behindLine(50);
  const nodes = view.nodes.map((node, i) => (i === 0 ? { ...node, address: '127.0.0.1:1' } : node));
  const nodeOfShard = view.nodeOfShard.map(({ index }) => nodes[index]!);
  const { read } = reader({ ...view, nodes, nodeOfShard });
  await expect(read(ALL, false, 3_000)).rejects.toMatchObject({
    code: 'timeout',
    message: expect.stringMatching(/did not come in time: \d+ of 100 shards answer, 34 are needed/),
  });
});

test('nodes that cannot be reached: aggregators stand in, and the one that lies is left alone', async () => {
  const nodes = committee.nodes.map(node => ({ ...node, address: '127.0.0.1:1' }));
  const nodeOfShard = committee.nodeOfShard.map(({ index }) => nodes[index]!);
  let lies = 0;
  const liar = createServer((_, response) => {
    lies++;
    response.writeHead(206).end(Buffer.alloc(SIZE, 7));
  });
  await new Promise<void>(resolve => liar.listen(0, '127.0.0.1', resolve));
  ends.push(() => liar.close());
  const lying = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`;
  const { read } = reader({ ...committee, nodes, nodeOfShard }, [lying, localnet.aggregatorUrl]);
  await read([0, 1, 2, 9, 33]);
  await read(ALL);
  expect(lies).toBeGreaterThan(0);
  const asked = lies;
  await read([7]);
  expect(lies).toBe(asked);
});

test('of an aggregator only the ranges are asked for that the slivers take, within the limit of downloads', async () => {
  const nodes = committee.nodes.map(node => ({ ...node, address: '127.0.0.1:1' }));
  const nodeOfShard = committee.nodeOfShard.map(({ index }) => nodes[index]!);
  const ranges: unknown[] = [];
  const between = createServer(async ({ url, headers }, response) => {
    ranges.push(headers.range);
    const range = headers.range ?? '';
    const answer = await fetch(`${localnet.aggregatorUrl}${url}`, { headers: { range } });
    response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>(resolve => between.listen(0, '127.0.0.1', resolve));
  ends.push(() => between.close());
  const url = `http://127.0.0.1:${(between.address() as AddressInfo).port}`;
  const { read, limits } = reader({ ...committee, nodes, nodeOfShard }, [url]);
  limits.download.plan = parseRatePlan('200K');
  const startMs = performance.now();
  await read([0, 1, 2, 9, 33], false);
  // The last range is owed when it has come; a tenth of a second is for clocks.
  const paidMs = ((4 * primaryBytes) / 200 / 1024) * 1000;
  expect(performance.now() - startMs).toBeGreaterThan(paidMs - 100);
  // What was asked of nodes that cannot be reached has not come and is not paid for.
  expect(performance.now() - startMs).toBeLessThan(10_000);
  const range = (from: number, to: number) =>
    `bytes=${from * primaryBytes}-${Math.min(SIZE, to * primaryBytes) - 1}`;
  expect(ranges).toEqual([range(0, 3), range(9, 10), range(33, 34)]);
});

/** Alters slivers of some nodes; another time, and they are as before. */
const alter = (nodes: readonly StorageNode[], type: SliverType) => {
  for (const { index } of nodes) {
    const home = localnet.nodeDirectory(index);
    for (const [name, content] of keptSlivers(home, file.blobId)) {
      const [pair, kind] = name.split('.');
      // Primary slivers that hold bytes of the blob stay: only what others are made from is wrong.
      if (kind !== type || (type === 'primary' && Number(pair) < ALL.length)) continue;
      for (let at = 64; at < content.length - 64; at++) content[at]! ^= 0x55;
      overwriteSliver(home, file.blobId, name, content);
    }
  }
};

/** Stops a node, and lets others keep wrong slivers, until the test is over. */
const disturb = async (liars: readonly StorageNode[], type: SliverType) => {
  alter(liars, type);
  await localnet.stopNode(0);
  ends.push(async () => {
    alter(liars, type);
    await localnet.startNode(0);
  });
};

const ownerOf = (index: number): StorageNode =>
  nodeOfSliver(committee, rotationOf(file.blobId, 100), 'primary', index);

test('who sends wrong slivers to make others from is named, and they are made without', async () => {
  const owners = ALL.map(i => ownerOf(ALL.length + i)).filter(({ index }) => index !== 0);
  const liars = [...new Set(owners)].slice(0, 2);
  await disturb(liars, 'primary');
  const { read, health } = reader(committee);
  await read(ALL);
  const named = committee.nodes.filter(node => health.isLiar(node));
  expect(named.length).toBeGreaterThan(0);
  expect(liars).toEqual(expect.arrayContaining(named));
});

test('slivers that do not belong together are not given, and nobody is blamed', async () => {
  await disturb([], 'primary');
  const lost = ALL.find(index => ownerOf(index).index === 0)!;
  class Bent extends MetadataCache {
    override async get(...args: Parameters<MetadataCache['get']>): Promise<Buffer> {
      const metadata = Buffer.from(await super.get(...args));
      // Behind 11 bytes there are two hashes a pair, a byte before each.
      metadata[11 + 66 * lost + 1]! ^= 1;
      return metadata;
    }
  }
  const { read, health } = reader(committee, [], new Health(systemClock), new Bent());
  await expect(read(ALL)).rejects.toMatchObject({ code: 'unverified' });
  expect(committee.nodes.filter(node => health.isLiar(node))).toEqual([]);
});

test('who sends wrong symbols is named', async () => {
  const liars = [1, 2].map(i => committee.nodes[i]!);
  await disturb(liars, 'secondary');
  const { read, health } = reader(committee);
  for (const index of ALL) await read([index]);
  const named = committee.nodes.filter(node => health.isLiar(node));
  expect(named.length).toBeGreaterThan(0);
  expect(liars).toEqual(expect.arrayContaining(named));
});
