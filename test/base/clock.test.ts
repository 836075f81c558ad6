/** Time that counts sleep: the machine's own figures, played. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test, vi } from 'vitest';
import { raceSignal, within } from '../../src/base/abort.ts';
import { after, BootTime, bootTime, clockOf } from '../../src/base/clock.ts';
import type { StorageNode } from '../../src/walrus/network.ts';
import { NodeHttp } from '../../src/walrus/nodes/http.ts';

/** A machine that can be put to sleep for a while. */
const machine = () => {
  const state = { sleptMs: 0, awakeMs: undefined as number | undefined };
  const awakeMs = () => state.awakeMs ?? performance.now();
  // The kernel's figure has hundredths of a second.
  const uptimeMs = () => Math.floor((awakeMs() + state.sleptMs + 5e6) / 10) * 10;
  return { state, time: new BootTime({ awakeMs, uptimeMs }) };
};

test('sleep is counted within a second awake, jitter of the figures is not, and time never goes back', () => {
  const { state, time } = machine();
  state.awakeMs = performance.now();
  const startMs = time.nowMs();
  for (let i = 1; i <= 50; i++) {
    state.awakeMs += 101;
    expect(time.nowMs() - startMs).toBeCloseTo(i * 101, 6);
  }
  state.sleptMs = 3_600_000;
  state.awakeMs += 1000;
  expect(Math.abs(time.nowMs() - startMs - 3_606_050)).toBeLessThan(20);
  expect(time.sleptMs).toBeGreaterThan(3_599_980);
});

test('the machine itself: its clock runs with the time since its start', () => {
  const before = bootTime.nowMs();
  expect(bootTime.nowMs()).toBeGreaterThanOrEqual(before);
  expect(bootTime.sleptMs).toBe(0);
});

test('a deadline of an hour passes in a sleep; one that is called off does not', async () => {
  const { state, time } = machine();
  const fired: string[] = [];
  const stop = after(3_600_000, () => fired.push('called off'), time);
  const passed = new Promise<void>(resolve => after(3_600_000, resolve, time));
  stop();
  state.sleptMs = 3_700_000;
  await passed;
  expect(fired).toEqual([]);
});

test('a wait of an hour is over soon after a sleep that was longer; one that is aborted ends at once', async () => {
  const { state, time } = machine();
  const clock = clockOf(time, 200);
  const start = performance.now();
  const waits = clock.sleep(3_600_000);
  await expect(clock.sleep(3_600_000, AbortSignal.timeout(10))).rejects.toThrow('timeout');
  state.sleptMs = 3_700_000;
  await waits;
  expect(performance.now() - start).toBeLessThan(30_000);
});

test('a deadline for work, and the time that a node has to answer, pass in a sleep', async () => {
  const server = createServer(() => {});
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const node = { name: 'node', address, networkPublicKey: Buffer.alloc(33) };
  const { state, time } = machine();
  const look = vi.spyOn(bootTime, 'nowMs').mockImplementation(() => time.nowMs());
  const http = new NodeHttp('http', time);
  const { signal } = new AbortController();
  const limits = { timeoutMs: 3_600_000, signal };
  const start = performance.now();
  const answer = http.json(node as unknown as StorageNode, { method: 'GET', path: '/', ...limits });
  const work = within(signal, 3_600_000, limit => raceSignal(new Promise(() => {}), limit));
  state.sleptMs = 3_700_000;
  const late = { status: 'rejected', reason: { code: 'timeout' } };
  expect(await Promise.allSettled([work, answer])).toMatchObject([late, late]);
  expect(performance.now() - start).toBeLessThan(30_000);
  look.mockRestore();
  await http.close();
  server.close();
});

test('connections to nodes are made anew after a sleep, and what waits on old ones fails as transient', async () => {
  /** Sockets that requests came on. */
  const seen = new Set<unknown>();
  const hangs: (() => void)[] = [];
  const server = createServer((request, response) => {
    seen.add(request.socket);
    if (request.url === '/hang') hangs.push(() => response.destroy());
    else response.end(JSON.stringify({ success: { data: 'yes' } }));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const node = {
    ...{ name: 'node', address: `127.0.0.1:${port}`, networkPublicKey: Buffer.alloc(33) },
  } as unknown as StorageNode;
  const { state, time } = machine();
  state.awakeMs = performance.now();
  const http = new NodeHttp('http', time);
  const get = (path: string) =>
    http.json(node, {
      ...{ method: 'GET', path, timeoutMs: 20_000, signal: new AbortController().signal },
    });
  try {
    expect(await get('/a')).toBe('yes');
    const waiting = get('/hang').catch(error => error);
    await expect.poll(() => hangs.length).toBe(1);
    state.sleptMs += 60_000;
    state.awakeMs += 1000;
    const before = seen.size;
    expect([await get('/b'), seen.size]).toEqual(['yes', before + 1]);
    expect(await waiting).toMatchObject({ code: 'network', kind: 'transient' });
  } finally {
    for (const end of hangs) end();
    await http.close();
    server.close();
  }
});
