/**
 * fsx on a whole drive: while three of it write, read back, map, punch and copy, the flush takes
 * their files to the network, and every local copy that may go is dropped, in the kernel too.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { install } from '../support/crates.ts';
import { Sandbox } from '../support/sandbox.ts';

/** Of each. */
const OPERATIONS = 100_000;
/** They take two minutes on two cores; a mount that hangs takes for ever. */
const LIMIT_MS = 900_000;
/** Between one eviction and the next flush: so that most of the processors' time is the files'. */
const PAUSE_MS = 2000;

const first = Number(process.env.TUSK_SEED ?? 1);
const seeds = [first, first + 1, first + 2];
const settings = fileURLToPath(new URL('../mount/fsx.toml', import.meta.url));
const box = new Sandbox('fsx');
let program: string;

beforeAll(async () => {
  program = install('fsx');
  await box.startLocalnet();
  await box.create('main');
});
afterAll(() => box.close());

test(
  `files under fsx, flushed and evicted meanwhile (TUSK_SEED=${first})`,
  async () => {
    let mountPoint = await box.mount('main');
    const args = ['-f', settings, '-N', `${OPERATIONS}`, '-P', box.root];
    const run = (seed: number) =>
      box.run(program, [...args, '-S', `${seed}`, `${mountPoint}/${seed}`], {
        timeoutMs: LIMIT_MS,
      });
    let isOver = false;
    const fsx = Promise.all(seeds.map(run)).finally(() => {
      isOver = true;
    });
    let checkpoints = 0;
    while (!isOver) {
      await box.sync('main');
      checkpoints++;
      // What is staged by now stays; the command says so and ends with `pending`.
      await box.tuskfs(['cache', 'drop', 'main']);
      writeFileSync('/proc/sys/vm/drop_caches', '1');
      await setTimeout(PAUSE_MS);
    }
    for (const ended of await fsx) expect(ended).toMatchObject({ status: 0 });
    expect(checkpoints).toBeGreaterThan(3);
    const sums = await box.sh('sha256sum *', mountPoint);
    await box.umount(mountPoint);
    await box.ok(['cache', 'drop', 'main']);
    mountPoint = await box.mount('main');
    expect(await box.sh('sha256sum *', mountPoint)).toBe(sums);
    await box.umount(mountPoint);
  },
  2 * LIMIT_MS,
);
