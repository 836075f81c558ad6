/** The official SDK as a side of the network bench. */
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { WalrusClient } from '@mysten/walrus';
import { bytesOf } from '../support/blobs.ts';
import { type Client, cpuSeconds, type Opening, type Stored } from './network-side.ts';

/** Opens the network with a new wallet. */
export const official = async (opening: Opening): Promise<Client> => {
  const signer = Ed25519Keypair.generate();
  const { rpcUrl, packageConfig, nodeScheme } = opening;
  const client = new WalrusClient({
    suiClient: new SuiGrpcClient({ network: 'localnet', baseUrl: rpcUrl }),
    packageConfig,
    storageNodeUrlScheme: nodeScheme,
  });

  const store = async (size: number, seed: number): Promise<Stored> => {
    const blob = bytesOf(seed, size);
    const [startCpu, startMs] = [cpuSeconds(), performance.now()];
    const { blobId } = await client.writeBlob({ blob, deletable: true, epochs: 2, signer });
    const seconds = (performance.now() - startMs) / 1000;
    return { blobId, seconds, cpuSeconds: cpuSeconds() - startCpu };
  };

  return { address: signer.toSuiAddress(), store };
};
