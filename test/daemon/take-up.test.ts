/** What becomes of files without a name when a daemon takes over a mount, whatever the kernel is quickest to say. */
import { setImmediate as turnOfLoop } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeUp } from '../../src/daemon/take-up.ts';
import { NOTHING_AGREED } from '../../src/fuse/init.ts';
import type { Mount } from '../../src/fuse/mount.ts';
import { Session } from '../../src/fuse/session.ts';
import { Notify, Op } from '../../src/fuse/wire.ts';
import { type Answered, fields, MemoryDevice, request } from '../fuse/device.ts';
import { openSmall, scratchPlace } from '../meta/support.ts';
import { memoryVfs } from '../support/vfs.ts';

const MOUNT = 7;
const RESENT = 2n ** 63n;
const ENOENT = -2;
/** O_RDWR and O_TMPFILE; O_EXCL: it shall never have a name. */
const FLAGS = 0o20200002;
const EXCL = 0o200;

let place: ReturnType<typeof scratchPlace>;
beforeEach(() => {
  place = scratchPlace();
});
afterEach(() => place.remove());

/** A kernel that holds no inode; what it was told. */
class ForgetfulKernel extends MemoryDevice {
  readonly told: number[] = [];
  override async notify(message?: Buffer): Promise<number> {
    if (this.closed) throw new Error('the device is closed');
    const what = message!.readInt32LE(4);
    this.told.push(what);
    return what === Notify.INVAL_INODE ? ENOENT : 0;
  }
}

const tmpfile = (unique: bigint, flags = FLAGS): Buffer =>
  request(Op.TMPFILE, 1, fields(flags, 0o100600, 0o022, 0, 'x'), unique);
const inoOf = ([made]: Answered[]): number => Number(made!.body.readBigUInt64LE(0));

/** A daemon that makes such files, and dies; their numbers. */
const dyingAfter = async (...requests: Buffer[]): Promise<number[]> => {
  const index = await openSmall(place);
  const device = new MemoryDevice();
  const { vfs } = memoryVfs({ index });
  new Session(device, vfs, { mount: MOUNT, cause: index.cause }).run();
  const inos = requests.map(one => inoOf(device.feed(one)));
  await index.crash();
  return inos;
};

/** The next one, on a kernel that holds nothing; `isFirst`: of a mount of its own. */
const next = async (isFirst = false) => {
  const index = await openSmall(place);
  const orphans = index.orphans();
  const kernel = new ForgetfulKernel();
  const { session } = await takeUp({
    mount: { device: kernel } as unknown as Mount,
    ...{ index, vfs: memoryVfs({ index }).vfs, shown: {} },
    handover: { mount: MOUNT, agreement: isFirst ? undefined : NOTHING_AGREED },
  });
  await turnOfLoop();
  const end = async () => {
    session.stop();
    await index.close();
  };
  return { index, orphans, kernel, end };
};

test('S-44, S-45: what the kernel does not hold goes, but not the file that it is still to be told of', async () => {
  const inos = await dyingAfter(tmpfile(2n), tmpfile(4n, FLAGS | EXCL));
  const { index, orphans, kernel, end } = await next();
  expect(orphans).toEqual(inos);
  expect(kernel.told).toEqual([Notify.RESEND, Notify.INVAL_INODE]);
  expect(inos.map(ino => index.inode(ino) !== undefined)).toEqual([false, true]);
  expect(inoOf(kernel.feed(tmpfile(4n | RESENT, FLAGS | EXCL)))).toBe(inos[1]);
  // S-31 holds for it, too.
  const [linked] = kernel.feed(request(Op.LINK, 1, fields(BigInt(inos[1]!), 'name'), 6n));
  expect(linked!.error).toBe(ENOENT);
  await end();
});

test('S-10: after the end of the mount, files without a name are gone with the next', async () => {
  const inos = await dyingAfter(tmpfile(2n), tmpfile(4n));
  const { index, orphans, end } = await next(true);
  expect(orphans).toEqual(inos);
  expect(inos.map(ino => index.inode(ino))).toEqual([undefined, undefined]);
  expect(index.totals().inodes).toBe(1);
  await end();
});

test('S-10: a mount that ends while they are looked for ends in good order', async () => {
  const inos = await dyingAfter(tmpfile(2n), tmpfile(4n), tmpfile(6n));
  const index = await openSmall(place);
  const kernel = new ForgetfulKernel();
  const unhandled: unknown[] = [];
  const hear = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', hear);
  const { session } = await takeUp({
    mount: { device: kernel } as unknown as Mount,
    ...{ index, vfs: memoryVfs({ index }).vfs, shown: {} },
    handover: { mount: MOUNT, agreement: NOTHING_AGREED },
  });
  session.stop();
  await turnOfLoop();
  process.off('unhandledRejection', hear);
  expect(unhandled).toEqual([]);
  expect(inos.filter(ino => index.inode(ino) !== undefined).length).toBeGreaterThan(1);
  await index.close();
});
