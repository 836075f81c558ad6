/** Several addresses of Sui, one of which fails; and a package that is upgraded under a client. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { BootTime, systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { Versioned } from '../../src/walrus/chain/layouts.ts';
import { SuiRpc } from '../../src/walrus/chain/rpc.ts';
import { Connections } from '../../src/walrus/connections.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish, registerRequest } from '../support/blobs.ts';
import { RpcProxy } from '../support/rpc-proxy.ts';
import { until } from '../support/sandbox.ts';
import { settingsOf } from '../support/settings.ts';

let directory: string;
let localnet: LocalnetHandle;
let first: RpcProxy;
let second: RpcProxy;
const wallet = Wallet.generate();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'G-rpc-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: 100 });
  await localnet.faucet(wallet.address);
  first = await RpcProxy.start(localnet.rpcUrl);
  second = await RpcProxy.start(localnet.rpcUrl);
});
afterAll(async () => {
  await Promise.all([first?.close(), second?.close()]);
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A client of both addresses, with a clock that the test moves on. */
const open = () => {
  let aheadMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  for (const proxy of [first, second]) proxy.calls.length = 0;
  const settings = { ...settingsOf(localnet), rpcUrls: [first.url, second.url] };
  const network = new RealNetwork(settings, wallet, { clock });
  return { network, moveOn: (ms: number) => (aheadMs += ms) };
};

test('one address fails: calls go to the next, stay there, and come back after a while', async () => {
  const { network, moveOn } = open();
  await network.balance();
  expect(second.calls).toEqual([]);
  first.passage = () => 'refuse';
  const { wal } = await network.balance();
  expect(wal).toBeGreaterThan(0n);
  first.passage = () => 'pass';
  first.calls.length = 0;
  await network.balance();
  await network.committee({ fresh: true });
  expect(first.calls).toEqual([]);
  moveOn(61_000);
  second.calls.length = 0;
  await network.balance();
  expect(second.calls).toEqual([]);
  await network.close();
});

test.each([401, 403, 404, 429, 501, 502])(
  'one address answers HTTP %i: calls go to the next, and nothing counts as refused by Sui',
  async status => {
    const { network } = open();
    first.passage = () => status;
    const { wal } = await network.balance();
    expect(wal).toBeGreaterThan(0n);
    second.passage = () => status;
    await expect(network.prices()).rejects.toMatchObject({
      code: 'network',
      message: expect.stringContaining(`HTTP status ${status}`),
    });
    for (const proxy of [first, second]) proxy.passage = () => 'pass';
    await network.close();
  },
);

test.each([8, 16])(
  'one address answers status %i of gRPC: calls go to the next, for it says nothing of the call',
  async grpc => {
    const { network } = open();
    first.passage = () => ({ grpc });
    const { wal } = await network.balance();
    expect(wal).toBeGreaterThan(0n);
    second.passage = () => ({ grpc });
    await expect(network.prices()).rejects.toMatchObject({
      code: 'network',
      message: expect.stringContaining('not now'),
    });
    for (const proxy of [first, second]) proxy.passage = () => 'pass';
    await network.close();
  },
);

test('a renewal asks Sui no more often for three packs than for one', async () => {
  const { network } = open();
  const blobObjectIds: string[] = [];
  for (const seed of [31, 32, 33]) {
    const file = await encode(directory, bytesOf(seed, 1_000));
    blobObjectIds.push((await publish(network, file)).objectId);
  }
  const { endEpoch } = (await network.blobObjects(blobObjectIds))[2]!;
  const asked = async (ids: readonly string[], end: number) => {
    first.calls.length = 0;
    const request = { blobObjectIds: ids, endEpoch: end, walMaxEach: 10n ** 15n };
    const result = await network.submit((await network.signExtend(request))!);
    expect(result).toMatchObject({ ok: true });
    return first.calls.filter(method => method === 'BatchGetObjects').length;
  };
  const one = await asked(blobObjectIds.slice(0, 1), endEpoch + 1);
  expect(await asked(blobObjectIds, endEpoch + 2)).toBe(one);
  expect((await network.blobObjects(blobObjectIds)).map(blob => blob!.endEpoch)).toEqual(
    blobObjectIds.map(() => endEpoch + 2),
  );
  await network.close();
});

