/**
 * The daemon's death is not the mount's (S-43 to S-47): a vfs under a keeper, whose server is
 * killed under programs that must not notice.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { callDaemon } from '../../src/daemon/control.ts';
import type { Patience } from '../../src/daemon/patience.ts';
import { until } from '../support/sandbox.ts';
import { Served } from '../support/served.ts';

const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
const random = seededRandom(seed);
/** Never too many deaths. */
const ENDLESS: Patience = {
  ...{ deathsMax: 1000, soonMs: 1000, freeDeaths: 1000, waitMs: 1, waitMsMax: 1 },
};

let served: Served;
beforeEach(() => {
  served = new Served('takeover');
});
afterEach(() => served.remove());

const sh = (script: string): Promise<string> => served.sh(script);
const path = (name: string): string => join(served.work, name);

/** Kills the server `times` times while `script` runs, which goes on until there is a file `enough`. */
const underKills = async (times: number, script: string): Promise<string> => {
  console.log(`TUSK_SEED=${seed}`);
  const work = sh(script);
  const failed = work.then(
    () => undefined,
    error => error as Error,
  );
  const kill = async (): Promise<void> => {
    for (let i = 0; i < times; i++) {
      // While there is none, this waits for the next.
      const { pid, restarts } = await served.where();
      expect(restarts).toBe(i);
      await sleep(random.below(600));
      process.kill(pid, 'SIGKILL');
    }
    await served.where();
    await sh('touch enough');
  };
  const error = await Promise.race([failed, kill().then(() => undefined)]);
  if (error !== undefined) throw error;
  return work;
};

/** Points in the server that each kill it once; all must have struck when the script, and what goes on beside it, is done. */
const dyingAt = async (
  points: string[],
  script: string,
  beside: () => Promise<void> = async () => undefined,
): Promise<string> => {
  const fired = path('fired');
  const env = { TUSKFS_FAILPOINTS: points.join(','), TUSKFS_FAILPOINT_FILE: fired };
  await served.startKept(env, ENDLESS);
  const [out] = await Promise.all([sh(script), beside()]);
  const struck = () => readFileSync(fired, 'utf8').split('\n').filter(Boolean);
  await until(
    'all points have struck',
    () => existsSync(fired) && struck().length === points.length,
  );
  expect(struck().sort()).toEqual(points.sort());
  return out;
};

const answers = (...ops: string[]): string[] => ops.map(op => `fuse.answer.${op}`);

test('S-44: names: what was done and not answered is done once, and answered', async () => {
  const ops = ['CREATE', 'MKDIR', 'MKNOD', 'SYMLINK', 'LINK', 'RENAME', 'RENAME2', 'UNLINK'];
  const out = await dyingAt(
    // The first of them that takes over dies, too, when it has applied what it found and answered nothing.
    [...answers(...ops, 'RMDIR', 'TMPFILE'), 'fuse.resend'],
    `cat > ops.py <<'END'
import ctypes, os, stat
os.chdir('drive')
os.mkdir('d')
a = os.open('d/a', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
os.write(a, b'a')
os.mknod('d/fifo', stat.S_IFIFO | 0o600)
os.symlink('a', 'd/link')
os.link('d/a', 'd/b')
os.rename('d/b', 'd/c')
os.close(os.open('d/other', os.O_CREAT))
assert ctypes.CDLL(None).renameat2(-100, b'd/c', -100, b'd/other', 2) == 0
os.unlink('d/c')
os.mkdir('d/gone'); os.rmdir('d/gone')
t = os.open('d', os.O_TMPFILE | os.O_RDWR, 0o600)
os.write(t, b'tmp')
os.link('/proc/self/fd/%d' % t, 'd/t', src_dir_fd=os.open('.', os.O_RDONLY), follow_symlinks=True)
s = os.stat
print(sorted(os.listdir('d')), s('d').st_nlink, s('d/a').st_nlink, s('d/a').st_ino == s('d/other').st_ino)
print(oct(s('d/a').st_mode), os.readlink('d/link'), stat.S_ISFIFO(s('d/fifo').st_mode), open('d/t').read(), s('d/t').st_nlink)
END
    python3 ops.py`,
  );
  expect(out).toBe("['a', 'fifo', 'link', 'other', 't'] 2 2 True\n0o100640 a True tmp 1\n");
  await served.stop();
});

test('S-44: content and attributes: what was done and not answered is done once, and answered', async () => {
  const out = await dyingAt(
    answers('WRITE', 'SETATTR', 'SETXATTR', 'REMOVEXATTR', 'FALLOCATE', 'COPY_FILE_RANGE_64'),
    `cat > ops.py <<'END'
import os
f = os.open('drive/f', os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND)
os.write(f, b'x' * 5000); os.fsync(f)
os.ftruncate(f, 4000)
os.setxattr('drive/f', 'user.a', b'1', os.XATTR_CREATE)
os.removexattr('drive/f', 'user.a')
os.posix_fallocate(f, 0, 6000)
os.close(f)
f = os.open('drive/f', os.O_RDWR)
# From the middle to behind the end: what is copied ends where the file ended before.
print(os.copy_file_range(f, f, 10000, 2000, 6000))
os.lseek(f, 0, 0)
data = os.read(f, 20000)
print(len(data), data.count(b'x'), data[6000:8000] == b'x' * 2000, os.listxattr('drive/f'))
END
    python3 ops.py`,
  );
  expect(out).toBe('4000\n10000 6000 True []\n');
  await served.stop();
});

