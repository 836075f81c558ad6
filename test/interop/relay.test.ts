/**
 * Packs by way of an upload relay: the bytes are sent once and no sliver by us, tips are paid once
 * and within the limit, and whatever the relay does wrong ends in an upload to the nodes.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { parseRatePlan } from '../../src/base/rate.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import type { Tip } from '../../src/localnet/parameters.ts';
import { native } from '../../src/native.ts';
import { verifiedCertificate } from '../../src/walrus/certificate.ts';
import { NodeClient } from '../../src/walrus/nodes/client.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, registerRequest } from '../support/blobs.ts';
import { FlushVolume } from '../support/flush-volume.ts';
import { officialClient } from '../support/official.ts';
import { settingsOf } from '../support/settings.ts';

interface RelayAnswer {
  confirmation_certificate: {
    signers: number[];
    serialized_message: number[];
    signature: string;
  };
}

/** Stands in front of localnet's relay: counts what comes, and does with the answer what a test says. */
class RelayProxy {
  static readonly pass = async (pass: () => Promise<RelayAnswer>, response: ServerResponse) =>
    void response.end(JSON.stringify(await pass()));

  readonly #server: Server;
  /** Queries and body lengths of uploads. */
  readonly uploads: { readonly query: URLSearchParams; readonly bytes: number }[] = [];
  /** What the relay itself answered last. */
  answer: RelayAnswer | undefined;
  /** Where the relay failed though a test did not ask for it. */
  readonly failures: unknown[] = [];
  /** What becomes of an upload's answer. */
  act: (pass: () => Promise<RelayAnswer>, response: ServerResponse) => Promise<void> =
    RelayProxy.pass;

  private constructor(server: Server) {
    this.#server = server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  static async start(relayUrl: string): Promise<RelayProxy> {
    const server = createServer();
    const proxy = new RelayProxy(server);
    server.on('request', async (request, response) => {
      const url = `${relayUrl}${request.url}`;
      if (request.method === 'GET') return response.end(await (await fetch(url)).text());
      const body = Buffer.concat(await request.toArray());
      proxy.uploads.push({ query: new URL(url).searchParams, bytes: body.length });
      const pass = async () => {
        const answer = await fetch(url, { method: 'POST', body });
        if (!answer.ok) throw new Error(await answer.text());
        proxy.answer = (await answer.json()) as RelayAnswer;
        return proxy.answer;
      };
      await proxy.act(pass, response).catch((error: unknown) => {
        proxy.failures.push(error);
        response.destroy();
      });
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }
}

let directory: string;
let localnet: LocalnetHandle;
let relay: RelayProxy;
let wallet: Wallet;
/** What this process asks of nodes; the relay runs in another. */
const slivers = vi.spyOn(NodeClient.prototype, 'putSliver');
const confirmations = vi.spyOn(NodeClient.prototype, 'confirmation');
/** Blobs differ: nodes know each by one registration only. */
let seed = 100;
const open: { close(): Promise<void> }[] = [];
const sui = () => new SuiGrpcClient({ network: 'localnet', baseUrl: localnet.rpcUrl });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-relay-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: 100 });
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(async () => {
  relay = await RelayProxy.start(localnet.relayUrl);
  wallet = Wallet.generate();
  await localnet.faucet(wallet.address);
  slivers.mockClear();
  confirmations.mockClear();
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
  await relay.close();
  await localnet.setTip('none');
  expect(relay.failures).toEqual([]);
});

const connect = (relayUrl = relay.url, ...limit: (string | undefined)[]) => {
  const relayTipMaxMist = limit.length === 0 ? '1000000' : limit[0];
  const settings = { ...settingsOf(localnet), relayUrl, relayTipMaxMist };
  const network = new RealNetwork(settings, wallet);
  open.push(network);
  return network;
};

const openVolume = async (network: RealNetwork, root = mkdtempSync(join(directory, 'volume-'))) => {
  const volume = await FlushVolume.open(root, undefined, network);
  open.push(volume);
  return volume;
};

const suiOf = async (owner: string) =>
  BigInt((await sui().core.getBalance({ owner })).balance.balance);

/** What relays get: localnet's one takes its tips at this address. */
const tips = () => suiOf(localnet.packageConfig.stakingPoolId);

interface LedgerBlob {
  readonly owner: string;
  readonly blobId: string;
  readonly certifiedEpoch: number | null;
}

const myBlobs = async (): Promise<LedgerBlob[]> => {
  const answer = await fetch(`${localnet.rpcUrl}/localnet/blobs`);
  const { blobs } = (await answer.json()) as { blobs: LedgerBlob[] };
  return blobs.filter(({ owner }) => owner === wallet.address);
};

/** The wallet's one blob is certified, and the official SDK reads these bytes of it from the nodes. */
const expectStored = async (bytes: Buffer): Promise<void> => {
  const blobs = await myBlobs();
  expect(blobs).toHaveLength(1);
  expect(blobs[0]!.certifiedEpoch).not.toBeNull();
  const read = await officialClient(localnet).readBlob({ blobId: blobs[0]!.blobId });
  expect(Buffer.compare(read, bytes)).toBe(0);
};

