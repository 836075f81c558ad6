/**
 * Power failures of a whole drive: the volume's directory lies on a disk that forgets, reorders and
 * tears what was not synced, and the power fails while a flush runs. Mounted again, the tree is the tree
 * after some step, no older than the last fsync or checkpoint, and every byte of it can be read; in the end the
 * ledger shows that each pack was paid once. One seed is one history: `TUSK_SEED=N`; `TUSK_CUTS=N`
 * for more of them.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { accountsOf, expectPaidOnce } from '../support/accounts.ts';
import { ForgetfulDisk } from '../support/forgetful-disk.ts';
import { History } from '../support/history.ts';
import { Sandbox } from '../support/sandbox.ts';

const cuts = Number(process.env.TUSK_CUTS ?? 6);
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
/** Names that a flush changes on the disk, about: cuts fall anywhere in it. */
const FLUSH_NAMES = 120;

let sandbox: Sandbox;
let disk: ForgetfulDisk;
beforeAll(async () => {
  sandbox = new Sandbox('power-flush');
  await sandbox.startLocalnet();
  mkdirSync(sandbox.path('state', 'volumes'), { recursive: true });
  disk = await ForgetfulDisk.mount(sandbox.path('backing'), sandbox.path('state', 'volumes'));
  await sandbox.create('drive');
});
afterAll(async () => {
  await sandbox.kill('drive').catch(() => undefined);
  await disk.remove();
  await sandbox.close();
});

test(
  `${cuts} power cuts: what was local or checkpointed is whole, nothing is paid twice`,
  async () => {
    console.log(
      `TUSK_SEED=${seed} TUSK_CUTS=${cuts} vitest run --project crash test/crash/power-flush.test.ts`,
    );
    const random = seededRandom(seed);
    let mountPoint = await sandbox.mount('drive');
    const start = await accountsOf(sandbox, 'drive');
    const history = new History(random, mountPoint);
    const total = { lost: 0, bytes: 0, names: 0, checkpoints: 0, refused: 0 };
    const powerCut = async (): Promise<void> => {
      const { bytes, names } = await disk.powerCut(random.below(1e9));
      total.bytes += bytes;
      total.names += names;
    };
    // Where the disk has forgotten nothing, nothing was shown: it is cut a few times more then.
    const hasForgotten = () => Math.min(total.lost, total.bytes, total.names) > 0;
    for (let cut = 0; cut < cuts || (!hasForgotten() && cut < 4 * cuts); cut++) {
      const where = `TUSK_SEED=${seed}, cut ${cut}`;
      for (let left = 10 + random.below(30); left > 0; left--) await history.step();
      await disk.cutAfter(random.below(FLUSH_NAMES), random.below(10));
      let isOver = false;
      const synced = sandbox.tuskfs(['sync', 'drive']).finally(() => {
        isOver = true;
      });
      while (!disk.isCut && !isOver && (await history.step())) await sleep(20);
      if (disk.isCut) await sandbox.kill('drive');
      const { status, stderr } = await synced;
      if (status === 0) total.checkpoints++;
      else if (!disk.isCut) throw new Error(`${where}: ${stderr}`);
      await sandbox.kill('drive').catch(() => undefined);
      await powerCut();
      if (random.below(2) === 0) {
        // The power fails again while what was left is taken up.
        await disk.cutAfter(random.below(20), random.below(20));
        await sandbox.mount('drive').catch(() => total.refused++);
        await sandbox.kill('drive').catch(() => undefined);
        await powerCut();
      }
      mountPoint = await sandbox.mount('drive');
      total.lost += await history.recognise().catch(error => {
        throw new Error(where, { cause: error });
      });
    }
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.tailsEnded('drive');
    const packs = await expectPaidOnce(sandbox, 'drive', start);
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
    mountPoint = await sandbox.mount('drive');
    expect(await history.recognise(), 'read from the network').toBe(0);
    console.log(JSON.stringify({ ...total, packs: packs.length }));
    expect(Math.min(total.lost, total.bytes, total.names)).toBeGreaterThan(0);
  },
  60_000 * cuts + 60_000,
);

test('S-30: a disk that fails: the drive is read-only and says why, what was local stays', async () => {
  const mountPoint = sandbox.path('mnt-drive');
  await sandbox.sh(
    `mkdir ${mountPoint}/kept; echo hello > ${mountPoint}/kept/a; sync ${mountPoint}/kept/a`,
  );
  await disk.cutAfter(0, 0);
  const script = (text: string) => sandbox.run('bash', ['-c', text], { timeoutMs: 20_000 });
  const written = await script(`echo more > ${mountPoint}/kept/b; sync ${mountPoint}/kept/b`);
  expect(written).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('Input/output error'),
  });
  const refused = await script(`echo more > ${mountPoint}/kept/c`);
  expect(refused.stderr).toContain('Read-only file system');
  expect((await script(`cat ${mountPoint}/kept/a`)).stdout).toBe('hello\n');
  const fault = /^READ-ONLY: the local log in .* could not be made durable: EIO: .*check the disk/m;
  expect(await sandbox.ok(['status', 'drive'])).toMatch(fault);

  const ended = await sandbox.tuskfs(['umount', mountPoint]);
  expect(ended.status).toBe(4);
  expect(ended.stderr).toMatch(/what was synced before is safe/);
  expect(ended.stderr).not.toContain('They are safe');
  await disk.powerCut(seed);
  await sandbox.mount('drive');
  expect((await script(`cat ${mountPoint}/kept/a`)).stdout).toBe('hello\n');
}, 60_000);
