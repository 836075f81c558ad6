/** Unmodified programs on a mounted vfs over the real index, judged against the same on the local disk. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareTrees } from '../../scripts/compare-tree.ts';
import { until } from '../support/sandbox.ts';
import { Served } from '../support/served.ts';

const served = new Served('mount');
const { drive } = served;
const source = join(served.work, 'source');
const sh = (script: string): Promise<string> => served.sh(script);

beforeAll(async () => {
  mkdirSync(source);
  await sh(`
    cp -a ${process.cwd()}/node_modules/zod source/zod
    head -c 9000000 /dev/urandom > source/noise
    cd source; echo one > a; ln a b; ln -s a c; ln -s nowhere dangling; mkfifo fifo; mknod null c 1 3
    mkdir -p deep/$(printf 'd%.0s' {1..255})/x empty; chmod 2775 empty; chown 12:34 empty; setfacl -m u:7:r noise; setfacl -d -m u:12:rx empty
    setfattr -n user.note -v kept a; chmod 4751 a; truncate -s 30M hole; printf end >> hole
    touch -h -d '1960-01-01 00:00:00.123456789' c; touch -d '2100-12-31 23:59:59.999999999' noise
    printf x > $'\\xff\\xfe no UTF-8'`);
  await served.start();
});
afterAll(() => served.remove());

test('cp -a, rsync -aHAX and tar copy a tree whole, and a remount shows it', async () => {
  await sh('cp -a source drive/cp && rsync -aHAX --modify-window=-1 source/ drive/rsync/');
  await sh(`mkdir drive/tar && tar -C source --acls --xattrs --xattrs-include='*' -cf - . |
    tar -C drive/tar --acls --xattrs --xattrs-include='*' -xpf -`);
  expect(await sh('rsync -aHAXin --modify-window=-1 --delete source/ drive/rsync/')).toBe('');
  await served.stop();
  await served.start();
  for (const copy of ['cp', 'rsync', 'tar'])
    expect(await compareTrees(source, join(drive, copy)), copy).toEqual([]);
});

test('S-42: what close returned for is there after the daemon was killed', async () => {
  await sh('cp -a source drive/before');
  await served.kill();
  await served.start();
  expect(await compareTrees(source, join(drive, 'before'))).toEqual([]);
});

test('S-10: what has no name is gone with the daemon and the mount that held it', async () => {
  const holder =
    sh(`exec 3<> drive/held; head -c 1000000 /dev/zero >&3; rm drive/held; sync -f drive
    touch held; until test -e go; do sleep 0.05; done`);
  await until('the file is held', () => existsSync(join(served.work, 'held')));
  await served.kill();
  await sh('touch go');
  await holder;
  await served.start();
  const [all, free, named] = (
    await sh(`stat -f -c '%c %d' drive; find drive -printf '%i\\n' | sort -u | wc -l`)
  ).split(/\s/);
  expect(Number(all) - Number(free)).toBe(Number(named));
});

test('git clones, commits, packs and finds nothing wrong', async () => {
  const out = await sh(`
    export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    git init -q drive/repo && cd drive/repo && cp -r ../cp/zod . && git add . && git commit -qm one
    git mv zod moved && git commit -qm two && git gc -q
    git clone -q --no-local . ../clone && cd ../clone && git fsck --full --strict && git status --porcelain && git log --oneline | wc -l`);
  expect(out.trim()).toBe('2');
});

test('sqlite3 keeps its database whole with a rollback journal and with a write-ahead log', async () => {
  for (const mode of ['delete', 'wal']) {
    const out =
      await sh(`sqlite3 drive/${mode}.db "pragma journal_mode=${mode}; create table t(a, b);
      with recursive c(x) as (select 1 union all select x+1 from c where x < 20000) insert into t select x, hex(randomblob(20)) from c;
      update t set b = 'z' where a % 7 = 0; vacuum; pragma integrity_check; select count(*) from t where b = 'z';"`);
    expect(out.split('\n').slice(0, 3)).toEqual([mode, 'ok', '2857']);
  }
});

test('atomic saves, appends, direct writes, maps and files without a name', async () => {
  const out =
    await sh(`cd drive; echo one > f; printf '%s' two > .f.tmp; mv .f.tmp f; echo ' more' >> f; cat f
    head -c 300000 /dev/urandom > r; dd if=r of=direct bs=4096 oflag=direct status=none; cmp r direct
    python3 - <<'END'
import mmap, os
with open('mapped', 'w+b') as f:
    f.truncate(10000)
    m = mmap.mmap(f.fileno(), 10000); m[5000:5004] = b'mmap'; m.flush(); m.close()
    os.unlink('mapped'); f.seek(5000); print(f.read(4).decode(), os.fstat(f.fileno()).st_nlink)
END`);
  expect(out).toBe('two more\nmmap 0\n');
});

test('S-22: SEEK_DATA sees what no program has synced', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import os
f = os.open('seek', os.O_RDWR | os.O_CREAT)
os.write(f, b'x' * 100000)
print(os.lseek(f, 0, os.SEEK_DATA), os.lseek(f, 0, os.SEEK_HOLE))
os.ftruncate(f, 1 << 20); os.pwrite(f, b'tail', 500000)
print(os.lseek(f, 100000, os.SEEK_DATA) // 4096, os.lseek(f, 500000, os.SEEK_HOLE) > 500003)
END
    cp --sparse=auto cp/hole sparse; cmp cp/hole sparse; test $(du -k sparse | cut -f1) -le 8`);
  expect(out).toBe('0 100000\n122 True\n');
});

test('find, du, mv and rm see one tree', async () => {
  const out = await sh(`cd drive; a=$(find cp | wc -l); test $a = $(find ../source | wc -l)
    test $(du -sb --apparent-size cp/zod/package.json | cut -f1) = $(stat -c %s ../source/zod/package.json)
    mv cp renamed; mkdir other; mv renamed other/; mv --exchange other/renamed rsync 2>/dev/null || true
    rm -rf other rsync tar before repo clone; df --output=fstype . | tail -1`);
  expect(out.trim()).toBe('fuse.tuskfs');
  await served.stop();
  await served.start();
  expect((await sh('ls drive')).split('\n')).not.toContain('cp');
});

test('S-31: O_TMPFILE, with a name later and without', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import os
f = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(f, b'without a name')
print(os.fstat(f).st_nlink, os.pread(f, 99, 0).decode())
os.link('/proc/self/fd/%d' % f, 'named', src_dir_fd=f)
print(os.fstat(f).st_nlink, oct(os.stat('named').st_mode))
g = os.open('.', os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
try: os.link('/proc/self/fd/%d' % g, 'never', src_dir_fd=f)
except FileNotFoundError: print('refused')
END
    cat named`);
  expect(out).toBe('0 without a name\n1 0o100640\nrefused\nwithout a name');
});

test('S-32, S-33: access control lists as on the local disk', async () => {
  const script = (at: string): Promise<string> =>
    sh(`mkdir -p ${at}/acl; cd ${at}/acl; umask 027; chmod 755 .
    as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    echo secret > f; chmod 640 f; setfacl -m u:nobody:rw,g:daemon:r f; getfacl -n f; stat -c %A f
    as cat f; as sh -c 'echo more >> f'; chmod g=r f; getfacl -n f; as sh -c 'echo x >> f' 2>&1 || true
    mkdir d; setfacl -d -m u:nobody:rwx,g::rx,o::- d; setfacl -m u:nobody:rx d
    touch d/file; mkdir -p d/sub/deep; ln -s x d/link; (umask 0; touch d/wide); getfacl -Rn d; stat -c '%A %n' d/*
    setfacl -b f; getfacl -n f; stat -c %A f; setfacl -k d; getfacl -n d; setfacl -k d
    mkdir g; chgrp daemon g; chmod 2770 g; chown nobody g; as setfacl -m u:5:rwx g; stat -c %A g
    cp -a d copy; getfacl -Rn copy; rm -rf copy; setfacl -d -m u::rwx f 2>&1 || true
    mkfifo fifo; setfacl -m u:7:rw fifo; getfacl -n fifo
    tar --acls -cf t.tar d; mkdir x; tar --acls -xf t.tar -C x; getfacl -Rn x`);
  const here = await script('local');
  expect(here).toContain('user:65534:rw');
  expect(await script('drive')).toBe(here);
});

test('S-25: locks hold between processes; a killed holder lets go', async () => {
  const out = await sh(`cd drive; cat > lock.py <<'END'
import fcntl, os, signal, subprocess, sys
how = {'flock': fcntl.flock, 'fcntl': fcntl.lockf}[sys.argv[1]]
f = open('locked', 'a+')
if len(sys.argv) > 2:
    how(f, fcntl.LOCK_EX); print('held', flush=True); signal.pause()
holder = subprocess.Popen([sys.executable, __file__, sys.argv[1], 'hold'], stdout=subprocess.PIPE)
holder.stdout.readline()
try: how(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print('not excluded')
except BlockingIOError: print('excluded')
holder.kill(); holder.wait()
how(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print('taken')
END
    python3 lock.py flock; python3 lock.py fcntl`);
  expect(out).toBe('excluded\ntaken\nexcluded\ntaken\n');
});

test('S-40: uid, gid and umask are what everybody sees; stored is what was set', async () => {
  await sh(
    `cd drive; mkdir shown; cd shown; echo x > f; chmod 4640 f; chown 5:6 f; setfacl -m u:9:rwx f; mkdir d`,
  );
  await served.stop();
  await served.start({ shown: { uid: 1234, gid: 55, umask: 0o022 } });
  // The time of birth is asked for with all else.
  const out =
    await sh(`cd drive/shown; stat -c %w f d > /dev/null; stat -c '%u %g %a' f d; touch d/new
    setpriv --reuid=1234 --regid=55 --clear-groups sh -c 'echo y >> f; cat f; rm d/new; touch d/new'
    setpriv --reuid=9 --regid=9 --clear-groups sh -c 'echo z >> f' 2> /dev/null || echo kept out`);
  expect(out).toBe('1234 55 755\n1234 55 755\nx\ny\nkept out\n');
  await served.stop();
  await served.start();
  expect(await sh("cd drive/shown; stat -c '%u %g %a' f d/new; rm -r ../shown")).toBe(
    '5 6 670\n1234 55 644\n',
  );
});

test('S-35: times of birth, kept through changes and remounts, asked for once', async () => {
  const born = (): Promise<string> => sh('cd drive; stat -c %w born');
  await sh('touch drive/born');
  const first = await born();
  expect(Math.abs(Date.now() - Date.parse(first))).toBeLessThan(60_000);
  await sh(
    'cd drive; echo x > born; chmod 600 born; mv born b; mv b born; touch -d 1999-01-01 born',
  );
  expect(await born()).toBe(first);
  const before = (await served.requests()).statx ?? 0;
  await sh('for i in 1 2 3 4 5; do stat drive/born; done > /dev/null');
  expect(((await served.requests()).statx ?? 0) - before).toBeLessThanOrEqual(1);
  await served.stop();
  await served.start();
  expect(await born()).toBe(first);
});

test('S-12: reading changes no time', async () => {
  await sh(
    'cd drive; echo x > read; mkdir listed; touch listed/f; touch -d 1999-01-01 read listed',
  );
  const times = (): Promise<string> => sh('cd drive; stat -c "%x %y %z" read listed');
  const before = await times();
  await sh('cd drive; cat read; dd if=read iflag=direct status=none; ls listed');
  expect(await times()).toBe(before);
  await served.stop();
  await served.start();
  await sh('cd drive; cat read; ls listed');
  expect(await times()).toBe(before);
  await sh('rm -r drive/read drive/listed');
});

test('S-12: what is made or written later is never older, whoever stamps it', async () => {
  const out = await sh(`mkdir drive/order; cd drive/order; python3 - <<'END'
import os, random, time
before, older = 0, 0
for i in range(400):
    name = str(i)
    if i % 4 < 2:
        f = os.open(name, os.O_CREAT | os.O_WRONLY); os.write(f, b'x' * (i % 2)); os.close(f)
    elif i % 4 == 2: os.mkdir(name)
    else: os.symlink('x', name)
    now = os.lstat(name).st_mtime_ns
    older += now < before; before = now
    time.sleep(random.random() * 0.003)
print(older)
END`);
  // A kernel that stamps other disks finer (6.13) may step in between, rarely.
  expect(Number(out)).toBeLessThan(8);
});

test('S-48: appends of many writers lose nothing; inotify sees local changes', async () => {
  const out = await sh(`cd drive; for w in 1 2 3 4 5 6; do
      (for i in {1..300}; do echo "writer $w line $i of many"; done | while read -r line; do echo "$line" >> appended; done) & done; wait
    sort appended | uniq | wc -l; wc -l < appended
    python3 - <<'END'
import ctypes, os
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(0)
libc.inotify_add_watch(watch, b'.', 0x100 | 0x200 | 0x2)
open('seen', 'w').write('x'); os.unlink('seen')
events, seen = os.read(watch, 4096), []
while events:
    size = int.from_bytes(events[12:16], 'little')
    seen.append(hex(int.from_bytes(events[4:8], 'little'))); events = events[16 + size:]
print(*seen)
END`);
  expect(out).toBe('1800\n1800\n0x100 0x2 0x200\n');
});

test('S-1: names are told apart by their bytes, whatever they look like', async () => {
  const names = ["'x'", "'X'", "$'\\xc3\\xa9'", "$'e\\xcc\\x81'", "$'\\xe9'", "'x '"];
  await sh(
    `mkdir drive/alike; cd drive/alike; for name in ${names.join(' ')}; do echo "$name" > "$name"; done`,
  );
  await served.stop();
  await served.start();
  const out = await sh(`cd drive/alike; for name in ${names.join(' ')}; do
    [ "$(cat "$name")" = "$name" ] && echo same; done; ls | wc -l; rm -r ../alike`);
  expect(out).toBe(`${'same\n'.repeat(names.length)}${names.length}\n`);
});

test('S-49: paths of 4,095 bytes, directories 1,000 deep, 20,000 names in one', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import os
os.mkdir('deep'); at = 'deep'
while len(at) + 101 <= 4090: at += '/' + 'x' * 100; os.mkdir(at)
path = at + '/' + 'y' * (4095 - len(at) - 1)
open(path, 'w').write('far'); print(len(path), open(path).read())
os.mkdir('many')
for i in range(20000): os.close(os.open('many/%d' % i, os.O_CREAT))
print(len(os.listdir('many')))
back = os.open('.', os.O_RDONLY)
for i in range(1000): os.mkdir('d'); os.chdir('d')
print(os.getcwd().count('/d'))
os.fchdir(back)
END
    rm -rf d many deep; ls -d d many deep 2> /dev/null || echo gone`);
  expect(out).toBe('4095 far\n20000\n1001\ngone\n');
});

test('S-34, S-38: what is refused, and read-only for a while', async () => {
  const out = await sh(`cd drive; echo x > plain; echo y > other
    python3 - <<'END'
import errno, fcntl
with open('plain', 'r+') as a, open('other') as b:
    try: fcntl.ioctl(a, 0x40049409, b.fileno())
    except OSError as e: print(errno.errorcode[e.errno])
END
    for how in --collapse-range --insert-range; do
      fallocate $how -o 0 -l 4096 plain 2>&1 | sed 's/.*: //' || true; done
    chattr +i plain 2>&1 | sed 's/.*: //;s/ while.*//' || true
    export LIBMOUNT_FORCE_MOUNT2=always
    exec 3>> plain; mount -i -o remount,ro . 2> /dev/null || echo busy; exec 3>&-
    exec 3< other; rm other; mount -i -o remount,ro . 2> /dev/null || echo busy; exec 3>&-
    mount -i -o remount,ro .; rm plain 2>&1 || mount -i -o remount,rw .; cat plain; rm plain`);
  const refused = 'Operation not supported\n';
  expect(out).toBe(
    `ENOTSUP\n${refused}${refused}${refused}busy\nbusy\nrm: cannot remove 'plain': Read-only file system\nx\n`,
  );
});

test('S-15, S-17: a sparse file of the largest size costs nothing; one byte more is EFBIG', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import errno, os
most = 2**53 - 1
f = os.open('widest', os.O_RDWR | os.O_CREAT)
os.ftruncate(f, most); print(os.fstat(f).st_size == most, os.fstat(f).st_blocks)
os.pwrite(f, b'end', most - 3); os.pwrite(f, b'x' * 8192, 2**40); os.fsync(f); os.close(f)
f = os.open('widest', os.O_RDWR)
print(os.stat('widest').st_blocks <= 24, os.lseek(f, 0, os.SEEK_DATA) == 2**40, os.lseek(f, 2**40, os.SEEK_HOLE) - 2**40)
print(os.pread(f, 9, most - 3), os.pread(f, 3, 2**50))
for more in (lambda: os.ftruncate(f, most + 1), lambda: os.posix_fallocate(f, most, 1), lambda: os.copy_file_range(f, f, 1, 2**40, most), lambda: (os.pwrite(f, b'xx', most - 1), os.fsync(f))):
    try: more(); print('taken')
    except OSError as e: print(errno.errorcode[e.errno])
os.close(f)
END
    fallocate -p -o 1T -l 8192 widest; stat -c %b widest; rm widest`);
  expect(out.split('\n').slice(0, 3)).toEqual([
    'True 0',
    'True True 8192',
    "b'end' b'\\x00\\x00\\x00'",
  ]);
  expect(out.split('\n').slice(3, 7)).toEqual(['EFBIG', 'EFBIG', 'EFBIG', 'EFBIG']);
  expect(Number(out.split('\n')[7])).toBeLessThanOrEqual(8);
});