/** The one sealed pack of a volume. */
const packOf = (volume: FlushVolume): Buffer => {
  const cache = join(volume.root, 'cache');
  return readFileSync(join(cache, readdirSync(cache)[0]!));
};

const encodeWithBlob = async (bytes: Buffer) => {
  const file = await encode(directory, bytes);
  return { ...file, blobPath: file.sliversPath.replace(/slivers$/, 'blob') };
};

/** Registers, stores and certifies `bytes`; answers what its owner says to have paid in SUI. */
const publish = async (network: RealNetwork, bytes: Buffer): Promise<bigint> => {
  const file = await encodeWithBlob(bytes);
  const { blobPath } = file;
  const registration = await network.signRegister({ ...registerRequest(file), blobPath });
  const registered = await network.submit(registration);
  const blobObjectId = registered.blobObjectId!;
  const run = network.store(
    file,
    { objectId: blobObjectId, deletable: true },
    { signal: AbortSignal.timeout(60_000), tailMs: 10_000, registration },
  );
  const certificate = await run.certificate;
  const certified = await network.submit(await network.signCertify({ blobObjectId, certificate }));
  expect(certified.ok).toBe(true);
  expect((await run.tail()).shards).toBeGreaterThanOrEqual(67);
  return registered.suiSpent + certified.suiSpent;
};

test.each<[string, Tip]>([
  ['no tip', 'none'],
  ['a constant tip', { const: 5_000 }],
  ['a tip by size', { base: 1_000, perEncodedKib: 2 }],
])('through the relay with %s a blob is sent once and no sliver', async (_, tip) => {
  await localnet.setTip(tip);
  const [tipsBefore, before] = [await tips(), await suiOf(wallet.address)];
  const bytes = bytesOf(++seed, 300_000);
  const spent = await publish(connect(), bytes);
  expect(slivers).not.toHaveBeenCalled();
  expect(confirmations).not.toHaveBeenCalled();
  expect(relay.uploads.map(upload => upload.bytes)).toEqual([bytes.length]);
  await expectStored(bytes);
  expect(before - (await suiOf(wallet.address))).toBe(spent);
  const encodedKib = Math.ceil(native.blobShape(bytes.length, 100).encodedBytes / 1024);
  const due = tip === 'none' ? 0 : 'const' in tip ? tip.const : 1_000 + 2 * encodedKib;
  expect((await tips()) - tipsBefore).toBe(BigInt(due));
});

test('a tip above the limit, or without a limit, is refused before any transaction', async () => {
  await localnet.setTip({ const: 5_000 });
  const before = await suiOf(wallet.address);
  for (const [max, text] of [
    ['4999', '4999'],
    [undefined, '0'],
  ] as const) {
    await expect(publish(connect(relay.url, max), bytesOf(2, 1_000))).rejects.toMatchObject({
      code: 'over_budget',
      kind: 'budget',
      message: expect.stringMatching(
        new RegExp(`tip of 5000 MIST.*limit of ${text} MIST.*raise relayTipMaxMist`),
      ),
    });
  }
  expect(await suiOf(wallet.address)).toBe(before);
  expect(await myBlobs()).toEqual([]);
  expect(relay.uploads).toEqual([]);
});

test('a certificate is taken only if the chain would take it', async () => {
  const network = connect();
  const bytes = bytesOf(3, 1_000);
  const { blobId } = await encodeWithBlob(bytes);
  await publish(network, bytes);
  const { signers, serialized_message, signature } = relay.answer!.confirmation_certificate;
  const committee = await network.committee();
  const message = Buffer.from(serialized_message);
  const [blob] = await network.blobsOf(wallet.address);
  const object = { objectId: blob!.objectId, deletable: true };
  const given = { signers, message, signature: Buffer.from(signature, 'base64url') };
  const check = (change: Partial<typeof given>, of: Partial<typeof object> = {}) =>
    verifiedCertificate(committee, blobId, { ...object, ...of }, { ...given, ...change });
  expect(check({}).shards).toBeGreaterThanOrEqual(67);
  const others = Buffer.from(message);
  others[10]! ^= 1;
  const forged = Buffer.from(given.signature);
  forged[20]! ^= 1;
  const wrong: [() => unknown, RegExp][] = [
    [() => check({ signature: forged }), /signature is false/],
    [() => check({ signature: Buffer.alloc(96) }), /signature is false/],
    [() => check({ signature: Buffer.alloc(0) }), /signature is false/],
    // Fewer than have signed: perhaps still a quorum, but not the signature's.
    [() => check({ signers: signers.slice(1) }), /signature is false|no quorum/],
    [() => check({ signers: signers.slice(0, 3) }), /no quorum/],
    [() => check({ signers: [] }), /no quorum/],
    [() => check({ signers: [...signers, signers[0]!] }), /not all signers/],
    [() => check({ signers: [...signers, 13] }), /not all signers/],
    [() => check({ message: others }), /something else/],
    [() => check({}, { deletable: false }), /something else/],
    [() => check({}, { objectId: `0x${'7'.repeat(64)}` }), /something else/],
  ];
  for (const [attempt, text] of wrong) expect(attempt).toThrow(text);
});

