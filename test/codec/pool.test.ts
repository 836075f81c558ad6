/** Heavy work does not take a processor from the thread that answers the kernel. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { native } from '../../src/native.ts';

const directory = mkdtempSync(join(tmpdir(), 'tuskfs-pool-'));
afterAll(() => rmSync(directory, { recursive: true }));

test('encoding runs on as many threads as there are processors at most, of a lower priority than this one', async () => {
  const path = join(directory, 'blob');
  writeFileSync(path, Buffer.alloc(1 << 20, 1));
  await native.encodeFile(path, 100, join(directory, 'slivers'));
  const nameOf = (thread: string) => readFileSync(`/proc/self/task/${thread}/comm`, 'latin1');
  const pool = readdirSync('/proc/self/task').filter(thread =>
    nameOf(thread).startsWith('tuskfs-pool'),
  );
  expect(pool.length).toBeGreaterThan(0);
  expect(pool.length).toBeLessThanOrEqual(availableParallelism());
  for (const thread of pool) expect(getPriority(Number(thread))).toBeGreaterThan(getPriority());
});

test('who reads does not wait for the end of an encoding', async () => {
  const [key, aad, plain] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(65_536, 3)];
  const { sealed, compression } = await native.sealBytes(key, aad, 1, plain);
  const path = join(directory, 'large');
  writeFileSync(path, Buffer.alloc(32 << 20, 1));
  let isOver = false;
  const encoding = native.encodeFile(path, 100, join(directory, 'large.slivers')).finally(() => {
    isOver = true;
  });
  await setTimeout(50);
  let opened = 0;
  while (!isOver) {
    await native.openFrame(key, aad, 1, compression, plain.length, sealed);
    opened++;
    await setTimeout(1);
  }
  await encoding;
  expect(opened).toBeGreaterThan(10);
});
