/**
 * A disk that is full from its n-th growth on: the n-th file made, extended or allocated below the
 * state directory, and every later one, gets ENOSPC. A program hears ENOSPC and nothing else, the
 * mount goes on, what was *local* stays, and writing works again once there is room. One seed is
 * one history: `TUSK_SEED=N`; `TUSK_ROUNDS=N` for more of them.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { findingsOnCopy, SMALL_LOG } from '../support/check-copy.ts';
import { ForgetfulDisk } from '../support/forgetful-disk.ts';
import { History } from '../support/history.ts';
import { until } from '../support/sandbox.ts';
import { Served } from '../support/served.ts';

const rounds = Number(process.env.TUSK_ROUNDS ?? 15);
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
const STEPS_MAX = 150;
const ENOUGH = 1e9;

const served = new Served('full', { log: SMALL_LOG });
let disk: ForgetfulDisk;
beforeAll(async () => {
  disk = await ForgetfulDisk.mount(join(served.work, 'backing'), served.state);
});
afterAll(async () => {
  await served.kill();
  await disk.remove();
  await served.remove();
});

test(
  `${rounds} times full: ENOSPC and nothing worse, and all goes on when there is room`,
  async () => {
    console.log(
      `TUSK_SEED=${seed} TUSK_ROUNDS=${rounds} vitest run --project crash test/crash/full.test.ts`,
    );
    const random = seededRandom(seed);
    const history = new History(random, served.drive);
    let refused = 0;
    await served.start();
    for (let round = 0; round < rounds; round++) {
      const where = `TUSK_SEED=${seed}, round ${round}`;
      const isAtStart = round % 5 === 4;
      if (isAtStart) await served.kill();
      await disk.spaceFor(isAtStart ? random.below(8) : round);
      if (
        isAtStart &&
        !(await served.start().then(
          () => true,
          () => false,
        ))
      ) {
        refused++;
        await disk.spaceFor(ENOUGH);
        await served.start();
      }
      for (let steps = 0; steps < STEPS_MAX; steps++) {
        if (await history.step()) continue;
        expect(history.failure, where).toBe('ENOSPC');
        refused++;
        // What there is can be read on a full disk.
        await history.recognise();
        break;
      }
      await disk.spaceFor(ENOUGH);
      await until(`${where}: there is room again`, async () => {
        if (await history.step()) return true;
        expect(history.failure, where).toBe('ENOSPC');
        await history.recognise();
        return false;
      });
      await history.sync();
      await served.kill();
      expect(await findingsOnCopy(served), where).toEqual([]);
      await served.start();
      expect(await history.recognise(), where).toBe(0);
    }
    // Else the disk was never full.
    expect(refused).toBeGreaterThan(rounds / 4);
  },
  30_000 * rounds + 60_000,
);
