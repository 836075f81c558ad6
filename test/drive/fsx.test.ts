/**
 * fsx on a whole drive: while it writes, reads back, maps, punches and copies, the flush takes the
 * same file to the network, and every local copy that may go is dropped, in the kernel too.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { install } from '../support/crates.ts';
import { Sandbox } from '../support/sandbox.ts';

/** Enough for several checkpoints while it runs. */
const OPERATIONS = 20_000;
const settings = fileURLToPath(new URL('../mount/fsx.toml', import.meta.url));
const box = new Sandbox('fsx');
let program: string;

beforeAll(async () => {
  program = install('fsx');
  await box.startLocalnet();
  await box.create('main');
});
afterAll(() => box.close());

test.each(['11', '12'])('a file under fsx, flushed and evicted meanwhile (seed %s)', async seed => {
  let mountPoint = await box.mount('main');
  const args = ['-f', settings, '-S', seed, '-N', `${OPERATIONS}`, '-P', box.root];
  let isOver = false;
  const fsx = box.run(program, [...args, `${mountPoint}/fsx`]).finally(() => {
    isOver = true;
  });
  let checkpoints = 0;
  while (!isOver) {
    await box.sync('main');
    checkpoints++;
    // What is staged by now stays; the command says so and ends with `pending`.
    await box.tuskfs(['cache', 'drop', 'main']);
    writeFileSync('/proc/sys/vm/drop_caches', '1');
  }
  expect(await fsx).toMatchObject({ status: 0 });
  expect(checkpoints).toBeGreaterThan(1);
  const sum = await box.sh(`sha256sum < ${mountPoint}/fsx`);
  await box.umount(mountPoint);
  await box.ok(['cache', 'drop', 'main']);
  mountPoint = await box.mount('main');
  expect(await box.sh(`sha256sum < ${mountPoint}/fsx`)).toBe(sum);
  await box.umount(mountPoint);
});
