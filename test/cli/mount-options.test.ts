/** What `-o` and fstab may say of a mount. */
import { expect, test } from 'vitest';
import { mountWords } from '../../src/cli/mount-options.ts';

test("the drive's own, the kernel's, fstab's and unknown words are told apart", () => {
  const words = mountWords(
    'rw,nosuid,_netdev,x-systemd.automount,size=10G,uid=1000',
    'gid=7,umask=027,limit_upload=10M,allow_other,comment=a=b,noatime,alow_other,uid',
  );
  expect(words).toEqual({
    remount: false,
    readOnly: false,
    allowOther: true,
    shown: { uid: 1000, gid: 7, umask: 0o027 },
    sizeBytes: 10 * 2 ** 30,
    limits: { upload: '10M' },
    drive: ['rw', 'size=10G', 'uid=1000', 'gid=7', 'umask=027', 'limit_upload=10M', 'allow_other'],
    kernel: ['nosuid', 'noatime'],
    flags: 0x402,
    unknown: ['alow_other', 'uid'],
  });
});

test('what fstab and mount(8) mean for themselves is passed over', () => {
  const words =
    'defaults,auto,noauto,user,nouser,users,nousers,owner,noowner,group,nogroup,nofail,_netdev,silent,loud';
  const valued = 'x-systemd.requires=a,X-mount.mkdir=755,comment=b=c,user=d,helper=e,uhelper=f';
  expect(mountWords(words, `${valued},X-mount.mkdir`)).toEqual(mountWords());
});

test('of two that contradict, the last one counts', () => {
  expect(mountWords('ro,defaults', 'rw').readOnly).toBe(false);
  expect(mountWords('noexec,user,exec,relatime')).toMatchObject({ flags: 1 << 21 });
  expect(mountWords('sync,silent')).toMatchObject({ flags: 1 << 4, unknown: [] });
  expect(mountWords('sync,async')).toMatchObject({ flags: 0 });
  expect(mountWords('remount,rw,ro')).toMatchObject({ remount: true, readOnly: true });
});

test.each(['uid=-1', 'gid=4294967295', 'umask=8', 'umask=1777', 'size=much'])(
  '%s is refused',
  word => expect(() => mountWords(word)).toThrow(/Nothing was mounted/),
);