test('S-10, S-45: a file without a name lives until it is closed, and no longer', async () => {
  const orphans = (): Promise<number[]> =>
    callDaemon(join(served.state, 'control.sock'), 'orphans');
  await dyingAt(
    ['fuse.forget'],
    `exec 3<> drive/before; exec 4<> drive/after; echo one >&3; echo one >&4; rm drive/before
     touch drive/lost; exec 5< drive/lost; rm drive/lost; sync -f drive; touch opened
     until [ -e killed ]; do sleep 0.05; done
     rm drive/after; echo two >&3; echo two >&4; touch written
     until [ -e again ]; do sleep 0.05; done
     cmp /proc/self/fd/3 <(printf 'one\\ntwo\\n'); cmp /proc/self/fd/4 <(printf 'one\\ntwo\\n')
     touch compared; until [ -e seen ]; do sleep 0.05; done`,
    async () => {
      await until('the files are open', () => existsSync(path('opened')));
      await served.killServer();
      await sh('touch killed');
      await until('they are written', () => existsSync(path('written')));
      await served.killServer();
      await sh('touch again');
      await until('they are compared', () => existsSync(path('compared')));
      expect((await orphans()).length).toBe(3);
      await sh('touch seen');
    },
  );
  await until('nothing is left of them', async () => (await orphans()).length === 0);
  await served.stop();
});

test('S-43: cp -a goes on under seven deaths, and every copy is whole', async () => {
  await sh(
    `mkdir source; cp -a ${process.cwd()}/node_modules/zod source/zod; head -c 9000000 /dev/urandom > source/noise`,
  );
  await served.startKept();
  await underKills(
    7,
    `for ((i = 0; ; i++)); do
      [ ! -e enough ] || break; cp -a source drive/c$i; diff -r source drive/c$i; rm -r drive/c$i; done
    cp -a source drive/last`,
  );
  await served.stop();
  await served.start();
  expect(await sh('diff -r source drive/last && ls drive')).toBe('last\n');
});

test('S-43: git clones and finds nothing wrong under seven deaths', async () => {
  await sh(`git init -q source; cd source; cp -r ${process.cwd()}/node_modules/zod .
    git add .; git -c user.name=a -c user.email=a@b commit -qm one`);
  await served.startKept();
  const out = await underKills(
    7,
    `for ((i = 0; ; i++)); do
      [ ! -e enough ] || break
      git clone -q --no-local source drive/clone; git -C drive/clone fsck --full --strict
      git -C drive/clone status --porcelain; rm -rf drive/clone; done`,
  );
  expect(out).toBe('');
  await served.stop();
});

test('S-43: a SQLite writer loses nothing that it committed under six deaths', async () => {
  await served.startKept();
  const out = await underKills(
    6,
    `cat > writer.py <<'END'
import os, sqlite3
db = sqlite3.connect('drive/db', timeout=60)
db.execute('pragma journal_mode=wal'); db.execute('create table t(a integer primary key, b)')
n = 0
while n < 50 or not os.path.exists('enough'):
    with db: db.execute('insert into t values(?, randomblob(500))', (n,))
    n += 1
    if n % 50 == 0: db.execute('pragma wal_checkpoint(truncate)')
print(db.execute('pragma integrity_check').fetchone()[0], db.execute('select count(*) from t').fetchone()[0] == n)
END
    python3 writer.py`,
  );
  expect(out).toBe('ok True\n');
  await served.stop();
});

test('S-43: locks, places in directories and times stay; what was dirty is written', async () => {
  await served.startKept();
  const out = sh(`cat > holder.py <<'END'
import fcntl, os, subprocess, time
os.chdir('drive'); os.mkdir('many')
for i in range(2000): os.close(os.open('many/%d' % i, os.O_CREAT))
held = open('held', 'w'); fcntl.flock(held, fcntl.LOCK_EX); fcntl.lockf(held, fcntl.LOCK_EX)
dirty = open('dirty', 'w'); dirty.write('kept' * 100000); dirty.flush()
names = set(); listing = os.scandir('many')
for _ in range(300): names.add(next(listing).name)
before = os.stat('many/5')
open('../ready', 'w').close()
while not os.path.exists('../killed'): time.sleep(0.02)
for entry in listing: names.add(entry.name)
print(subprocess.run(['flock', '--nonblock', '--conflict-exit-code', '9', 'held', 'true']).returncode)
print(len(names), os.stat('many/5') == before, open('dirty').read() == 'kept' * 100000)
END
    python3 holder.py`);
  await until('it is ready', () => existsSync(path('ready')));
  await served.killServer();
  await sh('touch killed');
  expect(await out).toBe('9\n2000 True True\n');
  await served.stop();
});

test('S-22, S-43: a death while the kernel hands over pages that SEEK_HOLE has asked for', async () => {
  await served.startKept();
  const out = await underKills(
    3,
    `cat > seek.py <<'END'
import os
f = os.open('drive/f', os.O_CREAT | os.O_RDWR)
n = 0
while n < 3 or not os.path.exists('enough'):
    n += 1
    for i in range(8): os.pwrite(f, b'x' * 500000, i << 20)
    assert os.lseek(f, 0, os.SEEK_HOLE) == 500000 + -500000 % 4096 or os.lseek(f, 0, os.SEEK_HOLE) == 500000
    os.ftruncate(f, 0)
print('done')
END
    python3 seek.py`,
  );
  expect(out).toBe('done\n');
  await served.stop();
});
