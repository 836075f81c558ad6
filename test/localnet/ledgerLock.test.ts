import { Transaction } from '@mysten/sui/transactions';
import { expect, it } from 'vitest';

// Planned before the ledger is loaded: the first accepted transaction stops between lock and execution.
process.env.TUSKFS_FAILPOINTS = 'ledger.locked:1=error';
const { clientsOf, execute, fundedWallet, sign, startTestLedger } = await import('./ledgerKit.ts');

it('an accepted transaction holds its versions: only the same bytes may go on until the epoch ends', async () => {
  const ledger = await startTestLedger();
  try {
    const { handle } = ledger;
    const wallet = fundedWallet(handle);
    const { sui } = clientsOf(handle);
    const coinType = handle.ledger.machine.network.names.wal;
    const [coin] = (await sui.core.listCoins({ owner: wallet.address, coinType })).objects;
    const send = async (to: string, epoch?: number) => {
      const transaction = new Transaction();
      transaction.transferObjects([transaction.object(coin!.objectId)], to);
      if (epoch !== undefined) transaction.setExpiration({ Epoch: epoch });
      return sign(handle, wallet.keypair, transaction);
    };
    const first = await send(`0x${'1'.repeat(64)}`);
    const second = await send(`0x${'2'.repeat(64)}`);
    await expect(execute(handle, first)).rejects.toThrow(/failpoint/);
    const locked = new RegExp(`${coin!.objectId} version ${coin!.version} is already locked`);
    await expect(execute(handle, second)).rejects.toThrow(locked);
    await handle.close();
    const { startLedger } = await import('../../src/localnet/ledger/server.ts');
    const again = await startLedger({ directory: ledger.directory, port: 0 });
    try {
      await expect(execute(again, second)).rejects.toThrow(locked);
      again.ledger.advanceEpoch();
      expect((await execute(again, second)).status.success).toBe(true);
      await expect(execute(again, first)).rejects.toThrow(/unavailable for consumption/);
    } finally {
      await again.close();
    }
  } finally {
    await ledger.remove();
  }
});
