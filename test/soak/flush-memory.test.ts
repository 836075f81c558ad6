/** A daemon that flushes gigabytes holds no more memory than one that flushes a few packs. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { memoryMb } from '../bench/usage.ts';
import { Sandbox } from '../support/sandbox.ts';

const FILES = 8;
const FILE_MIB = 512;
const RESIDENT_MB_MAX = 400;
const FLUSH_MS = 1_800_000;

const sandbox = new Sandbox('flush-memory');
beforeAll(async () => {
  await sandbox.startLocalnet();
  await sandbox.create('v');
}, 120_000);
afterAll(() => sandbox.close(), 120_000);

test('4 GiB are flushed in less than 400 MB of memory', { timeout: FLUSH_MS }, async () => {
  const mount = await sandbox.mount('v');
  for (let i = 0; i < FILES; i++)
    await sandbox.sh(`head -c ${FILE_MIB}M /dev/urandom > ${mount}/f${i}`);
  const { status } = await sandbox.tuskfs(['sync', 'v'], { timeoutMs: FLUSH_MS });
  expect(status).toBe(0);
  const resident = memoryMb(await sandbox.pid('v'), 'VmHWM');
  console.log(JSON.stringify({ resident }));
  expect(resident).toBeLessThan(RESIDENT_MB_MAX);
});
