/** What Walrus itself says: its SDK, and blob IDs by its encoder. */
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { WalrusClient } from '@mysten/walrus';
import { BlobEncoder } from '@mysten/walrus-wasm';
import type { Place } from './settings.ts';

/** The official SDK on a localnet; it keeps what it read for ever. */
export const officialClient = ({ rpcUrl, packageConfig, nodeScheme }: Place): WalrusClient =>
  new WalrusClient({
    suiClient: new SuiGrpcClient({ network: 'localnet', baseUrl: rpcUrl }),
    packageConfig,
    storageNodeUrlScheme: nodeScheme,
  });

/** The blob ID (unpadded URL-safe base64) that the official WASM computes. */
export const officialBlobId = (bytes: Uint8Array, nShards: number): string => {
  const [id] = new BlobEncoder(nShards).compute_metadata(bytes) as [Iterable<number>];
  return Buffer.from([...id]).toString('base64url');
};
