/** A ledger in this process, wallets, and storage nodes that only sign, for the ledger's tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import { WalrusClient } from '@mysten/walrus';
import { seededRandom } from '../../src/base/random.ts';
import type { GenesisNode } from '../../src/localnet/feed.ts';
import type { GenesisOptions } from '../../src/localnet/ledger/genesis.ts';
import {
  type LedgerHandle,
  type LedgerOptions,
  startLedger,
} from '../../src/localnet/ledger/server.ts';
import { native } from '../../src/native.ts';

/** Keys and genesis entries of `count` nodes over `nShards` shards, node i holding every count-th. */
export const makeNodes = (count: number, nShards: number) => {
  const random = seededRandom(count * 1000 + nShards);
  return Array.from({ length: count }, (_, index) => {
    const key = native.blsKey(random.bytes(32));
    const node: GenesisNode = {
      index,
      nodeId: `0x${random.bytes(32).toString('hex')}`,
      name: `node-${index}`,
      address: `127.0.0.1:${20_000 + index}`,
      publicKey: key.public96.toString('hex'),
      networkPublicKey: '',
      shards: Array.from({ length: nShards }, (_, s) => s).filter(s => s % count === index),
    };
    return { secret: key.secret, node };
  });
};

/** A running ledger with a directory of its own. */
export const startTestLedger = async (
  genesis: Partial<GenesisOptions> = {},
  options: Partial<LedgerOptions> = {},
) => {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'e-ledger-'));
  const nShards = genesis.nShards ?? 13;
  const nodes = makeNodes(13, nShards);
  const handle = await startLedger({
    directory,
    port: 0,
    ...options,
    genesis: { nodes: nodes.map(({ node }) => node), nShards, ...genesis },
  });
  const remove = async () => {
    await handle.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { handle, nodes, directory, remove };
};
/** What `startTestLedger` gives. */
export type TestLedger = Awaited<ReturnType<typeof startTestLedger>>;

/** The official clients on a ledger. */
export const clientsOf = (handle: LedgerHandle, format: 'text' | 'binary' = 'text') => {
  const sui = new SuiGrpcClient({ network: 'localnet', baseUrl: handle.url, format });
  const { systemObjectId, stakingPoolId } = handle.ledger.state();
  const walrus = new WalrusClient({
    suiClient: sui,
    packageConfig: { systemObjectId, stakingPoolId },
    storageNodeUrlScheme: 'http',
  });
  return { sui, walrus };
};

/** A fresh wallet with coins. */
export const fundedWallet = (handle: LedgerHandle, wal = 10n ** 12n, sui = 10n ** 11n) => {
  const keypair = new Ed25519Keypair();
  const address = keypair.toSuiAddress();
  handle.ledger.faucet(address, wal, sui);
  return { keypair, address };
};

/** POST to the /localnet interface. */
export const post = async (handle: LedgerHandle, path: string, body: unknown = {}) => {
  const response = await fetch(`${handle.url}/localnet/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, never> };
};

/** GET from the /localnet interface. */
export const get = async (handle: LedgerHandle, path: string) =>
  (await (await fetch(`${handle.url}/localnet/${path}`)).json()) as Record<string, never>;

/** The message that storage nodes sign. */
export const certificateMessage = (epoch: number, blobId: string, objectId?: string): Buffer => {
  const head = Buffer.from([1, 0, 3, 0, 0, 0, 0]);
  head.writeUInt32LE(epoch, 3);
  const type =
    objectId === undefined
      ? Buffer.of(0)
      : Buffer.concat([Buffer.of(1), Buffer.from(objectId.slice(2), 'hex')]);
  return Buffer.concat([head, Buffer.from(blobId, 'base64url'), type]);
};

/** A certificate by the nodes at `signers`. */
export const certify = (ledger: TestLedger, signers: number[], message: Buffer) => {
  const signature = native.blsAggregate(
    signers.map(i => native.blsSign(ledger.nodes[i]!.secret, message)),
  );
  return { signers, serializedMessage: message, signature };
};
