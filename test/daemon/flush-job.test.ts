/** When a flush starts by itself. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FlushJob } from '../../src/daemon/flush-job.ts';

const MiB = 2 ** 20;
const LINGER_MS = 600_000;

/** What a copy into the drive has made of the index. */
const tree = { changes: 0, stagedBytes: 0 };
let flushes = 0;
let job: FlushJob;

beforeEach(() => {
  vi.useFakeTimers();
  Object.assign(tree, { changes: 0, stagedBytes: 0 });
  flushes = 0;
  const rest = { inodes: 1, stagedFiles: 0, oldestStagedMs: 0, contentBytes: 0 };
  job = new FlushJob({
    index: {
      changes: () => tree.changes,
      totals: () => ({ ...rest, stagedBytes: tree.stagedBytes }),
    },
    flush: async () => {
      flushes++;
      tree.stagedBytes = 0;
      const none = { packs: 1, bytesStored: 0, bytesShared: 0, wal: 0n, sui: 0n };
      return { stored: true, head: undefined, notRenewed: '', ...none };
    },
    isFull: () => false,
    makeRoom: async () => {},
    lingerMs: LINGER_MS,
    clock: {
      nowMs: () => Date.now(),
      monotonicMs: () => Date.now(),
      sleep: ms => new Promise(resolve => setTimeout(resolve, ms)),
    },
  });
});
afterEach(() => {
  job.stop();
  vi.useRealTimers();
});

/** Writes so much each second. */
const write = async (bytesASecond: number, seconds: number): Promise<void> => {
  for (let i = 0; i < seconds; i++) {
    job.wake();
    tree.changes++;
    tree.stagedBytes += bytesASecond;
    await vi.advanceTimersByTimeAsync(1000);
  }
};

test('a copy that goes on waits for the largest pack, one that is over for the smaller', async () => {
  await write(8 * MiB, 31);
  expect(flushes).toBe(0);
  await write(8 * MiB, 1);
  expect(flushes).toBe(1);
  await write(8 * MiB, 8);
  expect(flushes).toBe(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(flushes).toBe(2);
});

test('however little comes, nothing waits for longer than the linger', async () => {
  await write(1, LINGER_MS / 1000);
  expect(flushes).toBe(0);
  await write(1, 2);
  expect(flushes).toBe(1);
  await vi.advanceTimersByTimeAsync(LINGER_MS + 2000);
  expect(flushes).toBe(2);
  await vi.advanceTimersByTimeAsync(3 * LINGER_MS);
  expect(flushes).toBe(2);
});

test('at rest nothing is looked at, until something changes', async () => {
  await write(1, 1);
  await vi.advanceTimersByTimeAsync(LINGER_MS + 2000);
  expect([flushes, vi.getTimerCount()]).toEqual([1, 0]);
  await write(1, 1);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(LINGER_MS + 2000);
  expect([flushes, vi.getTimerCount()]).toEqual([2, 0]);
  job.stop();
  job.wake();
  expect(vi.getTimerCount()).toBe(0);
});
