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
  await box.ok(['localnet', 'epoch', 'advance', '3']);
});
afterAll(() => Promise.all(machines.map(machine => machine.close())));

/** Checkpoints everything and throws away every local copy. */
const evict = async (): Promise<void> => {
  expect(await box.sync('main')).toMatchObject({ pending: '' });
  await box.tailsEnded('main');
  await box.ok(['cache', 'drop', 'main']);
  await box.sh('echo 1 > /proc/sys/vm/drop_caches');
};

test('bytes that were stored once, and are no more, are stored again', async () => {
  await until('the nodes have let go of it', async () => {
    await box.ok(['cache', 'drop', 'main']);
    await box.sh('echo 1 > /proc/sys/vm/drop_caches');
    return (await box.run('cmp', ['gone', `${mountPoint}/gone`])).status === 2;
  });
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
