/**
 * The daemon is killed at random moments while a program writes, a flush runs and prices change.
 * After each remount everything answered is there; in the end all is identical, and the ledger
 * shows that nothing was paid twice. One seed is one history: `TUSK_SEED=N` runs it again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { setPrices } from '../../src/localnet/control.ts';
import { accountsOf, expectPaidOnce, expectSaltsDiffer } from '../support/accounts.ts';
import { notedSteps } from '../support/notes.ts';
import { Sandbox, until } from '../support/sandbox.ts';

const KILLS = 20;
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
/** Between steps of the writer, so that it is still writing whenever the daemon dies. */
const PAUSE_MS = 8;
/** FROST a unit; votes move both by up to 10 %. */
const [STORAGE, WRITE] = [100_000, 20_000];

const program = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));

let sandbox: Sandbox;
let voting: NodeJS.Timeout | undefined;
beforeAll(async () => {
  sandbox = new Sandbox('kill');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => {
  clearInterval(voting);
  return sandbox.close();
});

const node = (name: string, args: string[]) =>
  sandbox.run(process.execPath, [program(name), ...args]);

/** Prints nothing but what is wrong; nothing may be. */
const finds = async (what: string, name: string, args: string[]): Promise<void> => {
  const { stdout, stderr, status } = await node(name, args);
  const where = `TUSK_SEED=${seed}, ${what}\n${stderr}`;
  expect(stdout, where).toBe('');
  expect(status, where).toBe(0);
};

/** A vote on prices, up or down. */
const vote = (random: Random): void => {
  const [storage, write] = [STORAGE, WRITE].map(price => price + random.below(price / 10));
  setPrices(sandbox.rpcUrl, BigInt(storage!), BigInt(write!)).catch(() => undefined);
};

/** Resolves when `steps` steps of packs were journalled from now on, or after `limitMs`. */
const journalled = async (steps: number, limitMs: number): Promise<void> => {
  const directory = join(sandbox.state('drive'), 'journal');
  const seen = new Set<string>();
  const look = (): number => {
    for (const name of readdirSync(directory)) {
      if (!name.endsWith('.jsonl') || name === 'spent.jsonl') continue;
      const lines = readIfThere(join(directory, name)).split('\n').length - 1;
      for (let line = 0; line < lines; line++) seen.add(`${name} ${line}`);
    }
    return seen.size;
  };
  const before = look();
  const end = performance.now() + limitMs;
  while (look() - before < steps && performance.now() < end) await sleep(5);
};

const readIfThere = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** One life of the daemon: the program writes on; it is killed after a time, or at some step of a flush. */
const liveAndDie = async (mountPoint: string, notes: string, random: Random, sync: boolean) => {
  const writer = sandbox.spawn(process.execPath, [
    program('writer.ts'),
    ...[mountPoint, notes, '1000000', `${seed}`, `${PAUSE_MS}`],
  ]);
  const synced = sync ? sandbox.tuskfs(['sync', 'drive']) : undefined;
  if (sync) await journalled(random.below(11), 6000);
  await sleep(sync ? random.below(200) : 200 + random.below(1300));
  await sandbox.kill('drive');
  await until('the writer has met the end of the drive', () => writer.exitCode !== null);
  expect(writer.exitCode, 'somebody else unmounted the drive').not.toBe(3);
  await synced;
};

describe('the daemon killed at random moments', () => {
  it(`${KILLS} times: everything answered is there, in the end all is identical and paid once`, async () => {
    console.log(`TUSK_SEED=${seed}`);
    const random = seededRandom(seed);
    const notes = sandbox.path('notes');
    let mountPoint = await sandbox.mount('drive');
    const start = await accountsOf(sandbox, 'drive');
    const votes = seededRandom(seed + 1);
    voting = setInterval(() => vote(votes), 100);
    for (let kill = 0; kill < KILLS; kill++) {
      // Every second kill strikes a flush that was just asked for.
      await liveAndDie(mountPoint, notes, random, kill % 2 === 1);
      await finds(`kill ${kill}`, 'check-index.ts', [sandbox.state('drive')]);
      mountPoint = await sandbox.mount('drive');
      await finds(`kill ${kill}`, 'verify.ts', [mountPoint, notes, `${seed}`]);
    }
    const steps = notedSteps(notes);
    expect(steps).toBeGreaterThan(10 * KILLS);
    await node('writer.ts', [mountPoint, notes, `${steps + 50}`, `${seed}`, '0']);
    expect(notedSteps(notes)).toBe(steps + 50);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    clearInterval(voting);
    await sandbox.tailsEnded('drive');
    const packs = await expectPaidOnce(sandbox, 'drive', start);
    await sandbox.umount(mountPoint);
    await finds('at the end', 'check-index.ts', [sandbox.state('drive')]);
    await sandbox.ok(['cache', 'drop', 'drive']);
    mountPoint = await sandbox.mount('drive');
    await finds('read from the network', 'verify.ts', [mountPoint, notes, `${seed}`]);
    await sandbox.umount(mountPoint);

    await expectSaltsDiffer(sandbox, packs);
    console.log(`${steps + 50} steps, ${packs.length} packs`);
  }, 600_000);
});
