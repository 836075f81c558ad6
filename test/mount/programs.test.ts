/** Programs that people keep on a drive, each with its own check; the long ones are in test/soak. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareTrees } from '../../scripts/compare-tree.ts';
import { Served } from '../support/served.ts';

const served = new Served('programs');
const sh = (script: string): Promise<string> => served.sh(script);
beforeAll(() => served.start());
afterAll(() => served.remove());

test.each(['delete', 'wal'])(
  'SQLite (%s): readers beside a writer that is killed see whole transactions only',
  async mode => {
    const out = await sh(`cd drive; cat > writer.py <<'END'
import sqlite3, sys
db = sqlite3.connect('${mode}.db', timeout=30, isolation_level=None)
db.execute('pragma journal_mode=${mode}')
db.execute('create table if not exists t(a, b)')
i = 0
while True:
    db.execute('begin immediate')
    for part in range(3): db.execute('insert into t values(?, ?)', (i, part))
    db.execute('commit'); i += 1
    if i == 20: print('going', flush=True)
END
    cat > reader.py <<'END'
import sqlite3
db = sqlite3.connect('${mode}.db', timeout=30)
for _ in range(40): assert db.execute('select count(*) from t').fetchone()[0] % 3 == 0
END
    python3 writer.py > going & writer=$!
    until grep -q going going; do sleep 0.05; done
    python3 reader.py & first=$!; python3 reader.py; wait $first
    kill -9 $writer; wait $writer 2> /dev/null || true
    sqlite3 ${mode}.db "pragma integrity_check; select count(*) >= 60, count(*) % 3 from t"; rm going`);
    expect(out).toBe('ok\n1|0\n');
  },
);

test('rsync -aHAXS --delete goes both ways and finds nothing left to do', async () => {
  await sh(`mkdir tree; cd tree; echo one > a; ln a b; ln -s a c; truncate -s 40M sparse; echo end >> sparse
    mkdir sub; cp /bin/ls sub/; setfattr -n user.x -v y sub/ls; setfacl -m u:7:r a; cd ..
    rsync -aHAXS --modify-window=-1 --delete tree/ drive/tree/; rm tree/c tree/sub/ls; echo two > tree/new
    rsync -aHAXS --modify-window=-1 --delete tree/ drive/tree/; echo three > drive/tree/newer; rm drive/tree/new
    rsync -aHAXS --modify-window=-1 --delete drive/tree/ tree/; test -z "$(rsync -aHAXSin --modify-window=-1 --delete tree/ drive/tree/)"
    test $(du -k drive/tree/sparse | cut -f1) -le 8`);
  expect(await compareTrees(join(served.work, 'tree'), join(served.drive, 'tree'))).toEqual([]);
});

test('tar keeps holes, attributes and lists', async () => {
  await sh(`tar -C tree -S --acls --xattrs --xattrs-include='*' -cf drive/t.tar . && mkdir drive/untarred
    tar -C drive/untarred -S --acls --xattrs --xattrs-include='*' -xpf drive/t.tar
    test $(du -k drive/untarred/sparse | cut -f1) -le 8`);
  expect(await compareTrees(join(served.work, 'tree'), join(served.drive, 'untarred'))).toEqual([]);
});

test('cp shares what it copies: no byte is stored twice', async () => {
  const requests = async (): Promise<number> => (await served.requests()).write ?? 0;
  await sh('cd drive; head -c 20000000 /dev/urandom > original; sync original');
  const before = await requests();
  await sh(
    'cd drive; cp original copy; cmp original copy; echo changed | dd of=copy conv=notrunc status=none',
  );
  expect((await requests()) - before).toBeLessThanOrEqual(2);
  await sh('cd drive; cmp -s original copy && exit 1; cmp -i 8 original copy');
  expect(statSync(join(served.drive, 'copy')).size).toBe(20_000_000);
});

test('saves as editors make them, and lock files beside documents', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import os
open('letter.odt', 'w').write('first')
lock = os.open('.~lock.letter.odt#', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
try: os.open('.~lock.letter.odt#', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
except FileExistsError: print('locked')
for i in range(50):
    with open('letter.odt.tmp', 'w') as f: f.write('version %d' % i); f.flush(); os.fsync(f.fileno())
    os.rename('letter.odt.tmp', 'letter.odt')
    directory = os.open('.', os.O_RDONLY); os.fsync(directory); os.close(directory)
os.close(lock); os.unlink('.~lock.letter.odt#')
os.rename('letter.odt', 'letter.odt~'); open('letter.odt', 'w').write('last')
print(open('letter.odt~').read(), open('letter.odt').read(), sorted(n for n in os.listdir('.') if 'letter' in n))
END`);
  expect(out).toBe("locked\nversion 49 last ['letter.odt', 'letter.odt~']\n");
});

test('a mapping shared by two processes shows each what the other writes', async () => {
  const out = await sh(`cd drive; python3 - <<'END'
import mmap, os
f = os.open('shared', os.O_RDWR | os.O_CREAT); os.ftruncate(f, 8192)
m = mmap.mmap(f, 8192)
if os.fork() == 0:
    other = mmap.mmap(os.open('shared', os.O_RDWR), 8192); other[4096:4100] = b'here'; os._exit(0)
os.wait(); print(m[4096:4100].decode()); m[0:5] = b'there'; print(os.pread(f, 5, 0).decode())
END`);
  expect(out).toBe('here\nthere\n');
});

test('cargo builds and runs a program inside the mount', async () => {
  const out =
    await sh(`cd drive; cargo new --quiet --vcs none hello && cd hello && cargo build --quiet --offline
    target/debug/hello; touch src/main.rs; cargo run --quiet --offline`);
  expect(out).toBe('Hello, world!\nHello, world!\n');
});
