/** What the ledger of a localnet says about a volume's money: each pack registered, certified and paid once. */
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { StatusReport } from '../../src/daemon/report.ts';
import { type Sandbox, until } from './sandbox.ts';

const saltsPath = fileURLToPath(new URL('./pack-salts.ts', import.meta.url));

/** A registered blob as the ledger lists it. */
interface LedgerBlob {
  blobId: string;
  owner: string;
  certifiedEpoch: number | null;
}

/** Status of a mounted volume once its daemon knows what the wallet holds. */
export const accountsOf = async (sandbox: Sandbox, volume: string): Promise<StatusReport> => {
  let found = await sandbox.status(volume);
  await until('the balance is known', async () => {
    if (found.wallet.wal === null) found = await sandbox.status(volume);
    return found.wallet.wal !== null;
  });
  return found;
};

/** Blobs that an address owns. */
export const blobsOf = async (sandbox: Sandbox, owner: string): Promise<LedgerBlob[]> => {
  const answer = await fetch(`${sandbox.rpcUrl}/localnet/blobs`);
  const { blobs } = (await answer.json()) as { blobs: LedgerBlob[] };
  return blobs.filter(blob => blob.owner === owner);
};

/**
 * Everything a mounted volume has paid since `start` (its first accounts) is in its books once, for
 * blobs that differ and are all certified. Returns their IDs.
 */
export const expectPaidOnce = async (
  sandbox: Sandbox,
  volume: string,
  start: StatusReport,
): Promise<string[]> => {
  const { wallet, cost } = await accountsOf(sandbox, volume);
  expect(BigInt(start.wallet.wal!) - BigInt(wallet.wal!), 'WAL').toBe(BigInt(cost.wal));
  expect(BigInt(start.wallet.sui!) - BigInt(wallet.sui!), 'SUI').toBe(BigInt(cost.sui));
  const blobs = await blobsOf(sandbox, wallet.address);
  const ids = blobs.map(({ blobId }) => blobId);
  expect(cost.packs).toBe(ids.length);
  expect(new Set(ids).size, 'no pack is registered twice').toBe(ids.length);
  expect(blobs.filter(({ certifiedEpoch }) => certifiedEpoch === null)).toEqual([]);
  return ids;
};

/** The packs as the network holds them were each sealed under a salt of their own. */
export const expectSaltsDiffer = async (sandbox: Sandbox, blobIds: string[]): Promise<void> => {
  const { stdout, stderr } = await sandbox.run(process.execPath, [
    ...[saltsPath, sandbox.rpcUrl],
    ...blobIds,
  ]);
  const salts = stdout.trim().split('\n');
  expect(salts.length, stderr).toBe(blobIds.length);
  expect(new Set(salts).size, 'no salt occurs twice').toBe(blobIds.length);
};
