import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { expect, it } from 'vitest';
import { startLedger } from '../../src/localnet/ledger/server.ts';
import { execute, fundedWallet, registration, sign, startTestLedger } from './ledgerKit.ts';

const CHILD = fileURLToPath(new URL('ledgerChild.ts', import.meta.url));

it.each([
  ['ledger.locked', 0],
  ['ledger.committed', 1],
])(
  'killed at %s, the same bytes have the same result, and %i blob before they are sent again',
  async (point, blobsBefore) => {
    const own = await startTestLedger();
    try {
      const wallet = fundedWallet(own.handle);
      const { transaction } = await registration(own, wallet.address);
      const signed = await sign(own.handle, wallet.keypair, transaction);
      await own.handle.close();

      const env = { ...process.env, TUSKFS_FAILPOINTS: point };
      const child = spawn(process.execPath, [CHILD, own.directory], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [port] = await once(child.stdout, 'data');
      const exited = once(child, 'exit');
      const dying = new SuiGrpcClient({
        network: 'localnet',
        baseUrl: `http://127.0.0.1:${String(port).trim()}`,
      });
      await expect(
        dying.core.executeTransaction({
          transaction: signed.bytes,
          signatures: [signed.signature],
        }),
      ).rejects.toThrow();
      expect(await exited).toEqual([null, 'SIGKILL']);

      const handle = await startLedger({ directory: own.directory, port: 0 });
      try {
        const { store, machine } = handle.ledger;
        const blobs = () => store.objectsOfType(machine.network.names.blob);
        expect(blobs()).toHaveLength(blobsBefore);
        expect(store.events(0, 10)).toHaveLength(blobsBefore);
        expect((await execute(handle, signed)).status.success).toBe(true);
        expect(blobs()).toHaveLength(1);
        expect(store.events(0, 10)).toHaveLength(1);
      } finally {
        await handle.close();
      }
    } finally {
      await own.remove();
    }
  },
);
