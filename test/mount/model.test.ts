/**
 * Random system calls on the mount and on a directory of the local disk: same results, attributes
 * and bytes, through remounts, SIGKILLs of the daemon, and a kernel that forgot everything.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareBeside } from '../support/beside.ts';
import { Served } from '../support/served.ts';

const served = new Served('beside');
beforeAll(() => served.start());
afterAll(() => served.remove());

const events = {
  remount: async () => {
    await served.stop();
    await served.start();
  },
  kill: async () => {
    await served.kill();
    await served.start();
  },
  forget: () => served.sh(`LIBMOUNT_FORCE_MOUNT2=always mount -i -o remount ${served.drive}`),
};

test('S-10, S-16, S-21: random calls do on the mount what they do on the local disk', async () => {
  const done = await compareBeside({
    ...{ runs: 20, stepsMax: 200, budgetMs: 40_000, events },
    again: 'vitest run --project mount test/mount/model.test.ts',
    directories: run => {
      const pair = [join(served.drive, `${run}`), join(served.work, `${run}`)] as const;
      for (const directory of pair) {
        mkdirSync(directory);
        chmodSync(directory, 0o777);
      }
      return pair;
    },
  });
  expect(done).toBeGreaterThan(0);
});
