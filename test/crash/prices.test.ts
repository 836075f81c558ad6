/**
 * Prices change at once, in the middle of an epoch: between a quote and the execution of what was
 * signed on it no flush may fail for a vote of a tenth, none may cost more than its limit.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusReport } from '../../src/daemon/report.ts';
import { wholeLines } from '../../src/flush/journal.ts';
import { setPrices } from '../../src/localnet/control.ts';
import { startTicksOf } from '../../src/localnet/process.ts';
import { accountsOf, expectPaidOnce } from '../support/accounts.ts';
import { Sandbox, until } from '../support/sandbox.ts';

/** FROST a unit of storage and epoch; writing costs a fifth. */
const PRICE = 1_000_000;
const EPOCHS = 5;
/** Most that a pack of this test may cost: units × (storage of all epochs + writing), at one and a half times the price. */
const limitOf = (units: number): number => units * (EPOCHS + 0.2) * PRICE * 1.5;
/** Packs of up to 90 KB stay below one MiB when encoded for 100 shards; all of this test are. */
const UNITS = 1;

let sandbox: Sandbox;
let start: StatusReport;
let files = 0;
beforeAll(async () => {
  sandbox = new Sandbox('prices');
  await sandbox.startLocalnet();
  await vote(1);
  const limit = `${limitOf(UNITS) / 1e9}`;
  await sandbox.ok([
    ...['create', 'drive', '--network', 'localnet'],
    ...['--epochs', `${EPOCHS}`, '--max-pack-cost', limit],
  ]);
  const mountPoint = await sandbox.mount('drive');
  start = await accountsOf(sandbox, 'drive');
  await sandbox.umount(mountPoint);
});
afterAll(() => sandbox.close());

/** Prices become `factor` times the usual ones. */
const vote = (factor: number): Promise<string> =>
  sandbox.ok(['localnet', 'price', `${PRICE * factor}`, `${(PRICE * factor) / 5}`]);

const write = (mountPoint: string): Promise<string> =>
  sandbox.sh(`head -c 10000 /dev/urandom > ${mountPoint}/file${files++}`);

/** Cost of each registration so far, in FROST, oldest first. */
const registrations = (): number[] => {
  const path = join(sandbox.state('drive'), 'journal', 'spent.jsonl');
  return wholeLines(path)
    .map(line => JSON.parse(line) as { wal: string; encodedBytes: number })
    .filter(({ encodedBytes }) => encodedBytes > 0)
    .map(({ wal }) => Number(wal));
};

/** Transactions of the volume's wallet that were executed and failed. */
const failures = async (): Promise<number> => {
  const { address } = start.wallet;
  const answer = await fetch(`${sandbox.rpcUrl}/localnet/transactions?sender=${address}`);
  const { transactions } = (await answer.json()) as { transactions: { ok: boolean }[] };
  return transactions.filter(({ ok }) => !ok).length;
};

/** A daemon that dies with a registration signed and not sent. */
const dieWithQuote = async (): Promise<void> => {
  const mountPoint = await sandbox.mount('drive', [], {
    TUSKFS_FAILPOINTS: 'flush.register_signed',
    TUSKFS_FAILPOINT_FILE: sandbox.path(`fired${files}`),
  });
  const pid = await sandbox.orphan('drive');
  await write(mountPoint);
  await sandbox.tuskfs(['sync', 'drive']);
  await until('the daemon has died', () => startTicksOf(pid) === undefined);
};

const settled = { pending: '', pendingBytes: 0 };

describe('a vote on prices', () => {
  it('up and down by a tenth all the time: every sync succeeds, nothing fails on chain', async () => {
    const mountPoint = await sandbox.mount('drive');
    const factors = [1, 1.1, 1.03, 1.1, 1, 1.07];
    let votes = 0;
    const voting = setInterval(() => {
      const price = BigInt(Math.round(PRICE * factors[votes++ % factors.length]!));
      setPrices(sandbox.rpcUrl, price, price / 5n).catch(() => undefined);
    }, 100);
    try {
      for (let i = 0; i < 5; i++) {
        await write(mountPoint);
        expect(await sandbox.sync('drive')).toMatchObject(settled);
      }
    } finally {
      clearInterval(voting);
    }
    expect(votes).toBeGreaterThan(10);
    expect(await failures()).toBe(0);
    expect(registrations()).toHaveLength(5);
    await sandbox.umount(mountPoint);
  });

  it.each([
    { factor: 0.9, failed: 0 },
    { factor: 1.1, failed: 0 },
    { factor: 1.4, failed: 1 },
  ])(
    'times $factor between quote and execution, with a crash there',
    async ({ factor, failed }) => {
      await vote(1);
      const [before, paid] = [await failures(), registrations().length];
      await dieWithQuote();
      await vote(factor);
      const mountPoint = await sandbox.mount('drive');
      expect(await sandbox.sync('drive')).toMatchObject(settled);
      expect((await failures()) - before).toBe(failed);
      expect(registrations().slice(paid)).toEqual([UNITS * (EPOCHS + 0.2) * PRICE * factor]);
      await sandbox.umount(mountPoint);
    },
  );

  it('above the limit: nothing is paid and it says so; when the price falls it goes on by itself', async () => {
    await vote(1);
    const paid = registrations().length;
    await dieWithQuote();
    await vote(1.6);
    const mountPoint = await sandbox.mount('drive');
    const ended = await sandbox.tuskfs(['sync', 'drive']);
    expect(ended.stderr).toMatch(/above the limit/);
    expect(ended.status).toBe(7);
    expect(registrations()).toHaveLength(paid);
    await vote(1);
    await until('all is checkpointed', async () => {
      const { durability } = await sandbox.status('drive');
      return durability.local.files + durability.received.files === 0;
    });
    expect(registrations()).toHaveLength(paid + 1);
    await sandbox.tailsEnded('drive');
    await expectPaidOnce(sandbox, 'drive', start);
    for (const cost of registrations()) expect(cost).toBeLessThanOrEqual(limitOf(UNITS));
    await sandbox.umount(mountPoint);
  });
});
