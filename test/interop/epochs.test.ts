/**
 * A flush over a real ledger and real nodes while epochs change under it, at every point where
 * something of the old epoch is in hand: it ends in the new one, and every pack is paid once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { HEAD_ATTRIBUTE } from '../../src/flush/upload.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import type { EncodedFile, Network } from '../../src/walrus/network.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf } from '../support/blobs.ts';
import { FlushVolume } from '../support/flush-volume.ts';
import { settingsOf } from '../support/settings.ts';

/** What `FlushVolume` pays for. */
const PAID_EPOCHS = 5;

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
  const real = new RealNetwork(settingsOf(localnet), wallet);
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
    const said: string[] = [];
    const result = await volume.flusher.run({
      signal: AbortSignal.timeout(100_000),
      onProgress: ({ pending }) => said.push(pending),
    });
    expect(await acted()).toBe(true);
    expect((await localnet.status()).epoch).toBe(before + by);
    const blobs = await blobsOf(wallet.address);
    const { storage, write } = (await localnet.status()).prices;
    const { spent } = volume.flusher;
    return { result, spent, said, blobs, before, unit: BigInt(storage) * 5n + BigInt(write) };
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

describe('the paid epochs end', () => {
  test('before the blob is certified: it is registered and paid once more, and that is said', async () => {
    const over = await flushOver('submit', 'after', PAID_EPOCHS);
    const { result, spent, said, blobs, before, unit } = over;
    expect(result).toMatchObject({ stored: true, packs: 1 });
    expect(new Set(blobs.map(blob => blob.certifiedEpoch))).toEqual(
      new Set([null, before + PAID_EPOCHS]),
    );
    // Two registrations of the same size, each paid once.
    expect(spent).toMatchObject({ packs: 2, wal: result.wal });
    expect(result.wal % (2n * unit)).toBe(0n);
    expect(said.some(text => text.includes('registered and paid again'))).toBe(true);
    expect(said.at(-1)).toBe('');
  });

  test('behind its certification, of which the flush did not hear: the head moves on to its next life', async () => {
    const wallet = Wallet.generate();
    await localnet.faucet(wallet.address);
    const real = new RealNetwork(settingsOf(localnet), wallet);
    const root = mkdtempSync(join(directory, 'volume-'));
    const [first, second] = [bytesOf(1, 300_000), bytesOf(2, 300_000)];
    // The fourth transaction certifies the second checkpoint.
    let sent = 0;
    const submit: Network['submit'] = async (...args) => {
      const answer = await real.submit(...args);
      if (++sent !== 4) return answer;
      await localnet.advanceEpoch(PAID_EPOCHS);
      throw new TuskError('internal', 'nobody heard the answer');
    };
    const instead = (own: Partial<Network>): Network =>
      new Proxy(real, {
        get: (target, name) => {
          const value = Reflect.get({ [name]: Reflect.get(target, name), ...own }, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    const signRegister = () => Promise.reject(new TuskError('internal', 'it stops here'));
    let volume = await FlushVolume.open(root, undefined, instead({ submit }));
    try {
      volume.write('first', 0, first);
      await volume.sync();
      await volume.flusher.settled();
      volume.write('second', 0, second);
      await expect(volume.sync()).rejects.toThrow('nobody heard');
      await volume.close();

      // Ends once more right behind the line that says so: the pack must not be dropped then.
      volume = await FlushVolume.open(root, undefined, instead({ signRegister }));
      await expect(volume.sync()).rejects.toThrow('it stops here');
      await volume.close();

      volume = await FlushVolume.open(root, undefined, real);
      await volume.flusher.resume({ signal: AbortSignal.timeout(60_000) });
      expect(volume.index.totals().stagedBytes).toBe(0);
      const all = await real.blobsOf(wallet.address);
      expect(all).toHaveLength(3);
      const { epoch } = await real.committee({ fresh: true });
      const alive = all.filter(({ endEpoch }) => endEpoch > epoch);
      expect(alive).toMatchObject([{ certifiedEpoch: epoch }]);
      for (const { objectId } of all) {
        const { [HEAD_ATTRIBUTE]: head } = await real.attributes(objectId);
        expect(head).toBe(objectId === alive[0]!.objectId ? '2' : undefined);
      }
      // The chain of heads goes on from there.
      volume.write('third', 0, second);
      expect(await volume.sync()).toMatchObject({ stored: true, head: { sequence: 3 } });
    } finally {
      await volume.close();
      await real.close();
    }
  });
});
