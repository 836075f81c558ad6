import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { WalrusClient } from '@mysten/walrus';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { officialBlobId } from '../support/official.ts';
import { Sandbox } from '../support/sandbox.ts';

/** Runs the comparison of scripts/compare-tree.ts in a child. */
const compare = async (sandbox: Sandbox, a: string, b: string): Promise<string> => {
  const ended = await sandbox.run(process.execPath, [
    new URL('../../scripts/compare-tree.ts', import.meta.url).pathname,
    a,
    b,
  ]);
  return ended.status === 0 ? '' : `${ended.stdout}${ended.stderr}` || 'differs';
};

/** Reads every pack that lies in the cache from the network by the official SDK, and compares the bytes. */
const judgePacks = async (sandbox: Sandbox, volume: string): Promise<number> => {
  const { rpcUrl, packageConfig } = await sandbox.localnet();
  const suiClient = new SuiGrpcClient({ network: 'localnet', baseUrl: rpcUrl });
  const walrus = new WalrusClient({ suiClient, packageConfig, storageNodeUrlScheme: 'http' });
  const cache = join(sandbox.state(volume), 'cache');
  const packs = readdirSync(cache).filter(name => name.endsWith('.pack'));
  for (const name of packs) {
    const pack = readFileSync(join(cache, name));
    const read = await walrus.readBlob({ blobId: officialBlobId(pack, 100) });
    expect(pack.equals(read), `${name} as the official SDK reads it`).toBe(true);
  }
  return packs.length;
};

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('job');
  await sandbox.startLocalnet();
});
afterAll(() => sandbox.close());

describe('the main job', () => {
  it('copies a tree in, loses every local copy and a third of the nodes, reads it all back', async () => {
    const source = sandbox.path('source');
    await sandbox.sh(`
      mkdir source source/odd && cp -a ${process.cwd()}/node_modules/zod source/zod
      head -c 20000000 /dev/urandom > source/odd/noise
      cp source/odd/noise source/odd/same-noise
      echo one > source/odd/a; ln source/odd/a source/odd/b; ln -s a source/odd/c; mkfifo source/odd/fifo
      setfattr -n user.note -v kept source/odd/a; chmod 4751 source/odd/b; truncate -s 30M source/odd/hole
      touch -d '1999-12-31 23:59:59.123456789' source/odd/noise`);
    const { recoveryKey, address } = await sandbox.create('job');
    expect(recoveryKey.length).toBeGreaterThan(50);
    expect(address).toMatch(/^0x[0-9a-f]{64}$/);

    let mountPoint = await sandbox.mount('job');
    await sandbox.sh(`cp -a source ${mountPoint}/copy`);
    const report = await sandbox.sync('job');
    expect(report).toMatchObject({ pending: '', pendingBytes: 0 });
    expect(report.checkpoint).toBeGreaterThan(0);
    expect(BigInt(report.wal)).toBeGreaterThan(0n);

    expect(await judgePacks(sandbox, 'job')).toBeGreaterThan(0);

    const again = await sandbox.sync('job');
    expect(again.checkpoint, 'nothing changed, so nothing is paid again').toBe(report.checkpoint);
    expect(again.wal).toBe(report.wal);

    const status = await sandbox.status('job');
    expect(status.durability.received.files + status.durability.local.files).toBe(0);
    expect(status.cost.wal).toBe(report.wal);
    // The same 20 MB twice and 30 MB of hole are stored once and not at all: 4.7 times 25 MB at most.
    expect(status.cost.encodedBytes).toBeLessThan(5.5 * 27_000_000);

    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'job']);
    // Log segments are filled with zeros ahead of use; an empty one has a header of 64 bytes.
    const left = await sandbox.sh(
      `cd ${sandbox.state('job')} && find log cache outbox scratch -type f -exec cat {} + | tr -d '\\000' | wc -c`,
    );
    expect(Number(left)).toBeLessThanOrEqual(64);

    await sandbox.ok(['localnet', 'node', 'stop', '0', '3', '7', '12']);
    mountPoint = await sandbox.mount('job');
    expect(await compare(sandbox, source, join(mountPoint, 'copy'))).toBe('');
    await sandbox.umount(mountPoint);
    mountPoint = await sandbox.mount('job');
    const { checkpoint, cost } = await sandbox.status('job');
    await sandbox.umount(mountPoint);
    expect([checkpoint, cost.wal], 'reading changes nothing, so nothing is paid').toEqual([
      report.checkpoint,
      report.wal,
    ]);
    await sandbox.ok(['localnet', 'node', 'start', '0', '3', '7', '12']);
  });

  it('seals what leaves: no file name or content is in any sliver on any node', async () => {
    const mountPoint = await sandbox.mount('job');
    const secret = 'a-name-nobody-else-has-5e1f';
    await sandbox.sh(`printf '${secret}\\n%.0s' {1..10000} > ${mountPoint}/${secret}.txt`);
    await sandbox.sync('job');
    await sandbox.umount(mountPoint);
    const found = await sandbox.run('grep', ['-rlaF', secret, sandbox.path('state', 'localnet')]);
    expect(found.stdout).toBe('');
    expect(found.status).toBe(1);
  });

  it('blob-id prints the official blob ID', async () => {
    const file = sandbox.path('source', 'odd', 'noise');
    const ours = JSON.parse(await sandbox.ok(['blob-id', file, '--shards', '100', '--json']));

    expect(ours.blobId).toBe(officialBlobId(readFileSync(file), 100));
  });
});
