/**
 * Random system calls on a whole drive and on a directory of the local disk, while everything is
 * sent to the network, every local copy of it is dropped, and the daemon is killed.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareBeside } from '../support/beside.ts';
import { Sandbox } from '../support/sandbox.ts';

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
