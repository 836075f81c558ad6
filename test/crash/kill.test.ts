/**
 * The daemon is killed at random moments while a program writes, a flush runs and prices change.
 * After each remount everything answered is there; in the end all is identical, and the ledger
 * shows that nothing was paid twice. One seed is one history: `TUSK_SEED=N` runs it again.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { setPrices } from '../../src/localnet/control.ts';
import { notedSteps } from '../support/notes.ts';
import { Sandbox, until } from '../support/sandbox.ts';

const KILLS = Number(process.env.TUSK_KILLS ?? 20);
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
/** Between steps of the writer, so that it is still writing whenever the daemon dies. */
const PAUSE_MS = 8;
/** FROST a unit; votes move both by up to 10 %. */
const [STORAGE, WRITE] = [100_000, 20_000];

const program = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('kill');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => sandbox.close());

/** A registered blob as the ledger lists it. */
interface LedgerBlob {
  blobId: string;
  owner: string;
  certifiedEpoch: number | null;
}

const node = (name: string, args: string[]) =>
  sandbox.run(process.execPath, [program(name), ...args]);

/** Prints nothing but what is wrong; nothing may be. */
const finds = async (what: string, name: string, args: string[]): Promise<void> => {
  const { stdout, stderr, status } = await node(name, args);
  const where = `TUSK_SEED=${seed}, ${what}\n${stderr}`;
  expect(stdout, where).toBe('');
  expect(status, where).toBe(0);
};

/** Votes prices up and down all the time until `stop` is called. */
const votes = (rpcUrl: string): { stop(): void } => {
  const random = seededRandom(seed + 1);
  const timer = setInterval(() => {
    const [storage, write] = [STORAGE, WRITE].map(price => price + random.below(price / 10));
    setPrices(rpcUrl, BigInt(storage!), BigInt(write!)).catch(() => undefined);
  }, 100);
  return { stop: () => clearInterval(timer) };
};

/** One life of the daemon: the program writes on, a flush may be asked for, then it is killed. */
const liveAndDie = async (mountPoint: string, notes: string, waitMs: number, sync: boolean) => {
  const { pid } = await sandbox.status('drive');
  const writer = sandbox.spawn(process.execPath, [
    program('writer.ts'),
    ...[mountPoint, notes, '1000000', `${seed}`, `${PAUSE_MS}`],
  ]);
  const ended = new Promise<void>(resolve => writer.once('exit', () => resolve()));
  const synced = sync ? sandbox.tuskfs(['sync', 'drive']) : undefined;
  await new Promise(resolve => setTimeout(resolve, waitMs));
  await sandbox.kill(pid);
  await Promise.all([ended, synced]);
};

describe('the daemon killed at random moments', () => {
  it(`${KILLS} times: everything answered is there, in the end all is identical and paid once`, async () => {
    console.log(`TUSK_SEED=${seed}`);
    const random = seededRandom(seed);
    const notes = sandbox.path('notes');
    const { rpcUrl } = await sandbox.localnet();
    let mountPoint = await sandbox.mount('drive');
    const start = await sandbox.status('drive');
    const voting = votes(rpcUrl);
    for (let kill = 0; kill < KILLS; kill++) {
      // Every second kill strikes a flush that was just asked for.
      await liveAndDie(mountPoint, notes, 200 + random.below(1800), kill % 2 === 1);
      await finds(`kill ${kill}`, 'check-index.ts', [sandbox.state('drive')]);
      mountPoint = await sandbox.mount('drive');
      await finds(`kill ${kill}`, 'verify.ts', [mountPoint, notes, `${seed}`]);
    }
    const steps = notedSteps(notes);
    expect(steps).toBeGreaterThan(10 * KILLS);
    await node('writer.ts', [mountPoint, notes, `${steps + 50}`, `${seed}`, '0']);
    expect(notedSteps(notes)).toBe(steps + 50);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    voting.stop();
    await until(
      'the tails of all uploads have ended',
      async () => (await sandbox.status('drive')).flush.packsPending === 0,
    );
    const { wallet, cost } = await sandbox.status('drive');
    expect(BigInt(start.wallet.wal!) - BigInt(wallet.wal!), 'WAL').toBe(BigInt(cost.wal));
    expect(BigInt(start.wallet.sui!) - BigInt(wallet.sui!), 'SUI').toBe(BigInt(cost.sui));

    await sandbox.umount(mountPoint);
    await finds('at the end', 'check-index.ts', [sandbox.state('drive')]);
    await sandbox.ok(['cache', 'drop', 'drive']);
    mountPoint = await sandbox.mount('drive');
    await finds('read from the network', 'verify.ts', [mountPoint, notes, `${seed}`]);
    await sandbox.umount(mountPoint);

    const answer = await fetch(`${rpcUrl}/localnet/blobs`);
    const { blobs } = (await answer.json()) as { blobs: LedgerBlob[] };
    const ours = blobs.filter(({ owner }) => owner === wallet.address);
    const ids = ours.map(({ blobId }) => blobId);
    expect(new Set(ids).size, 'no pack is registered twice').toBe(ids.length);
    expect(ours.every(({ certifiedEpoch }) => certifiedEpoch !== null)).toBe(true);
    expect(cost.packs).toBe(ids.length);
    const { stdout, stderr } = await node('pack-salts.ts', [rpcUrl, ...ids]);
    const salts = stdout.trim().split('\n');
    expect(salts.length, stderr).toBe(ids.length);
    expect(new Set(salts).size, 'no salt occurs twice').toBe(ids.length);
    console.log(`${steps + 50} steps, ${ids.length} packs`);
  }, 600_000);
});
