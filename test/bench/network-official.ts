/** The official SDK as a side of the network bench. */
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { bytesOf } from '../support/blobs.ts';
import { officialClient } from '../support/official.ts';
import {
  type Client,
  cpuSeconds,
  type Opening,
  type ReadAnswer,
  type ReadQuestion,
  type Stored,
  timedReads,
} from './network-side.ts';

/** Opens the network with a new wallet. */
export const official = async (opening: Opening): Promise<Client> => {
  const signer = Ed25519Keypair.generate();
  const open = () => officialClient(opening);
  const client = open();

  const store = async (size: number, seed: number): Promise<Stored> => {
    const blob = bytesOf(seed, size);
    const [startCpu, startMs] = [cpuSeconds(), performance.now()];
    const { blobId, blobObject } = await client.writeBlob({
      blob,
      deletable: true,
      epochs: 2,
      signer,
    });
    const seconds = (performance.now() - startMs) / 1000;
    return { blobId, objectId: blobObject.id, seconds, cpuSeconds: cpuSeconds() - startCpu };
  };

  const remove = async (blobObjectId: string): Promise<void> => {
    await client.executeDeleteBlobTransaction({ blobObjectId, signer });
  };

  const read = async ({ blobId, size, seed, ranges }: ReadQuestion): Promise<ReadAnswer> => {
    const fresh = open();
    await fresh.stakingState();
    // It has no way to read a part of a blob.
    return timedReads(ranges ?? [[0, size]], bytesOf(seed, size), async ([at, end]) =>
      (await fresh.readBlob({ blobId })).subarray(at, end),
    );
  };

  return { address: signer.toSuiAddress(), store, remove, read };
};
