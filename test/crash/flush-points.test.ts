/**
 * The daemon dies at each step of a flush, and of a renewal, once. Mounted again it has every file,
 * the flush completes, and ledger and books agree that each pack was registered and paid once.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusReport } from '../../src/daemon/report.ts';
import { startTicksOf } from '../../src/localnet/process.ts';
import { accountsOf, expectPaidOnce, expectSaltsDiffer } from '../support/accounts.ts';
import { FLUSH_POINTS, RENEWAL_POINTS } from '../support/flush-points.ts';
import { Sandbox, until } from '../support/sandbox.ts';

const checkIndexPath = fileURLToPath(new URL('../support/check-index.ts', import.meta.url));

/** What a flush pays ahead on localnet. */
const EPOCHS = 5;

let sandbox: Sandbox;
let start: StatusReport;
beforeAll(async () => {
  sandbox = new Sandbox('points');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
  const mountPoint = await sandbox.mount('drive');
  start = await accountsOf(sandbox, 'drive');
  // Each test finds packs that files use, whichever others ran before.
  await sandbox.sh('mkdir -p source/sub');
  await change(mountPoint, FLUSH_POINTS.length);
  await sandbox.sync('drive');
  await sandbox.tailsEnded('drive');
  await sandbox.umount(mountPoint);
});
afterAll(() => sandbox.close());

/** A file of its own for each point, one that each changes, one that is moved, one that goes. */
const change = (mountPoint: string, n: number): Promise<string> =>
  sandbox.sh(`
    head -c 150000 /dev/urandom > source/own${n}
    head -c 20000 /dev/urandom > source/common
    date +%N > source/gone${n}
    rm -f source/gone${n - 1}
    ! [ -e source/moved ] || mv source/moved source/sub/moved
    cp source/own${n} source/moved
    rsync -a --modify-window=-1 --delete source/ ${mountPoint}/`);

const expectSame = async (mountPoint: string): Promise<void> => {
  const { stdout, status } = await sandbox.run('diff', ['-r', 'source', mountPoint]);
  expect(stdout).toBe('');
  expect(status).toBe(0);
};

/** First epoch for which something is not paid; null while the daemon is just being started again. */
const paidUntil = async (): Promise<number | null> =>
  (await sandbox.status('drive').catch(() => undefined))?.paid.endEpoch ?? null;

/** Transactions of the volume's wallet so far. */
const transactions = async (): Promise<number> => {
  const { address } = start.wallet;
  const answer = await fetch(`${sandbox.rpcUrl}/localnet/transactions?sender=${address}`);
  return ((await answer.json()) as { transactions: unknown[] }).transactions.length;
};

describe('the daemon killed at one step of a flush', () => {
  it.each(FLUSH_POINTS)('%s', { timeout: 60_000 }, async point => {
    const n = FLUSH_POINTS.indexOf(point);
    const fired = sandbox.path('fired');
    rmSync(fired, { force: true });

    const planned = { TUSKFS_FAILPOINTS: `flush.${point}`, TUSKFS_FAILPOINT_FILE: fired };
    let mountPoint = await sandbox.mount('drive', [], planned);
    const pid = await sandbox.orphan('drive');
    await change(mountPoint, n);
    await sandbox.tuskfs(['sync', 'drive']);
    await until('the daemon has died', () => startTicksOf(pid) === undefined);
    expect(existsSync(fired) && readFileSync(fired, 'utf8')).toBe(`flush.${point}\n`);

    const checked = await sandbox.run(process.execPath, [checkIndexPath, sandbox.state('drive')]);
    expect(checked, checked.stderr).toMatchObject({ status: 0, stdout: '' });
    mountPoint = await sandbox.mount('drive');
    await expectSame(mountPoint);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.tailsEnded('drive');
    await expectPaidOnce(sandbox, 'drive', start);
    await sandbox.kill('drive');
  });

  it('at each step of a renewal, started again by its keeper each time', async () => {
    await sandbox.ok(['localnet', 'epoch', 'advance', '3']);
    const before = await transactions();
    const fired = sandbox.path('fired');
    rmSync(fired, { force: true });
    const planned = { TUSKFS_FAILPOINTS: `${RENEWAL_POINTS}`, TUSKFS_FAILPOINT_FILE: fired };
    await sandbox.mount('drive', [], planned);
    await until('all is renewed', async () => (await paidUntil()) === 4 + EPOCHS, 90_000);
    expect(readFileSync(fired, 'utf8')).toBe(RENEWAL_POINTS.map(point => `${point}\n`).join(''));
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', warnings: [] });
    await sandbox.tailsEnded('drive');
    await expectPaidOnce(sandbox, 'drive', start);
    // One extension of all packs; registration and certification of the checkpoint that says so.
    expect((await transactions()) - before).toBe(3);
    await sandbox.kill('drive');
  });

  it('the thread that talks to the network dies in the middle: the mount serves on, a new daemon goes on', async () => {
    const fired = sandbox.path('fired');
    rmSync(fired, { force: true });
    const planned = {
      TUSKFS_FAILPOINTS: 'flush.registered=uncaught',
      TUSKFS_FAILPOINT_FILE: fired,
    };
    const mountPoint = await sandbox.mount('drive', [], planned);
    await change(mountPoint, FLUSH_POINTS.length + 1);
    const { status, stderr } = await sandbox.tuskfs(['sync', 'drive']);
    expect(readFileSync(fired, 'utf8')).toBe('flush.registered\n');
    expect(status).toBe(1);
    expect(stderr).toMatch(/died: failpoint flush\.registered\. Files are safe on this machine/);
    await expectSame(mountPoint);
    await change(mountPoint, FLUSH_POINTS.length + 2);
    await until(
      'all is on the network',
      async () => {
        const { restarts, durability } = await sandbox.status('drive').catch(() => start);
        return restarts === 1 && durability.received.bytes + durability.local.bytes === 0;
      },
      90_000,
    );
    await expectSame(mountPoint);
    await sandbox.tailsEnded('drive');
    await expectPaidOnce(sandbox, 'drive', start);
    await sandbox.kill('drive');
  });

  it('in the end everything is read back from the network', async () => {
    await sandbox.ok(['cache', 'drop', 'drive']);
    await expectSame(await sandbox.mount('drive'));
    await expectSaltsDiffer(sandbox, await expectPaidOnce(sandbox, 'drive', start));
  });
});
