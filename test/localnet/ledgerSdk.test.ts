import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  certificateMessage,
  certify,
  clientsOf,
  fundedWallet,
  startTestLedger,
  type TestLedger,
} from './ledgerKit.ts';

let ledger: TestLedger;
beforeAll(async () => {
  ledger = await startTestLedger();
});
afterAll(() => ledger.remove());

const ALL = Array.from({ length: 13 }, (_, i) => i);

describe.each(['text', 'binary'] as const)('the official SDK in %s form', format => {
  it('registers, certifies, extends, reads attributes, deletes', async () => {
    const { handle } = ledger;
    const { sui, walrus } = clientsOf(handle, format);
    const { keypair, address } = fundedWallet(handle);
    const encoded = await walrus.encodeBlob(new Uint8Array(3000).fill(7));
    const before = await sui.core.getBalance({ owner: address, coinType: walOf() });
    const { blob } = await walrus.executeRegisterBlobTransaction({
      signer: keypair,
      owner: address,
      blobId: encoded.blobId,
      rootHash: encoded.rootHash,
      size: 3000,
      epochs: 3,
      deletable: true,
      attributes: { color: 'blue', empty: '' },
    });
    expect(blob.registered_epoch).toBe(1);
    expect(blob.storage.end_epoch).toBe(4);
    expect(blob.certified_epoch).toBeNull();
    const cost = await walrus.storageCost(3000, 3);
    const after = await sui.core.getBalance({ owner: address, coinType: walOf() });
    expect(BigInt(before.balance.balance) - BigInt(after.balance.balance)).toBe(cost.totalCost);

    await walrus.executeCertifyBlobTransaction({
      signer: keypair,
      blobId: encoded.blobId,
      blobObjectId: blob.id,
      deletable: true,
      certificate: certify(ledger, ALL, certificateMessage(1, encoded.blobId, blob.id)),
    });
    expect(await walrus.readBlobAttributes({ blobObjectId: blob.id })).toEqual({
      color: 'blue',
      empty: '',
    });
    await walrus.executeWriteBlobAttributesTransaction({
      signer: keypair,
      blobObjectId: blob.id,
      attributes: { color: 'red', empty: null },
    });
    await walrus.executeExtendBlobTransaction({
      signer: keypair,
      blobObjectId: blob.id,
      epochs: 2,
    });
    const fresh = clientsOf(handle, format).walrus;
    const extended = await fresh.getBlobObject(blob.id);
    expect(extended.certified_epoch).toBe(1);
    expect(extended.storage.end_epoch).toBe(6);
    expect(await fresh.readBlobAttributes({ blobObjectId: blob.id })).toEqual({ color: 'red' });

    await fresh.executeDeleteBlobTransaction({ signer: keypair, blobObjectId: blob.id });
    await expect(clientsOf(handle).walrus.getBlobObject(blob.id)).rejects.toThrow();
    const kinds = handle.ledger.store
      .events(0, 1000)
      .filter(event => 'objectId' in event && event.objectId === blob.id)
      .map(event => event.kind);
    expect(kinds).toEqual(['registered', 'certified', 'extended', 'deleted']);
  });
});

const walOf = () => ledger.handle.ledger.machine.network.names.wal;
