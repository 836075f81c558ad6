/** Our client as a side of the network bench: what the flush does with a sealed pack. */
import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import { leaveSliverFile, takeSliverFile } from '../../src/flush/sliver-files.ts';
import { native } from '../../src/native.ts';
import type { BlobRef, EncodedFile, TxResult } from '../../src/walrus/network.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, registerRequest } from '../support/blobs.ts';
import { settingsOf } from '../support/settings.ts';
import {
  type Client,
  cpuSeconds,
  type Opening,
  type ReadAnswer,
  type ReadQuestion,
  type Stored,
  timedReads,
} from './network-side.ts';

const LIMIT_MS = 300_000;

const done = (result: TxResult): TxResult => {
  if (!result.ok) throw new Error(result.error);
  return result;
};

/** Opens the network with a new wallet; files go below `work`. */
export const ours = async (opening: Opening, work: string): Promise<Client> => {
  const wallet = Wallet.generate();
  const open = () => new RealNetwork(settingsOf(opening), wallet);
  const network = open();

  const encode = async (path: string): Promise<EncodedFile> => {
    const { nShards } = await network.committee();
    const sliversPath = takeSliverFile(work, basename(path));
    const blob = await native.encodeFile(path, nShards, sliversPath);
    const { rootHash, size, metadata } = blob;
    return { blobId: blobIdFromBytes(blob.blobId), rootHash, size, nShards, metadata, sliversPath };
  };

  const store = async (size: number, seed: number): Promise<Stored> => {
    const path = join(work, `ours-${seed}`);
    await writeFile(path, bytesOf(seed, size));
    const signal = AbortSignal.timeout(LIMIT_MS);
    const [startCpu, startMs] = [cpuSeconds(), performance.now()];
    const file = await encode(path);
    const registered = done(
      await network.submit(await network.signRegister(registerRequest(file))),
    );
    const blobObjectId = registered.blobObjectId!;
    const object = { objectId: blobObjectId, deletable: true };
    const run = network.store(file, object, { signal, tailMs: LIMIT_MS });
    const certificate = await run.certificate;
    done(await network.submit(await network.signCertify({ blobObjectId, certificate })));
    const seconds = (performance.now() - startMs) / 1000;
    const { missing } = await run.tail();
    const tailSeconds = (performance.now() - startMs) / 1000;
    if (missing.length > 0) throw new Error(`slivers did not reach ${missing.join(', ')}`);
    leaveSliverFile(work, basename(path));
    await rm(path);
    const stored = { blobId: file.blobId, objectId: blobObjectId };
    return { ...stored, seconds, cpuSeconds: cpuSeconds() - startCpu, tailSeconds };
  };

  const remove = async (objectId: string): Promise<void> => {
    done(await network.submit(await network.signDelete(objectId)));
  };

  const readRange = async (
    from: RealNetwork,
    blob: BlobRef,
    [at, end]: readonly [number, number],
  ): Promise<Buffer> => {
    const { primaryBytes } = native.blobShape(blob.size, blob.nShards);
    const first = Math.floor(at / primaryBytes);
    const count = Math.ceil(end / primaryBytes) - first;
    const bytes = Buffer.allocUnsafe(count * primaryBytes);
    const indices = Array.from({ length: count }, (_, i) => first + i);
    await from.readPrimaries(blob, indices, {
      verify: true,
      signal: AbortSignal.timeout(LIMIT_MS),
      onSliver: (index, data) => void data.copy(bytes, (index - first) * primaryBytes),
    });
    return bytes.subarray(at - first * primaryBytes, end - first * primaryBytes);
  };

  const read = async ({ blobId, size, seed, ranges }: ReadQuestion): Promise<ReadAnswer> => {
    const fresh = open();
    try {
      const { nShards } = await fresh.committee();
      return await timedReads(ranges ?? [[0, size]], bytesOf(seed, size), range =>
        ranges === undefined
          ? fresh.readBlob(blobId, AbortSignal.timeout(LIMIT_MS))
          : readRange(fresh, { blobId, size, nShards }, range),
      );
    } finally {
      await fresh.close();
    }
  };

  return { address: wallet.address, store, remove, read };
};
