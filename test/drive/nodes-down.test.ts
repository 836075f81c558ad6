import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandbox, until } from '../support/sandbox.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('nodes');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => sandbox.close());

const SOME = ['1', '4', '8', '11'];
// With these gone too, 4 nodes are left: fewer than the 34 of 100 shards that reading takes.
const MORE = ['0', '2', '5', '9', '12'];

describe('storage nodes that are gone', () => {
  it('any 4 of 13 stopped during the copy: sync still completes', async () => {
    const mountPoint = await sandbox.mount('drive');
    const copying = sandbox.sh(
      `mkdir ${mountPoint}/a; for i in $(seq 1 40); do head -c 500000 /dev/urandom > ${mountPoint}/a/$i; sleep 0.02; done`,
    );
    await sandbox.ok(['localnet', 'node', 'stop', ...SOME]);
    await copying;
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    const { nodes } = await sandbox.status('drive');
    expect(nodes.filter(node => node.state === 'silent')).toHaveLength(4);
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
  });

  it('more than the network survives: pending, no hang, no lost byte; completes by itself when nodes return', async () => {
    const mountPoint = await sandbox.mount('drive', ['--read-timeout', '3s']);
    await sandbox.ok(['localnet', 'node', 'stop', ...MORE]);
    await sandbox.sh(
      `head -c 2000000 /dev/urandom > source.bin; cp source.bin ${mountPoint}/staged`,
    );

    const start = performance.now();
    const ended = await sandbox.tuskfs(['sync', 'drive', '--timeout', '9s', '--json']);
    expect(ended.status).toBe(4);
    expect(performance.now() - start).toBeLessThan(15_000);
    const report = JSON.parse(ended.stdout);
    expect(report.pendingBytes).toBeGreaterThanOrEqual(2_000_000);
    expect(report.pending).toMatch(/shards/);

    // Staged bytes stay readable; uncached ones fail cleanly within their deadline. A file whose
    // slivers happen to lie on the nodes that are left reads on: the first that does not is it.
    await sandbox.sh(`cmp source.bin ${mountPoint}/staged`);
    const readStart = performance.now();
    const read = await sandbox.run('sh', [
      '-c',
      `for file in ${mountPoint}/a/*; do cat $file > /dev/null || exit 1; done`,
    ]);
    expect(read.stderr).toMatch(/Input\/output error/);
    expect(performance.now() - readStart).toBeLessThan(10_000);
    expect(sandbox.daemonLog('drive')).toMatch(/blob [\w-]{43}.*shards/);

    await sandbox.ok(['localnet', 'node', 'start', ...SOME, ...MORE]);
    await until(
      'everything is checkpointed without anyone doing anything',
      async () => {
        const { durability } = await sandbox.status('drive');
        return (
          durability.received.files + durability.local.files + durability.certified.files === 0
        );
      },
      90_000,
    );
    // What failed a moment ago fails for a second more (S-24).
    await sleep(1_000);
    await sandbox.sh(`cat ${mountPoint}/a/* > /dev/null`);
    await sandbox.umount(mountPoint);
  });

  it('all of them: files are appended to and read there (S-50), other partial overwrites are EIO (S-24)', async () => {
    const sizes = { small: 13, aligned: 8192, large: 3_000_001 };
    let mountPoint = await sandbox.mount('drive');
    await sandbox.sh(
      `mkdir tails; ${Object.entries(sizes)
        .map(([name, size]) => `head -c ${size} /dev/urandom > tails/${name}`)
        .join('; ')}; cp -a tails ${mountPoint}/`,
    );
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
    const all = Array.from({ length: 13 }, (_, i) => String(i));
    await sandbox.ok(['localnet', 'node', 'stop', ...all]);

    mountPoint = await sandbox.mount('drive', ['--read-timeout', '3s']);
    for (const [name, size] of Object.entries(sizes))
      await sandbox.sh(`
        for dir in tails ${mountPoint}/tails; do printf 'appended to ${name}' >> $dir/${name}; done
        tail -c +${size + 1} ${mountPoint}/tails/${name} | grep -Fx 'appended to ${name}'`);
    const start = performance.now();
    const overwrite = await sandbox.run('sh', [
      '-c',
      `printf inside | dd of=${mountPoint}/tails/large bs=1 seek=1000001 conv=notrunc`,
    ]);
    expect(overwrite.stderr).toMatch(/Input\/output error/);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(sandbox.daemonLog('drive')).toMatch(
      /"op":15,.*blob [\w-]{43}(.*shards| did not come within 3000 ms: the file is safe)/,
    );

    await sandbox.ok(['localnet', 'node', 'start', ...all]);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
    mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`diff -r tails ${mountPoint}/tails`);
    await sandbox.umount(mountPoint);
  });
});
