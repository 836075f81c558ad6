/** The localnet as processes: starting, stopping, dying and going on. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import {
  freePorts,
  localnetStatus,
  runLocalnet,
  stopLocalnet,
} from '../../src/localnet/control.ts';
import { startLocalnet } from '../../src/localnet/handle.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-localnet-'));
});
afterEach(async () => {
  await stopLocalnet(directory).catch(() => undefined);
  rmSync(directory, { recursive: true, force: true });
});

const healthy = (address: string, scheme = 'http') =>
  spawnSync('curl', ['-skf', '-m', '5', `${scheme}://${address}/v1/health`]).status === 0;

const failure = (work: Promise<unknown>): Promise<TuskError> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    error => error as TuskError,
  );

test('start is idempotent, refuses other fixed parameters, stop ends it, start goes on', async () => {
  const first = await startLocalnet({ directory, nodes: 4, shards: 10 });
  const again = await runLocalnet(directory, { nodes: 4 });
  expect(again).toMatchObject({ started: false, status: { pid: first.pid } });
  expect(await failure(runLocalnet(directory, { shards: 20 }))).toMatchObject({ code: 'usage' });
  await first.setPrice(7n, 9n);
  expect(await first.advanceEpoch(2)).toBe(3);
  await first.stopNode(2);
  await first.misbehave([1, 3], '503');
  expect(healthy(first.nodes[3]!.address)).toBe(false);
  await first.misbehave(3);
  await first.close();
  expect(await failure(localnetStatus(directory))).toMatchObject({ code: 'not_found' });
  expect(await failure(stopLocalnet(directory))).toMatchObject({ code: 'not_found' });

  const second = await startLocalnet({ directory });
  expect(second).toMatchObject({
    rpcUrl: first.rpcUrl,
    packageConfig: first.packageConfig,
    epoch: 3,
    prices: { storage: '7', write: '9' },
  });
  expect(second.nodes.map(node => node.state)).toEqual(['up', 'up', 'stopped', 'up']);
  expect(second.nodes.map(node => node.misbehaves)).toEqual([[], ['503'], [], []]);
  expect(second.nodes.map(node => healthy(node.address))).toEqual([true, false, false, true]);
  await second.startNode(2);
  expect(healthy(second.nodes[2]!.address)).toBe(true);
});

test.each([false, true])(
  'after SIGKILL it starts again (a process a node: %s)',
  async processes => {
    const first = await startLocalnet({ directory, nodes: 4, shards: 10, processes, tls: true });
    expect(first.nodes.every(node => healthy(node.address, 'https'))).toBe(true);
    process.kill(first.pid, 'SIGKILL');
    const second = await startLocalnet({ directory });
    expect(second.packageConfig).toEqual(first.packageConfig);
    expect(second.pid).not.toBe(first.pid);
    expect(second.nodes.every(node => healthy(node.address, 'https'))).toBe(true);
    const { cpuMs, nodes } = await second.status();
    const apart = nodes.reduce((sum, node) => sum + (node.cpuMs ?? 0), 0);
    expect(nodes.every(node => node.cpuMs !== null)).toBe(processes);
    expect(cpuMs).toBeGreaterThan(apart);
    const children = readFileSync(`/proc/${second.pid}/task/${second.pid}/children`, 'latin1');
    const processesOf = [second.pid, ...children.split(' ').filter(Boolean)];
    expect(processesOf).toHaveLength(processes ? 5 : 1);
    for (const pid of processesOf)
      expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toContain('--max-semi-space-size');
    await second.misbehave(1, 'refuses');
    expect(healthy(second.nodes[1]!.address, 'https')).toBe(false);
    await second.misbehave(1);
    expect(healthy(second.nodes[1]!.address, 'https')).toBe(true);
  },
);

test('1000 shards on 101 nodes start in less than 20 s', async () => {
  const startMs = performance.now();
  const { nodes } = await startLocalnet({ directory, nodes: 101, shards: 1000 });
  expect(performance.now() - startMs).toBeLessThan(20_000);
  expect(nodes).toHaveLength(101);
  expect(nodes.at(-1)!.shards.length).toBeGreaterThan(0);
  expect(healthy(nodes.at(-1)!.address)).toBe(true);
});

test('a port that is taken is named, and nothing is left behind', async () => {
  const port = await freePorts(6);
  const server = createServer();
  await new Promise<void>(resolve => server.listen(port + 2, '127.0.0.1', resolve));
  const error = await failure(runLocalnet(directory, { nodes: 4, shards: 10, port }));
  expect(error).toBeInstanceOf(TuskError);
  expect(error.code).toBe('busy');
  expect(error.message).toMatch(new RegExp(`port ${port + 2}.*node 1`));
  await new Promise(resolve => server.close(resolve));
  expect((await runLocalnet(directory, { nodes: 4, shards: 10, port }, true)).started).toBe(true);
});
