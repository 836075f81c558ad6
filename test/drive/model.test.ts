/**
 * Random system calls on a whole drive and on a directory of the local disk, while everything is
 * sent to the network, every local copy of it is dropped, and the daemon is killed.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareBeside } from '../support/beside.ts';
import { Sandbox } from '../support/sandbox.ts';

const command = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));
const box = new Sandbox('beside');
let mountPoint: string;

beforeAll(async () => {
  await box.startLocalnet();
  await box.create('main');
  mountPoint = await box.mount('main');
});
afterAll(() => box.close());

const forget = (): Promise<string> =>
  box.sh(`LIBMOUNT_FORCE_MOUNT2=always mount -i -o remount ${mountPoint}`);

const events = {
  sync: () => box.sync('main'),
  /** The network is asked for everything that was on it. */
  evict: async () => {
    await box.sync('main');
    await box.tailsEnded('main');
    await box.tuskfs(['cache', 'drop', 'main']);
    await forget();
  },
  kill: async () => {
    await box.kill('main');
    await box.mount('main');
  },
};

test('random calls do on a drive what they do on the local disk', async () => {
  const done = await compareBeside({
    ...{ runs: 5, stepsMax: 300, budgetMs: 40_000, events },
    again: 'vitest run --project drive test/drive/model.test.ts',
    directories: run => {
      const pair = [`${mountPoint}/${run}`, box.path(`${run}`)] as const;
      for (const directory of pair) {
        mkdirSync(directory);
        chmodSync(directory, 0o777);
      }
      return pair;
    },
  });
  expect(done).toBeGreaterThan(0);
});

test('S-10: a file that has lost its name stays whole for who holds it, flushed and evicted', async () => {
  const tuskfs = (...words: string[]): string => [command, ...words].join(' ');
  const out =
    await box.sh(`cd ${mountPoint}; head -c 3000000 /dev/urandom > held; sha1sum < held > ../sum
    exec 3<> held; ${tuskfs('sync', '-q', 'main')} 2> /dev/null; rm held; ${tuskfs('sync', '-q', 'main')} 2> /dev/null
    ${tuskfs('cache', 'drop', 'main')} > /dev/null 2>&1 || true
    dd if=/proc/self/fd/3 iflag=direct bs=1M status=none | sha1sum | cmp - ../sum
    printf more | dd of=/proc/self/fd/3 oflag=append conv=notrunc status=none; stat -L -c '%h %s' /proc/self/fd/3`);
  expect(out).toBe('0 3000004\n');
});