test('S-14: whoever changes a file takes its privileges, as on the local disk', async () => {
  const script = (directory: string) => `mkdir -p ${directory}; cd ${directory}; python3 - <<'END'
import mmap, os, struct
CAPABILITY = struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0)
page = mmap.mmap(-1, 4096)
open('other', 'w').write('other'); other = os.open('other', os.O_RDONLY)
def on(flags, work):
    fd = os.open('able', flags); work(fd); os.close(fd)
CHANGES = {
    'write': lambda: on(os.O_WRONLY, lambda fd: os.write(fd, b'x')),
    'direct': lambda: on(os.O_WRONLY | os.O_DIRECT, lambda fd: os.writev(fd, [page])),
    'truncate': lambda: os.truncate('able', 3),
    'ftruncate': lambda: on(os.O_WRONLY, lambda fd: os.ftruncate(fd, 3)),
    'O_TRUNC': lambda: on(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    'fallocate': lambda: on(os.O_WRONLY, lambda fd: os.posix_fallocate(fd, 0, 9000)),
    'copy': lambda: on(os.O_WRONLY, lambda fd: os.copy_file_range(other, fd, 5, 0, 0)),
    'chown': lambda: os.chown('able', -1, os.getegid()),
    'read': lambda: on(os.O_RDONLY, lambda fd: os.read(fd, 9)),
}
os.setgroups([])
for who in 0, 65534:
    for mode in 0o6775, 0o6765, 0o755:
        for name, change in CHANGES.items():
            open('able', 'w').write('content'); os.chown('able', who, who); os.chmod('able', mode)
            if mode == 0o755: os.setxattr('able', 'security.capability', CAPABILITY)
            if os.fork() == 0:
                os.setresgid(who, who, who); os.setresuid(who, who, who); change(); os._exit(0)
            left = os.wait()[1]
            print(who, oct(mode), name, left, oct(os.stat('able').st_mode), *os.listxattr('able'))
            os.unlink('able')
os.unlink('other')
END`;
  await sh('mkdir drive/privileges');
  const out = await sh(script('drive/privileges'));
  expect(out).toBe(await sh(script('privileges')));
  for (const line of [
    '0 0o6775 write 0 0o106775',
    '0 0o755 write 0 0o100755',
    '0 0o755 read 0 0o100755 security.capability',
    '65534 0o6775 write 0 0o100775',
  ])
    expect(out.split('\n')).toContain(line);
});

