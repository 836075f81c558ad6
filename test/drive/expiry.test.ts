/** The time that was paid for is over: what is written from then on is as safe as ever. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { otherMachine } from '../support/restore.ts';
import { Sandbox, until } from '../support/sandbox.ts';

const box = new Sandbox('expiry');
const machines = [box];
let mountPoint: string;

beforeAll(async () => {
  await box.startLocalnet();
  await box.ok(['create', 'main', '--network', 'localnet', '--epochs', '2']);
  mountPoint = await box.mount('main', ['--read-timeout', '5s']);
  await box.sh(`
    for name in again changed gone; do head -c 3000000 /dev/urandom > $name; done
    cp again changed gone ${mountPoint}
    mkdir ${mountPoint}/many; for i in {1..3000}; do echo $i > ${mountPoint}/many/$i; done`);
  await evict();
});
afterAll(() => Promise.all(machines.map(machine => machine.close())));

/** Checkpoints everything and throws away every local copy. */
const evict = async (): Promise<void> => {
  expect(await box.sync('main')).toMatchObject({ pending: '' });
  await box.tailsEnded('main');
  await box.ok(['cache', 'drop', 'main']);
  await box.sh('echo 1 > /proc/sys/vm/drop_caches');
};

test('until when the drive is paid is said in time, and when it is over', async () => {
  const status = async () => {
    const { status: code, stdout, stderr } = await box.tuskfs(['status', 'main']);
    return { code, text: stdout + stderr };
  };
  expect(await status()).toMatchObject({
    code: 0,
    text: expect.stringMatching(/\npaid: until the end of epoch 2, 2 epochs left; 3003 files/),
  });
  await box.ok(['localnet', 'epoch', 'advance', '1']);
  await until(
    'the chain has been asked anew',
    async () => {
      const { code, text } = await status();
      return code === 8 && /\nWARNING: paid time runs out: 3003 files .*the running one/.test(text);
    },
    60_000,
  );
  const before = await box.balance('main');
  expect(await box.sync('main')).toMatchObject({ pending: '', warnings: [] });
  expect((await box.status('main')).paid).toMatchObject({ endEpoch: 4, ending: { files: 3003 } });
  const { wal, cost } = await box.balance('main');
  expect(before.wal - wal).toBe(BigInt(cost.wal) - BigInt(before.cost.wal));
  await box.ok(['localnet', 'epoch', 'advance', '2']);
  await box.umount(mountPoint);
  const mounted = await box.tuskfs(['mount', 'main', mountPoint, '--read-timeout', '5s']);
  expect(mounted).toMatchObject({
    status: 0,
    stderr: expect.stringMatching(/EXPIRED: 3003 files/),
  });
  expect(box.daemonLog('main')).toMatch(/EXPIRED: 3003 files/);
  const { paid } = await box.status('main');
  expect(paid).toMatchObject({ expired: { files: 3003 }, warnings: [expect.any(String)] });
});

test('a file that cannot be read because its time is over says so', async () => {
  await until('the nodes have let go of it', async () => {
    // It may leave what the mount has just flushed: a checkpoint that is paid.
    await box.tuskfs(['cache', 'drop', 'main']);
    await box.sh('echo 1 > /proc/sys/vm/drop_caches');
    return (await box.run('cmp', ['gone', `${mountPoint}/gone`])).status === 2;
  });
  expect(box.daemonLog('main')).toMatch(
    /"\/gone cannot be read from \d+ to \d+: blob [\w-]{43} was paid until the end of epoch 3, and it is epoch 4/,
  );
});

test('bytes that were stored once, and are no more, are stored again', async () => {
  await box.sh(`cp again ${mountPoint}/copy`);
  await evict();
  // Both names show the same frames.
  await box.sh(`cmp again ${mountPoint}/copy; cmp again ${mountPoint}/again`);
});

test('a frame that cannot be read keeps nothing from the network, not what is written beside it', async () => {
  await box.sh(`
    head -c 4096 /dev/urandom > page; echo new > ${mountPoint}/new
    dd if=page of=${mountPoint}/changed bs=4096 seek=100 conv=notrunc status=none`);
  await evict();
  await box.sh(`
    dd if=${mountPoint}/changed bs=4096 skip=100 count=1 iflag=direct status=none | cmp - page
    grep -qx new ${mountPoint}/new`);
});

test('the checkpoint names nothing that is gone: another machine restores it', async () => {
  await box.umount(mountPoint);
  const other = await otherMachine(box, 'main');
  machines.unshift(other);
  const restored = await other.mount('main', ['--read-only']);
  await box.sh(`
    cmp again ${restored}/copy; grep -qx new ${restored}/new; test $(ls ${restored}/many | wc -l) = 3000`);
  await other.umount(restored);
});
