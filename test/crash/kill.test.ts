import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { Sandbox, until } from '../support/sandbox.ts';
import { noted } from '../support/writer.ts';

const KILLS = 20;
const FILES = 1200;
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 100_000);
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
  objectId: string;
  owner: string;
}

const ledgerBlobs = async (): Promise<LedgerBlob[]> => {
  const { rpcUrl } = await sandbox.localnet();
  const answer = await fetch(`${rpcUrl}/localnet/blobs`);
  return ((await answer.json()) as { blobs: LedgerBlob[] }).blobs;
};

const node = (name: string, args: string[]) =>
  sandbox.run(process.execPath, [program(name), ...args]);

describe('the daemon killed at random moments', () => {
  it(`${KILLS} times: everything answered is there, in the end all is identical and paid once`, async () => {
    const random = seededRandom(seed);
    const notes = sandbox.path('notes');
    let mountPoint = await sandbox.mount('drive');
    const { wallet } = await sandbox.status('drive');
    for (let kill = 0; kill < KILLS; kill++) {
      const writer = sandbox.spawn(process.execPath, [
        program('writer.ts'),
        mountPoint,
        notes,
        `${FILES}`,
        `${seed}`,
      ]);
      const ended = new Promise<void>(resolve => writer.once('exit', () => resolve()));
      const { pid } = await sandbox.status('drive');
      // Half of the kills strike a flush that was just asked for; prices are voted up and down meanwhile.
      const syncing =
        kill % 2 === 1 ? sandbox.tuskfs(['sync', 'drive', '--timeout', '30s']) : undefined;
      if (kill % 4 === 1) {
        await sandbox.ok([
          'localnet',
          'price',
          `${100 + random.below(10)}`,
          `${200 + random.below(20)}`,
        ]);
      }
      await new Promise(resolve => setTimeout(resolve, 100 + random.below(1400)));
      process.kill(pid, 'SIGKILL');
      await ended;
      await syncing;

      const checked = await node('check-index.ts', [sandbox.state('drive')]);
      expect(checked.stdout, `TUSK_SEED=${seed} kill ${kill}`).toBe('');
      expect(checked.status, checked.stderr).toBe(0);
      mountPoint = await sandbox.mount('drive');
      const verified = await node('verify.ts', [mountPoint, notes, '0', `${seed}`]);
      expect(verified.stdout, `TUSK_SEED=${seed} kill ${kill}`).toBe('');
    }
    expect(noted(notes).length).toBeGreaterThan(20);
    const rest = await node('writer.ts', [
      mountPoint,
      notes,
      `${Math.max(200, noted(notes).length)}`,
      `${seed}`,
    ]);
    expect(rest.stderr).toBe('');
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await until(
      'the tails of all uploads have ended',
      async () => (await sandbox.status('drive')).flush.packsPending === 0,
    );
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);

    mountPoint = await sandbox.mount('drive');
    const verified = await node('verify.ts', [mountPoint, notes, '0', `${seed}`]);
    expect(verified.stdout, `TUSK_SEED=${seed}`).toBe('');
    await sandbox.umount(mountPoint);
    const checked = await node('check-index.ts', [sandbox.state('drive')]);
    expect(checked.stdout).toBe('');

    const blobs = (await ledgerBlobs()).filter(blob => blob.owner === wallet.address);
    expect(new Set(blobs.map(blob => blob.blobId)).size, 'no pack is registered twice').toBe(
      blobs.length,
    );
    const salts = await node('pack-salts.ts', [
      (await sandbox.localnet()).rpcUrl,
      ...blobs.map(blob => blob.blobId),
    ]);
    expect(salts.stderr).toBe('');
    const listed = salts.stdout.trim().split('\n');
    expect(listed.length).toBeGreaterThan(0);
    expect(new Set(listed).size, 'no salt occurs twice').toBe(listed.length);
  }, 600_000);
});
