import { Transaction } from '@mysten/sui/transactions';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readSystem } from '../../src/localnet/ledger/epochs.ts';
import { Blob, StakingPool } from '../../src/localnet/ledger/layouts.ts';
import { balanceOf } from '../../src/localnet/ledger/objects.ts';
import {
  certificateMessage,
  certify,
  clientsOf,
  execute,
  fundedWallet,
  registration,
  sign,
  startTestLedger,
  type TestLedger,
} from './ledgerKit.ts';

let ledger: TestLedger;
beforeAll(async () => {
  ledger = await startTestLedger();
});
afterAll(() => ledger.remove());

/** All WAL and SUI there are, wherever they lie. */
const totals = () => {
  const { ledger: chain } = ledger.handle;
  const { names } = chain.machine.network;
  const coins = (type: string) =>
    chain.store.objectsOfType(type).reduce((sum, coin) => sum + balanceOf(coin)!, 0n);
  const state = readSystem(chain.view(), chain.machine.network);
  const rewards = state.future_accounting.ring_buffer.reduce((sum, e) => sum + e.rewards, 0n);
  const pools = chain.store
    .objectsOfType(names.pool)
    .reduce((sum, pool) => sum + StakingPool.parse(pool.contents).rewards_pool, 0n);
  const meta = (key: string) => BigInt(chain.store.meta(key)!);
  return {
    wal: coins(names.walCoin) + rewards + pools,
    sui: coins(names.suiCoin) + meta('gasCollected') + meta('storageFund'),
  };
};

/** Storage in use now, by the blobs and resources that there are; expired ones do not count. */
const reserved = (): bigint => {
  const { ledger: chain } = ledger.handle;
  const { names } = chain.machine.network;
  const epoch = chain.state().epoch;
  return chain.store
    .objectsOfType(names.blob)
    .map(object => Blob.parse(object.contents).storage)
    .filter(storage => storage.end_epoch > epoch)
    .reduce((sum, storage) => sum + storage.storage_size, 0n);
};

type Wallet = ReturnType<typeof fundedWallet>;
const act = (wallet: Wallet, transaction: Transaction) =>
  sign(ledger.handle, wallet.keypair, transaction).then(
    signed => execute(ledger.handle, signed),
    () => undefined,
  );
const firstBlob = () => {
  const { ledger: chain } = ledger.handle;
  return chain.store.objectsOfType(chain.machine.network.names.blob).at(0);
};

/** A blob that is still to be certified. */
const newBlob = () => {
  const { ledger: chain } = ledger.handle;
  return chain.store
    .objectsOfType(chain.machine.network.names.blob)
    .map(object => Blob.parse(object.contents))
    .find(blob => blob.certified_epoch === null && blob.storage.end_epoch > chain.state().epoch);
};

/** What one step does; unfit steps (nothing to extend, too poor) are refused or fail, which must conserve too. */
const steps: Record<string, (wallet: Wallet, n: number) => Promise<unknown>> = {
  register: async (wallet, n) => {
    const { transaction } = await registration(ledger, wallet.address, {
      fill: n % 256,
      epochs: 1 + (n % 4),
      deletable: n % 3 !== 0,
    });
    return act(wallet, transaction);
  },
  certify: async wallet => {
    const blob = newBlob();
    if (blob === undefined) return;
    const blobId = Buffer.from(blob.blob_id.toString(16).padStart(64, '0'), 'hex')
      .reverse()
      .toString('base64url');
    const { epoch } = ledger.handle.ledger.state();
    const message = certificateMessage(epoch, blobId, blob.deletable ? blob.id : undefined);
    const transaction = clientsOf(ledger.handle).walrus.certifyBlobTransaction({
      blobId,
      blobObjectId: blob.id,
      deletable: blob.deletable,
      certificate: certify(ledger, [0, 1, 2, 3, 4, 5, 6, 7, 8], message),
    });
    return act(wallet, transaction);
  },
  extend: async (wallet, n) => {
    const object = firstBlob();
    if (object === undefined) return;
    const { walrus } = clientsOf(ledger.handle);
    const options = { blobObjectId: object.id, epochs: 1 + (n % 3) };
    return act(wallet, await walrus.extendBlobTransaction(options));
  },
  burn: async wallet => {
    const object = firstBlob();
    if (object === undefined) return;
    const transaction = new Transaction();
    const { currentPackage } = ledger.handle.ledger.machine.network.ids;
    transaction.moveCall({
      target: `${currentPackage}::blob::burn`,
      arguments: [transaction.object(object.id)],
    });
    return act(wallet, transaction);
  },
  fail: async (wallet, n) => {
    const transaction = new Transaction();
    const { ledger: chain } = ledger.handle;
    const { suiCoin } = chain.machine.network.names;
    const coins = chain.view().owned(wallet.address, suiCoin, '', 1000);
    const gas = coins.reduce((a, b) => (balanceOf(a)! > balanceOf(b)! ? a : b));
    // Everything decided here: no trial run stands between this and its failure.
    transaction.setGasPayment([{ ...gas, objectId: gas.id }]);
    transaction.setGasPrice(1000);
    transaction.setGasBudget(3_000_000 + n);
    transaction.setExpiration({ None: true });
    const parts = transaction.splitCoins(transaction.gas, [n, 10n ** 18n]);
    transaction.transferObjects([parts[0]!, parts[1]!], wallet.address);
    const result = await act(wallet, transaction);
    expect(result?.status.success).toBe(false);
    return result;
  },
  split: async (wallet, n) => {
    const transaction = new Transaction();
    const parts = transaction.splitCoins(transaction.gas, [n, 1]);
    transaction.mergeCoins(parts[0]!, [parts[1]!]);
    transaction.transferObjects([parts[0]!], wallet.address);
    return act(wallet, transaction);
  },
  epoch: async () => ledger.handle.ledger.advanceEpoch(),
  price: async (_wallet, n) =>
    ledger.handle.ledger.setPrices({ storage: BigInt(n), write: BigInt(n % 777) }),
};

const START = ['register', 'certify', 'split'].map((name, n) => ({ name, n }));
const worked = (result: unknown): boolean =>
  (result as { status?: { success: boolean } } | undefined)?.status?.success === true;

it('no WAL and no SUI appears or vanishes, whatever happens, and capacity is what is reserved', async () => {
  const wallet = fundedWallet(ledger.handle);
  const step = fc.record({
    name: fc.constantFrom(...Object.keys(steps)),
    n: fc.integer({ min: 0, max: 200_000 }),
  });
  const succeeded = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async sequence => {
      const before = totals();
      for (const { name, n } of [...START, ...sequence]) {
        const result = await steps[name]!(wallet, n);
        if (worked(result)) succeeded.add(name);
        const { wal, sui } = totals();
        expect(`${name}: ${wal} ${sui}`).toBe(`${name}: ${before.wal} ${before.sui}`);
      }
      const { ledger: chain } = ledger.handle;
      const state = readSystem(chain.view(), chain.machine.network);
      // Burning gives no capacity back before its epochs have passed.
      expect(state.used_capacity_size).toBeGreaterThanOrEqual(reserved());
    }),
    { numRuns: 6 },
  );
  // These must have worked for the sums to say anything.
  for (const { name } of START) expect([...succeeded]).toContain(name);
});