test('both fail: the error names what was asked, and passes when one is back', async () => {
  const { network } = open();
  first.passage = () => 'refuse';
  second.passage = () => 'refuse';
  await expect(network.prices()).rejects.toMatchObject({ code: 'network', kind: 'transient' });
  second.passage = () => 'pass';
  expect((await network.prices()).epoch).toBe(1);
  first.passage = () => 'pass';
  await network.close();
});

test('the chain is out of reach: the committee that is known stays known, whoever asked for news', async () => {
  const { network } = open();
  const known = await network.committee();
  for (const proxy of [first, second]) proxy.passage = () => 'refuse';
  await expect(network.committee({ fresh: true })).rejects.toMatchObject({ code: 'network' });
  expect(await network.committee()).toBe(known);
  for (const proxy of [first, second]) proxy.passage = () => 'pass';
  await network.close();
});

test('who gives up waiting for the first committee does not end it for the others', async () => {
  const { network } = open();
  const answered = Promise.withResolvers<'pass'>();
  first.passage = () => answered.promise;
  const impatient = new AbortController();
  const one = network.committee({ signal: impatient.signal });
  const other = network.committee({ signal: new AbortController().signal });
  impatient.abort();
  await expect(one).rejects.toMatchObject({ code: 'aborted' });
  answered.resolve('pass');
  expect((await other).epoch).toBe(1);
  first.passage = () => 'pass';
  await network.close();
});

test('a network that is closed tries nothing again', async () => {
  const { network } = open();
  const answered = Promise.withResolvers<'pass'>();
  first.passage = () => answered.promise;
  const asked = network.committee();
  await until('it was asked', () => first.calls.length > 0);
  await Promise.all([network.close(), expect(asked).rejects.toMatchObject({ code: 'aborted' })]);
  await systemClock.sleep(300);
  expect(second.calls).toEqual([]);
  answered.resolve('pass');
  first.passage = () => 'pass';
});

test('the answer to a transaction is lost: the same bytes go to the next address, one is executed', async () => {
  const { network } = open();
  const file = await encode(directory, bytesOf(1, 10_000));
  const before = await network.balance();
  const tx = await network.signRegister(registerRequest(file));
  first.passage = method => (method === 'ExecuteTransaction' ? 'lose' : 'pass');
  second.calls.length = 0;
  const result = await network.submit(tx);
  first.passage = () => 'pass';
  expect(result).toMatchObject({ ok: true, digest: tx.digest });
  expect(second.calls.length).toBeGreaterThan(0);
  const after = await network.balance();
  expect(before.wal - after.wal).toBe(result.walSpent);
  const mine = await network.blobsOf(wallet.address);
  expect(mine.filter(blob => blob.blobId === file.blobId)).toHaveLength(1);
  await network.close();
});

test('a transaction never arrives at one address: it is sent to the next, same digest', async () => {
  const { network } = open();
  const file = await encode(directory, bytesOf(2, 10_000));
  const tx = await network.signRegister(registerRequest(file));
  first.passage = method => (method === 'ExecuteTransaction' ? 'refuse' : 'pass');
  second.calls.length = 0;
  const result = await network.submit(tx);
  first.passage = () => 'pass';
  expect(result).toMatchObject({ ok: true, digest: tx.digest });
  expect(second.calls).toContain('ExecuteTransaction');
  await network.close();
});

test('connections are kept, and made anew after the machine slept', async () => {
  const machine = { awakeMs: 5000, sleptMs: 0 };
  const time = new BootTime({
    awakeMs: () => machine.awakeMs,
    uptimeMs: () => machine.awakeMs + machine.sleptMs,
  });
  const parts = { clock: systemClock, random: systemRandom };
  const rpc = new SuiRpc('localnet', [first.url], parts, new Connections({ connections: 1 }, time));
  const before = first.connections;
  let calls = 0;
  for (const connections of [1, 1, 2, 2]) {
    await rpc.epoch();
    expect(first.connections - before).toBe(connections);
    machine.awakeMs += 1000;
    if (++calls === 2) machine.sleptMs = 60_000;
  }
  await rpc.close();
});

