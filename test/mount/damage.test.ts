/** Bytes of the log that the disk alters: found by their checksum, named, never served. */
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const served = new Served('damage');
const sh = (script: string): Promise<string> => served.sh(script);
beforeAll(() => served.start());
afterAll(() => served.remove());

/** Alters one byte of `text` wherever the log holds it; the number of places. */
const alter = (text: string): number => {
  let altered = 0;
  const directory = join(served.state, 'log');
  for (const name of readdirSync(directory).filter(name => name.endsWith('.seg'))) {
    const path = join(directory, name);
    const at = readFileSync(path).indexOf(text);
    if (at < 0) continue;
    const fd = openSync(path, 'r+');
    writeSync(fd, 'X', at + 3);
    closeSync(fd);
    altered++;
  }
  return altered;
};

const tries = (names: string): Promise<string> =>
  sh(
    `cd drive; for f in ${names}; do cat $f > ../out 2> ../err && echo ok || sed 's/.*: //' ../err; done`,
  );

test('an altered file is an error, its neighbours are whole, also after a restart; written anew it is well', async () => {
  await sh(`cd drive; for f in a b c; do
      (echo "start of $f"; head -c 300000 /dev/zero; echo "end of $f") > $f; done; sync -f .`);
  await served.stop();
  await served.start();
  expect(await tries('a b c')).toBe('ok\nok\nok\n');
  expect(alter('end of b')).toBe(1);
  for (let restarts = 0; restarts < 2; restarts++) {
    await served.stop();
    await served.start();
    expect(await tries('a b c')).toBe('ok\nInput/output error\nok\n');
    // What is whole of the file can still be had.
    expect(await sh('head -c 10 drive/b')).toBe('start of b');
  }
  await sh('cd drive; echo anew > b; sync -f .');
  expect(await tries('a b c')).toBe('ok\nok\nok\n');
});

test('bytes that this very daemon wrote are checked as well', async () => {
  await sh('cd drive; echo "a secret of mine" > mine; echo other > other; sync -f .');
  const { ino } = statSync(join(served.drive, 'mine'));
  expect(alter('a secret of mine')).toBe(1);
  await served.forgetInode(ino);
  expect(await tries('mine other')).toBe('Input/output error\nok\n');
});
