/**
 * A flush over a real ledger and real nodes while epochs change under it, at every point where
 * something of the old epoch is in hand: it ends in the new one, and every pack is paid once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import type { EncodedFile, Network } from '../../src/walrus/network.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf } from '../support/blobs.ts';
import { FlushVolume } from '../support/flush-volume.ts';

let directory: string;
let localnet: LocalnetHandle;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'G-epochs-'));
  localnet = await startLocalnet({ directory: join(directory, 'net'), nodes: 13, shards: 100 });
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The network, with `act` done once before or after a call, or at the first progress of a store. */
const withAct = (
  network: RealNetwork,
  at: 'signRegister' | 'submit' | 'store' | 'signCertify',
  when: 'before' | 'after',
  act: () => Promise<unknown>,
): { network: Network; acted: () => Promise<boolean> } => {
  let acting: Promise<unknown> | undefined;
  const once = () => (acting ??= act());
  const wrapped = {
    store: (file: EncodedFile, object: never, options: Parameters<Network['store']>[2]) =>
      network.store(file, object, {
        ...options,
        onProgress: progress => {
          if (at === 'store') void once();
          options.onProgress?.(progress);
        },
      }),
    ...(at === 'store'
      ? {}
      : {
          [at]: async (...args: never[]) => {
            if (when === 'before') await once();
            const answer = await (network[at] as (...args: never[]) => Promise<unknown>)(...args);
            if (when === 'after') await once();
            return answer;
          },
        }),
  };
  const both = new Proxy(network, {
    get: (target, name) => {
      const own = Reflect.get(Object.hasOwn(wrapped, name) ? wrapped : target, name);
      return typeof own === 'function' && !Object.hasOwn(wrapped, name) ? own.bind(target) : own;
    },
  });
  return {
    network: both,
    acted: async () => {
      await acting;
      return acting !== undefined;
    },
  };
};

interface Ledger {
  readonly blobs: { readonly owner: string; readonly certifiedEpoch: number | null }[];
}

const blobsOf = async (owner: string): Promise<Ledger['blobs']> => {
  const answer = await fetch(`${localnet.rpcUrl}/localnet/blobs`);
  const { blobs } = (await answer.json()) as Ledger;
  return blobs.filter(blob => blob.owner === owner);
};

/** Flushes one file while the epoch moves `by` at a point; answers what the ledger then says. */
const flushOver = async (
  at: Parameters<typeof withAct>[1],
  when: 'before' | 'after',
  by: number,
) => {
  const wallet = Wallet.generate();
  await localnet.faucet(wallet.address);
  const real = new RealNetwork(
    {
      name: 'localnet',
      rpcUrls: [localnet.rpcUrl],
      ...localnet.packageConfig,
      nodeScheme: localnet.nodeScheme,
    },
    wallet,
  );
  const before = (await localnet.status()).epoch;
  const { network, acted } = withAct(real, at, when, () => localnet.advanceEpoch(by));
  const volume = await FlushVolume.open(
    mkdtempSync(join(directory, 'volume-')),
    undefined,
    network,
  );
  try {
    // The committee of the old epoch is what the client knows.
    await real.committee();
    volume.write('file', 0, bytesOf(before, 700_000));
    const result = await volume.sync();
    expect(await acted()).toBe(true);
    expect((await localnet.status()).epoch).toBe(before + by);
    const blobs = await blobsOf(wallet.address);
    const { storage, write } = (await localnet.status()).prices;
    return { result, blobs, before, unit: BigInt(storage) * 5n + BigInt(write) };
  } finally {
    await volume.close();
    await real.close();
  }
};

describe.each([
  ['registration is signed', 'signRegister', 'after', 1],
  ['registration is signed, and it expires', 'signRegister', 'after', 3],
  ['blob is registered', 'submit', 'after', 1],
  ['upload runs', 'store', 'before', 1],
  ['certificate is made', 'signCertify', 'before', 1],
  ['certification is signed', 'signCertify', 'after', 1],
] as const)('the epoch changes when the %s', (_, at, when, by) => {
  test('the flush ends in the new epoch and pays once', async () => {
    const { result, blobs, before, unit } = await flushOver(at, when, by);
    expect(result).toMatchObject({ stored: true, packs: 1 });
    expect(blobs).toHaveLength(1);
    expect(blobs[0]!.certifiedEpoch).toBeGreaterThanOrEqual(before);
    expect(blobs[0]!.certifiedEpoch).toBeLessThanOrEqual(before + by);
    // One registration: a whole number of units for five epochs and one writing.
    expect(result.wal % unit).toBe(0n);
    expect(result.wal / unit).toBeLessThan(8n);
  });
});