const falsified: RelayProxy['act'] = async (pass, response) => {
  const { confirmation_certificate: given } = await pass();
  const signature = given.signature.replace(/^.{8}/, 'AAAAAAAA');
  response.end(JSON.stringify({ confirmation_certificate: { ...given, signature } }));
};

test.each<[string, RelayProxy['act']]>([
  ['is a false certificate', falsified],
  ['is no certificate', async (_, response) => void response.end('{}')],
  ['is a refusal', async (_, response) => void response.writeHead(402).end('no tip')],
  ['never comes', async (_, response) => void response.destroy()],
])('an answer that %s: the nodes confirm to us, nothing is paid twice', async (_, act) => {
  await localnet.setTip({ const: 5_000 });
  const before = await tips();
  relay.act = act;
  const bytes = bytesOf(++seed, 1_000);
  const network = connect();
  await publish(network, bytes);
  expect(relay.uploads).toHaveLength(1);
  expect(confirmations).toHaveBeenCalled();
  await expectStored(bytes);
  // It is left alone for a while: the next blob does not go there, and pays no tip.
  await publish(network, bytesOf(++seed, 1_000));
  expect(relay.uploads).toHaveLength(1);
  expect((await tips()) - before).toBe(5_000n);
});

test('a relay that is away from the start: the nodes are written to, no tip is paid', async () => {
  await localnet.setTip({ const: 5_000 });
  const before = await tips();
  const gone = await RelayProxy.start(localnet.relayUrl);
  const { url } = gone;
  await gone.close();
  const bytes = bytesOf(4, 1_000);
  await publish(connect(url), bytes);
  expect(slivers).toHaveBeenCalled();
  await expectStored(bytes);
  expect(await tips()).toBe(before);
});

/** A flush that ends while the relay has the bytes and has not answered. */
const interrupted = async (): Promise<string> => {
  const arrived = Promise.withResolvers<void>();
  relay.act = async () => arrived.resolve();
  const network = connect();
  const volume = await FlushVolume.open(
    mkdtempSync(join(directory, 'volume-')),
    undefined,
    network,
  );
  volume.write('file', 0, bytesOf(5, 100_000));
  const flush = volume.sync();
  flush.catch(() => {});
  await arrived.promise;
  await volume.close();
  await expect(flush).rejects.toMatchObject({ code: 'aborted' });
  relay.act = RelayProxy.pass;
  return volume.root;
};

test('an end between registration and answer: the same transaction and nonce, paid once', async () => {
  await localnet.setTip({ const: 5_000 });
  const before = await tips();
  const root = await interrupted();
  const volume = await openVolume(connect(), root);
  await volume.flusher.resume({ signal: AbortSignal.timeout(60_000) });
  await volume.flusher.settled();
  const [first, second, ...more] = relay.uploads;
  expect(more).toEqual([]);
  expect(second).toEqual(first);
  expect(first!.query.get('nonce')).toMatch(/^[\w-]{43}$/);
  expect(slivers).not.toHaveBeenCalled();
  const pack = packOf(volume);
  expect(first!.bytes).toBe(pack.length);
  // Slivers were read back before the sealed file was given up, as ever.
  expect(readdirSync(join(volume.root, 'outbox'))).toEqual([]);
  await expectStored(pack);
  expect((await tips()) - before).toBe(5_000n);
});

test('a journal that knows of no relay is finished on the nodes', async () => {
  const root = await interrupted();
  const journal = join(root, 'journal');
  const name = readdirSync(journal).find(one => /^[0-9a-f]+\.jsonl$/.test(one))!;
  const lines = readFileSync(join(journal, name), 'utf8');
  const old = lines.replace(/,"relay":\{[^}]*\}/, '');
  expect(old).not.toBe(lines);
  writeFileSync(join(journal, name), old);
  const volume = await openVolume(connect(), root);
  await volume.flusher.resume({ signal: AbortSignal.timeout(60_000) });
  expect(relay.uploads).toHaveLength(1);
  expect(slivers).toHaveBeenCalled();
  await expectStored(packOf(volume));
});

test('the limit of uploads is kept', async () => {
  const network = connect();
  const file = await encodeWithBlob(bytesOf(6, 600_000));
  const { blobPath } = file;
  const registration = await network.signRegister({ ...registerRequest(file), blobPath });
  const { blobObjectId } = await network.submit(registration);
  network.limits.upload.plan = parseRatePlan('500K');
  const startMs = performance.now();
  const { certificate } = network.store(
    file,
    { objectId: blobObjectId!, deletable: true },
    { signal: AbortSignal.timeout(60_000), tailMs: 1, registration },
  );
  expect((await certificate).shards).toBeGreaterThanOrEqual(67);
  expect(relay.uploads).toHaveLength(1);
  expect(slivers).not.toHaveBeenCalled();
  // The first and the last chunk of 64 KiB do not wait for what they owe; a tenth is for clocks.
  expect(performance.now() - startMs).toBeGreaterThan(
    ((600_000 - 131_072) / 512_000) * 1_000 - 100,
  );
});
