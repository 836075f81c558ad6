/** Mounting as mount(8) and fstab do it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sandbox } from '../support/sandbox.ts';

const helper = fileURLToPath(new URL('../../scripts/mount.tuskfs', import.meta.url));
const tuskfs = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));
const box = new Sandbox('helper');

beforeAll(async () => {
  await box.startLocalnet();
  await box.create('main');
  mkdirSync(box.path('sbin'));
  for (const name of ['mount.tuskfs', 'mount.fuse.tuskfs'])
    writeFileSync(box.path('sbin', name), `#!/bin/sh\nexec ${helper} "$@"\n`, { mode: 0o755 });
});
afterAll(() => box.close());

/** Runs a script in a mount namespace where mount(8) finds our helper under both names, beside all that was in /sbin. */
const withHelper = (script: string): Promise<string> => {
  const all = `set -euo pipefail; mkdir -p at others; mount --bind /sbin others
    for name in others/*; do [ -e sbin/\${name#*/} ] || ln -s $PWD/$name sbin/; done
    mount --bind sbin /sbin; ${script}`;
  writeFileSync(box.path('script'), all);
  return box.sh('unshare --mount bash script');
};

test('mount, remount, umount; what fstab alone means is passed over', async () => {
  const out = await withHelper(`
    mount -t fuse.tuskfs main at -o defaults,nofail,_netdev,x-systemd.automount,allow_other,nosuid,noexec,noatime,sync 2>&1
    grep " $PWD/at " /proc/mounts | cut -d' ' -f3,4
    echo kept > at/f; mount -o remount,ro at; touch at/g 2>&1 || mount -o remount,rw at; cat at/f; rm at/f
    umount at
  `);
  expect(out).toMatch(/^fuse\.tuskfs rw,sync,nosuid,noexec,noatime,.*allow_other/);
  expect(out).toContain('Read-only file system\nkept\n');
});

test('an entry of fstab, by its mount point alone; what mount(8) is told to leave is left', async () => {
  const out = await withHelper(`
    words=noauto,nofail,_netdev,x-systemd.automount,user,exec,size=7G,umask=027
    echo "main $PWD/at tuskfs $words 0 0" > fstab
    mount -T fstab -fn at; mountpoint -q at && echo mounted all the same
    mount -T fstab at; grep " $PWD/at " /proc/mounts | cut -d' ' -f1,3,4
    stat -c %a at/.; df --output=size -B1 at | tail -1; umount at
    mount -s -t tuskfs main at -o ro,alow_other; touch at/f 2>&1 || umount at`);
  expect(out).toMatch(/^main fuse\.tuskfs rw,nosuid,nodev,.*\n750\n *7516192768\n/);
  expect(out).toMatch(/Read-only file system\n$/);
});

test('S-29, S-40: size, uid, gid and umask reach the drive; a mask that is none is refused', async () => {
  const out = await withHelper(`
    mount -t fuse.tuskfs main at -o size=7G,uid=1234,gid=55,umask=027
    stat -c '%u %g %a' at/.; df --output=size,pcent -B1 at | tail -1; umount at
    mount -t fuse.tuskfs main at -o umask=9 2>&1 || echo "refused $?"`);
  expect(out).toMatch(/^1234 55 750\n *7516192768 +\d%\n/);
  expect(out).toMatch(/umask must be an octal number.*\nrefused \d+\n$/);
});

test('S-37: an entry of fstab with `user`: what mount(8) then runs as that user', async () => {
  const out = await withHelper(`
    mknod -m 666 device c 10 229; mount --bind device /dev/fuse; rm device
    chmod 755 .; chown -R 65534 .; as="setpriv --reuid 65534 --regid 65534 --clear-groups"
    echo user_allow_other > fuse.conf; mount --bind fuse.conf /etc/fuse.conf
    $as ${helper} main at -o rw,noauto,noexec,nosuid,nodev,sync,user=nobody,allow_other
    grep " $PWD/at " /proc/mounts | cut -d' ' -f4; ls at && echo let in; $as fusermount3 -u at; chown -R 0 .`);
  expect(out).toMatch(/^rw,sync,nosuid,nodev,noexec,.*user_id=65534.*\nlet in\n$/);
});

test('umount says how it ended although the kernel is not done yet, as with a large tree', async () => {
  const slow = '#!/bin/sh\n/usr/bin/fusermount3 "$@" || exit\n[ "$1" != -u ] || sleep 3\n';
  mkdirSync(box.path('slow'));
  writeFileSync(box.path('slow', 'fusermount3'), slow, { mode: 0o755 });
  const out = await withHelper(`
    mknod -m 666 device c 10 229; mount --bind device /dev/fuse; rm device
    chmod 755 .; chown -R 65534 .; as="setpriv --reuid 65534 --regid 65534 --clear-groups"
    PATH=$PWD/slow:$PATH $as ${tuskfs} mount main at; $as ${tuskfs} umount main 2>&1; chown -R 0 .`);
  expect(out).toContain('main is unmounted.');
});

test('options that nobody knows are refused', async () => {
  const out = await withHelper(`
    mount -t fuse.tuskfs main at -o alow_other 2>&1 || echo "refused $?"; ls at`);
  expect(out).toMatch(/unknown option alow_other; nothing was mounted\nrefused \d+\n$/);
});
