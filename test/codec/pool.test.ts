/** Heavy work does not take a processor from the thread that answers the kernel. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
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