test('S-14: a chown that changes nobody drops privileges, as on the local disk', async () => {
  const script = (directory: string) => `cd ${directory}; python3 - <<'END'
import os
for kind in ['file', 'fifo', 'directory']:
    for how in ['path', 'open']:
        if kind == 'file': open(kind, 'w').close()
        elif kind == 'fifo': os.mkfifo(kind)
        else: os.mkdir(kind)
        os.chmod(kind, 0o6775)
        if how == 'path': os.chown(kind, -1, -1)
        else:
            fd = os.open(kind, os.O_RDONLY | os.O_NONBLOCK)
            os.fchown(fd, -1, -1)
            os.close(fd)
        print(kind, how, oct(os.stat(kind).st_mode))
        os.rmdir(kind) if kind == 'directory' else os.unlink(kind)
END`;
  const out = await sh(script('drive'));
  expect(out).toBe(await sh(`mkdir -p beside; ${script('beside')}`));
  expect(out).toContain('file path 0o100775\n');
});

test('S-51: what the kernel answers for every drive over FUSE', async () => {
  const out = await sh(`cd drive; head -c 9000 /dev/zero > plain; python3 - <<'END'
import errno, fcntl, os, select, struct
def said(call):
    try: return call()
    except OSError as e: return errno.errorcode[e.errno]
f = os.open('plain', os.O_RDWR)
print(said(lambda: fcntl.ioctl(f, 0xc020660b, struct.pack('QQIIII', 0, 9000, 0, 0, 8, 0) + bytes(448))))
print(*[said(lambda: os.preadv(f, [bytearray(9)], 0, flags)) for flags in (os.RWF_NOWAIT, 0x80)])
print(said(lambda: len(os.pread(os.open('plain', os.O_RDONLY | os.O_DIRECT), 7, 3))))
print(said(lambda: select.epoll().register(f, select.EPOLLIN)))
END
    rm plain`);
  expect(out).toBe('ENOTSUP\nENOTSUP ENOTSUP\n7\nNone\n');
});

test('S-36: what needs more than a file system over FUSE has is refused, not half done', async () => {
  const out =
    await sh(`cd drive; head -c 1048576 /dev/zero > swap; chmod 600 swap; mkswap swap > /dev/null 2>&1
    swapon swap 2> /dev/null || echo no swap; rm swap
    mkdir lower upper work over
    mount -t overlay none over -o lowerdir=lower,upperdir=upper,workdir=work 2> /dev/null || echo no upper layer
    rm -r lower upper work over`);
  expect(out).toBe('no swap\nno upper layer\n');
});
