/**
 * Power failures: the state directory lies on a disk that forgets, reorders and tears what was not
 * synced. After each cut the tree is the tree after some step of its history, no older than the
 * last fsync, and a check finds nothing. One seed is one history: `TUSK_SEED=N`; `TUSK_CUTS=N` for
 * more of them.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { findingsOnCopy, SMALL_LOG } from '../support/check-copy.ts';
import { ForgetfulDisk } from '../support/forgetful-disk.ts';
import { History } from '../support/history.ts';
import { Served } from '../support/served.ts';

const cuts = Number(process.env.TUSK_CUTS ?? 20);
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);

const served = new Served('power', { log: SMALL_LOG });
let disk: ForgetfulDisk;
beforeAll(async () => {
  disk = await ForgetfulDisk.mount(join(served.work, 'backing'), served.state);
});
afterAll(async () => {
  await served.kill();
  await disk.remove();
  await served.remove();
});

/** Starts the daemon; false if the power failed meanwhile. */
const startOrCut = async (where: string): Promise<boolean> => {
  try {
    await served.start();
    return true;
  } catch (cause) {
    if (!disk.isCut) throw new Error(where, { cause });
    return false;
  }
};

test(
  `${cuts} power cuts: what was local is whole, the rest a prefix, and a check finds nothing`,
  async () => {
    console.log(
      `TUSK_SEED=${seed} TUSK_CUTS=${cuts} vitest run --project crash test/crash/power.test.ts`,
    );
    const random = seededRandom(seed);
    const history = new History(random, served.drive);
    const total = { steps: 0, lost: 0, bytes: 0, names: 0 };
    await served.start();
    for (let cut = 0; cut < cuts; cut++) {
      const where = `TUSK_SEED=${seed}, cut ${cut}`;
      const isAtStart = random.below(4) === 0;
      if (isAtStart) {
        // What a killed daemon left in memory only is replayed and made durable while the power fails.
        for (let left = random.below(30); left > 0 && (await history.step()); left--) total.steps++;
        await served.kill();
      }
      // Half of the cuts strike where a file gets or loses a name.
      if (random.below(2) === 0)
        await disk.cutAfter(random.below(isAtStart ? 8 : 30), random.below(4));
      else await disk.cutAfter(0, random.below(isAtStart ? 100 : 1000));
      let isUp = true;
      if (isAtStart) isUp = await startOrCut(where);
      while (isUp && !disk.isCut && (await history.step())) total.steps++;
      await served.kill();
      const { bytes, names } = await disk.powerCut(random.below(1e9));
      total.bytes += bytes;
      total.names += names;
      expect(await findingsOnCopy(served), where).toEqual([]);
      await served.start();
      total.lost += await history.recognise().catch(error => {
        throw new Error(where, { cause: error });
      });
    }
    console.log(JSON.stringify(total));
    // Else the disk forgot nothing, and nothing was shown.
    expect(Math.min(total.lost, total.bytes, total.names)).toBeGreaterThan(0);
  },
  30_000 * cuts + 60_000,
);