/** Ids of the package that types carry and of the one that is called. */
const packages = async (): Promise<{ original: Buffer; current: Buffer }> => {
  const { rpcUrl, packageConfig } = localnet;
  const rpc = new SuiRpc('localnet', [rpcUrl], { clock: systemClock, random: systemRandom });
  const [system] = await rpc.objects([packageConfig.systemObjectId], ['object_type', 'contents']);
  await rpc.close();
  const bytes = (id: string) => Buffer.from(id.slice(2).padStart(64, '0'), 'hex');
  return {
    original: bytes(system!.objectType!.split('::')[0]!),
    current: bytes(Versioned.parse(system!.contents!.value!).package_id),
  };
};

test('an upgraded package: what is built for the old one aborts by its version, then all is read anew', async () => {
  const { network } = open();
  const { original, current } = await packages();
  const file = await encode(directory, bytesOf(3, 10_000));
  // As long as the address shows the system object of before, transactions go to the old package.
  let shown = 0;
  first.alter = (method, answer) => {
    const at = method === 'BatchGetObjects' ? answer.indexOf(current) : -1;
    if (at < 0) return answer;
    shown++;
    return Buffer.concat([answer.subarray(0, at), original, answer.subarray(at + 32)]);
  };
  await expect(network.signRegister(registerRequest(file))).rejects.toMatchObject({
    code: 'stale_package',
    kind: 'transient',
  });
  expect(shown).toBeGreaterThan(1);
  // One stale answer is mended within the call.
  let left = 1;
  const stale = first.alter;
  first.alter = async (method, answer) => {
    const altered = left > 0 ? await stale(method, answer) : answer;
    if (altered !== answer) left--;
    return altered;
  };
  const tx = await network.signRegister(registerRequest(file));
  expect(left).toBe(0);
  first.alter = (_, answer) => answer;
  expect(await network.submit(tx)).toMatchObject({ ok: true });
  await network.close();
});

test('who only reads learns of a new committee: what is known is answered, and read anew behind it', async () => {
  const { network, moveOn } = open();
  const { epoch } = await network.committee();
  await localnet.advanceEpoch();
  expect((await network.committee()).epoch).toBe(epoch);
  first.calls.length = 0;
  expect((await network.committee()).epoch).toBe(epoch);
  expect(first.calls).toEqual([]);
  moveOn(61_000);
  expect((await network.committee()).epoch).toBe(epoch);
  await until('the new one', async () => (await network.committee()).epoch === epoch + 1);
  await network.close();
});

test('an address that hangs is given up within 20 s, and the reason is said', async () => {
  const { network } = open();
  const hanging = Promise.withResolvers<'refuse'>();
  for (const proxy of [first, second]) proxy.passage = () => hanging.promise;
  const start = performance.now();
  await expect(network.committee({ fresh: true })).rejects.toMatchObject({
    code: 'timeout',
    message: expect.stringMatching(/Sui did not answer .*http/),
  });
  expect(performance.now() - start).toBeLessThan(20_000);
  hanging.resolve('refuse');
  for (const proxy of [first, second]) proxy.passage = () => 'pass';
  await network.close();
});

test('of two reads of the committee the one of the newer epoch stays, though the other ends last', async () => {
  const { network } = open();
  const held = Promise.withResolvers<void>();
  let holds = true;
  first.alter = async (_, answer) => {
    if (holds) await held.promise;
    return answer;
  };
  const older = network.committee({ fresh: true });
  await vi.waitFor(() => expect(first.calls.length).toBeGreaterThan(1));
  await new Promise(resolve => setTimeout(resolve, 300));
  holds = false;
  const epoch = await localnet.advanceEpoch();
  const now = async () => (await network.committee({ fresh: true })).epoch;
  await vi.waitFor(async () => expect(await now()).toBe(epoch));
  held.resolve();
  await older;
  expect((await network.committee()).epoch).toBe(epoch);
  first.alter = (_, answer) => answer;
  await network.close();
});
