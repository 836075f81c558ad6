import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { coinWithBalance, Transaction } from '@mysten/sui/transactions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLedger } from '../../src/localnet/ledger/server.ts';
import {
  certificateMessage,
  certify,
  clientsOf,
  execute,
  fundedWallet,
  get,
  post,
  register,
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

const ALL = Array.from({ length: 13 }, (_, i) => i);
/** How the SDK words the abort of a module. */
const abortOf = (module: string, code: number) =>
  new RegExp(`abort code: ${code}, in '0x[0-9a-f]+::${module}::`);
const suiCoins = async (address: string) =>
  (await clientsOf(ledger.handle).sui.core.listCoins({ owner: address })).objects;
const walCoins = async (address: string) => {
  const coinType = ledger.handle.ledger.machine.network.names.wal;
  return (await clientsOf(ledger.handle).sui.core.listCoins({ owner: address, coinType })).objects;
};
const send = (coinId: string, to: string) => {
  const transaction = new Transaction();
  transaction.transferObjects([transaction.object(coinId)], to);
  return transaction;
};

describe('owned objects', () => {
  it('refuses stale versions, wrong owners and wrong digests, and executes nothing', async () => {
    const { handle } = ledger;
    const a = fundedWallet(handle);
    const b = fundedWallet(handle);
    const coin = (await walCoins(a.address))[0]!;
    const first = await sign(handle, a.keypair, send(coin.objectId, b.address));
    const second = await sign(handle, a.keypair, send(coin.objectId, a.address));
    expect((await execute(handle, first)).status.success).toBe(true);
    await expect(execute(handle, second)).rejects.toThrow(
      new RegExp(`object ${coin.objectId}.*version ${coin.version}.*current version`),
    );
    await expect(sign(handle, a.keypair, send(coin.objectId, a.address))).rejects.toThrow(
      /owned by account address/,
    );
    expect((await walCoins(b.address)).map(c => c.objectId)).toContain(coin.objectId);
  });

  it('takes only what the sender signed', async () => {
    const { handle } = ledger;
    const a = fundedWallet(handle);
    const { bytes } = await sign(
      handle,
      a.keypair,
      send((await walCoins(a.address))[0]!.objectId, a.address),
    );
    const { signature } = await new Ed25519Keypair().signTransaction(bytes);
    await expect(execute(handle, { bytes, signature })).rejects.toThrow(/did not sign/);
    const own = await a.keypair.signTransaction(bytes);
    const flipped = Buffer.from(own.signature, 'base64');
    flipped[10]! ^= 1;
    await expect(execute(handle, { bytes, signature: flipped.toString('base64') })).rejects.toThrow(
      /signature is not valid/i,
    );
  });

  it('answers the same bytes with the same result, once', async () => {
    const { handle } = ledger;
    const a = fundedWallet(handle);
    const { transaction, blobId } = await registration(ledger, a.address, { fill: 77 });
    const signed = await sign(handle, a.keypair, transaction);
    const [one, two] = await Promise.all([execute(handle, signed), execute(handle, signed)]);
    const three = await execute(handle, signed);
    expect(one.status.success).toBe(true);
    expect(two).toEqual(one);
    expect(three).toEqual(one);
    const { blobs } = (await get(handle, 'blobs')) as unknown as { blobs: { blobId: string }[] };
    expect(blobs.filter(blob => blob.blobId === blobId)).toHaveLength(1);
  });
});

describe('gas', () => {
  it('joins several coins, charges failures, and moves every named version on', async () => {
    const { handle } = ledger;
    const a = fundedWallet(handle, 10n ** 9n, 10n ** 8n);
    for (let i = 0; i < 3; i++) handle.ledger.faucet(a.address, 0n, 10n ** 7n);
    const coins = await suiCoins(a.address);
    const [wal] = await walCoins(a.address);
    const transaction = new Transaction();
    transaction.setGasPayment(
      coins.map(({ objectId, version, digest }) => ({ objectId, version, digest })),
    );
    const [part] = transaction.splitCoins(transaction.objectRef(wal!), [10n ** 12n]);
    transaction.transferObjects([part!], a.address);
    transaction.setGasBudget(5_000_000);
    transaction.setGasPrice(1000);
    transaction.setExpiration({ None: true });
    const result = await execute(handle, await sign(handle, a.keypair, transaction));
    expect(result.status.success).toBe(false);
    expect(result.status.error?.message).toMatch(/were to be split off/);
    const [left, ...others] = await suiCoins(a.address);
    expect(others).toEqual([]);
    const { gasUsed } = result.effects!;
    const net =
      BigInt(gasUsed.computationCost) + BigInt(gasUsed.storageCost) - BigInt(gasUsed.storageRebate);
    expect(BigInt(left!.balance)).toBe(13n * 10n ** 7n - net);
    const [after] = await walCoins(a.address);
    expect(after!.balance).toBe(wal!.balance);
    expect(after!.version).toBe(left!.version);
    expect(BigInt(after!.version)).toBeGreaterThan(BigInt(wal!.version));
  });

  it('refuses budgets that no coin covers, and too low prices', async () => {
    const { handle } = ledger;
    const poor = fundedWallet(handle, 10n ** 9n, 1000n);
    const [wal] = await walCoins(poor.address);
    await expect(sign(handle, poor.keypair, send(wal!.objectId, poor.address))).rejects.toThrow(
      /insufficient SUI balance/,
    );
    const rich = fundedWallet(handle);
    const cheap = send((await walCoins(rich.address))[0]!.objectId, rich.address);
    cheap.setGasPrice(1);
    await expect(sign(handle, rich.keypair, cheap)).rejects.toThrow(/reference gas price/);
  });
});

describe('certificates', () => {
  const attempt = async (
    wallet: ReturnType<typeof fundedWallet>,
    ids: { blobId: string; objectId: string },
    signers: number[],
    message: Buffer,
    spoil: (certificate: ReturnType<typeof certify>) => void = () => {},
  ) => {
    const certificate = certify(ledger, signers, message);
    spoil(certificate);
    const transaction = clientsOf(ledger.handle).walrus.certifyBlobTransaction({
      blobId: ids.blobId,
      blobObjectId: ids.objectId,
      deletable: true,
      certificate,
    });
    transaction.setGasBudget(50_000_000);
    transaction.setSender(wallet.address);
    return sign(ledger.handle, wallet.keypair, transaction);
  };

  it('aborts with the codes of the contract', async () => {
    const wallet = fundedWallet(ledger.handle);
    const ids = await register(ledger, wallet, { fill: 3 });
    const good = certificateMessage(1, ids.blobId, ids.objectId);
    // 13 shards need 9: 3·8 < 2·13 + 1.
    await expect(attempt(wallet, ids, ALL.slice(0, 8), good)).rejects.toThrow(
      abortOf('bls_aggregate', 2),
    );
    const flip = (certificate: ReturnType<typeof certify>) => {
      certificate.signers[0] = 9;
    };
    await expect(attempt(wallet, ids, ALL.slice(0, 9), good, flip)).rejects.toThrow(
      abortOf('bls_aggregate', 1),
    );
    const old = certificateMessage(0, ids.blobId, ids.objectId);
    await expect(attempt(wallet, ids, ALL, old)).rejects.toThrow(abortOf('messages', 1));
    const permanent = certificateMessage(1, ids.blobId);
    await expect(attempt(wallet, ids, ALL, permanent)).rejects.toThrow(abortOf('blob', 9));
    const other = certificateMessage(1, ids.blobId, `0x${'12'.repeat(32)}`);
    await expect(attempt(wallet, ids, ALL, other)).rejects.toThrow(abortOf('blob', 10));
    const signed = await attempt(wallet, ids, ALL.slice(4), good);
    expect((await execute(ledger.handle, signed)).status.success).toBe(true);
    await expect(attempt(wallet, ids, ALL, good)).rejects.toThrow(abortOf('blob', 5));
  });
});

describe('prices and epochs', () => {
  it("a vote between quote and execution aborts the SDK's exact coin in destroy_zero", async () => {
    const { handle } = ledger;
    const wallet = fundedWallet(handle);
    const { transaction } = await registration(ledger, wallet.address, { fill: 9 });
    const dear = await sign(handle, wallet.keypair, transaction);
    expect((await post(handle, 'price', { storage: '50000', write: 20_000 })).status).toBe(200);
    const result = await execute(handle, dear);
    await post(handle, 'price', { storage: '100000', write: '20000' });
    expect(result.status.success).toBe(false);
    const error = result.status.error!;
    expect(error.$kind).toBe('MoveAbort');
    expect(error.MoveAbort).toMatchObject({
      abortCode: '0',
      location: { module: 'balance', functionName: 'destroy_zero' },
    });
  });

  it('frees capacity when storage ends, and holds its bounds', async () => {
    const small = await startTestLedger({ capacityBytes: 1_000_000n });
    try {
      const wallet = fundedWallet(small.handle);
      const { objectId } = await register(small, wallet, { fill: 1, epochs: 1, size: 180_000 });
      await expect(register(small, wallet, { fill: 2, size: 180_000 })).rejects.toThrow(
        abortOf('system_state_inner', 1),
      );
      await expect(register(small, wallet, { fill: 2, epochs: 54 })).rejects.toThrow(
        abortOf('system_state_inner', 2),
      );
      expect((await post(small.handle, 'epoch/advance')).body).toMatchObject({ epoch: 2 });
      await register(small, wallet, { fill: 2, size: 180_000 });
      const { walrus } = clientsOf(small.handle);
      await expect(
        walrus.executeDeleteBlobTransaction({ signer: wallet.keypair, blobObjectId: objectId }),
      ).rejects.toThrow(abortOf('blob', 2));
    } finally {
      await small.remove();
    }
  });

  it('forgets transactions that expired', async () => {
    const { handle } = ledger;
    const wallet = fundedWallet(handle);
    const transaction = send((await walCoins(wallet.address))[0]!.objectId, wallet.address);
    transaction.setExpiration({ Epoch: handle.ledger.suiEpoch() - 1 });
    transaction.setGasBudget(10_000_000);
    const signed = await sign(handle, wallet.keypair, transaction);
    await expect(execute(handle, signed)).rejects.toThrow(/expired/);
  });
});

describe('limits of Sui', () => {
  it('holds 16 KiB a pure argument, 1,024 commands, 50 objects a page', async () => {
    const { handle } = ledger;
    const wallet = fundedWallet(handle);
    const big = new Transaction();
    big.pure(new Uint8Array(16 * 1024 + 1));
    big.transferObjects([coinWithBalance({ balance: 1 })], wallet.address);
    await expect(sign(handle, wallet.keypair, big)).rejects.toThrow(/size limit exceeded/);
    const long = new Transaction();
    const amounts = Array.from({ length: 1025 }, () => long.splitCoins(long.gas, [1]));
    long.transferObjects(amounts, wallet.address);
    await expect(sign(handle, wallet.keypair, long)).rejects.toThrow(/commands exceed/);
    for (let i = 0; i < 60; i++) handle.ledger.faucet(wallet.address, 1n, 0n);
    const { core } = clientsOf(handle).sui;
    const coinType = handle.ledger.machine.network.names.wal;
    const one = await core.listCoins({ owner: wallet.address, coinType });
    const two = await core.listCoins({ owner: wallet.address, coinType, cursor: one.cursor });
    expect([one.objects.length, one.hasNextPage]).toEqual([50, true]);
    expect([two.objects.length, two.hasNextPage]).toEqual([11, false]);
    expect(new Set([...one.objects, ...two.objects].map(coin => coin.objectId)).size).toBe(61);
    // The SDK pages through all of them to pay one sum.
    const all = new Transaction();
    all.transferObjects(
      [coinWithBalance({ type: coinType, balance: 10n ** 12n + 60n })],
      wallet.address,
    );
    expect((await execute(handle, await sign(handle, wallet.keypair, all))).status.success).toBe(
      true,
    );
    expect((await walCoins(wallet.address)).map(coin => coin.balance)).toEqual([
      `${10n ** 12n + 60n}`,
    ]);
  });

  it('fails what Move would not compile', async () => {
    const { handle } = ledger;
    const wallet = fundedWallet(handle);
    const { currentPackage, systemObject, originalPackage } = handle.ledger.machine.network.ids;
    const attempt = async (build: (transaction: Transaction) => void) => {
      const transaction = new Transaction();
      build(transaction);
      return sign(handle, wallet.keypair, transaction);
    };
    await expect(attempt(tx => tx.splitCoins(tx.gas, [1]))).rejects.toThrow(/was not used/);
    await expect(
      attempt(tx => tx.transferObjects([tx.object(systemObject)], wallet.address)),
    ).rejects.toThrow(/INVALID_TRANSFER_OBJECT/);
    const reserve = (packageId: string) => (tx: Transaction) => {
      const storage = tx.moveCall({
        target: `${packageId}::system::reserve_space`,
        arguments: [tx.object(systemObject), tx.pure.u64(1), tx.pure.u32(1), tx.gas],
      });
      tx.transferObjects([storage], wallet.address);
    };
    await expect(attempt(reserve(currentPackage))).rejects.toThrow(/TYPE_MISMATCH/);
    await expect(attempt(reserve(originalPackage))).rejects.toThrow(abortOf('system', 1));
    await expect(attempt(reserve('0x5'))).rejects.toThrow(/referenced package/);
  });
});

describe('the process', () => {
  it('goes on after a restart, with the same ids, objects and results', async () => {
    const own = await startTestLedger();
    const wallet = fundedWallet(own.handle);
    const { transaction } = await registration(own, wallet.address);
    const signed = await sign(own.handle, wallet.keypair, transaction);
    const before = await execute(own.handle, signed);
    const state = own.handle.ledger.state();
    await own.handle.close();
    const handle = await startLedger({ directory: own.directory, port: 0 });
    try {
      expect(handle.ledger.state()).toEqual(state);
      expect(await execute(handle, signed)).toEqual(before);
      const events = handle.ledger.store.events(0, 10);
      expect(events.map(event => event.kind)).toEqual(['registered']);
      await expect(
        startLedger({
          directory: `${own.directory}/2`,
          port: handle.port,
          genesis: { nodes: own.nodes.map(n => n.node), nShards: 13 },
        }),
      ).rejects.toThrow(new RegExp(`port ${handle.port}.*taken`));
    } finally {
      await handle.close();
      await own.remove();
    }
  });

  it('answers unknown methods, browsers and the end in order', async () => {
    const own = await startTestLedger();
    try {
      const { sui } = clientsOf(own.handle, 'binary');
      await expect(sui.nameService.lookupName({ name: 'a.sui' })).rejects.toMatchObject({
        code: 'UNIMPLEMENTED',
      });
      const { response } = await sui.ledgerService.getServiceInfo({});
      expect(response.epoch).toBe(BigInt(own.handle.ledger.suiEpoch()));
      const method = `${own.handle.url}/sui.rpc.v2.LedgerService/GetServiceInfo`;
      const asked = await fetch(method, { method: 'OPTIONS' });
      expect(asked.headers.get('access-control-allow-headers')).toBe('*');
      expect((await post(own.handle, 'stop')).body).toEqual({ stopping: true });
      await own.handle.stopped;
      await expect(fetch(own.handle.url)).rejects.toThrow();
    } finally {
      await own.remove();
    }
  });

  it('shows reads an older state when told to lag', async () => {
    const own = await startTestLedger({}, { readLagMs: 400 });
    try {
      const { sui } = clientsOf(own.handle);
      const wallet = fundedWallet(own.handle);
      expect((await sui.core.listCoins({ owner: wallet.address })).objects).toEqual([]);
      await new Promise(resolve => setTimeout(resolve, 450));
      const [coin] = (await sui.core.listCoins({ owner: wallet.address })).objects;
      const signed = await sign(
        own.handle,
        wallet.keypair,
        send(await walId(own, wallet.address), wallet.address),
      );
      const { digest } = await execute(own.handle, signed);
      await expect(sui.core.getTransaction({ digest })).rejects.toThrow(/not found/);
      const { object } = await sui.core.getObject({ objectId: coin!.objectId });
      expect(object.version).toBe(coin!.version);
      await sui.core.waitForTransaction({ digest });
      const later = await sui.core.getObject({ objectId: coin!.objectId });
      expect(BigInt(later.object.version)).toBeGreaterThan(BigInt(coin!.version));
    } finally {
      await own.remove();
    }
  });

  it('wakes waiting storage nodes, and refuses nonsense in clear JSON', async () => {
    const { handle } = ledger;
    const last = handle.ledger.store.events(0, 1000).at(-1)?.seq ?? 0;
    const waiting = get(handle, `events?since=${last}&waitMs=10000`);
    const startMs = performance.now();
    await post(handle, 'epoch/advance', { by: 2 });
    const { events } = (await waiting) as unknown as { events: { kind: string }[] };
    expect(events[0]!.kind).toBe('epoch');
    expect(performance.now() - startMs).toBeLessThan(5000);
    const bad = await post(handle, 'faucet', { address: 'bob' });
    expect(bad.status).toBe(400);
    expect(bad.body).toMatchObject({ error: { code: 'usage' } });
    expect((await post(handle, 'nothing')).status).toBe(404);
  });
});

const walId = async (own: TestLedger, owner: string) => {
  const { sui } = clientsOf(own.handle);
  const coinType = own.handle.ledger.machine.network.names.wal;
  return (await sui.core.listCoins({ owner, coinType })).objects[0]!.objectId;
};
