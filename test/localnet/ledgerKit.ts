/** A ledger in this process, wallets, and storage nodes that only sign, for the ledger's tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuiGrpcClient } from '@mysten/sui/grpc';
import { Ed25519Keypair } from '@mysten/sui/keypairs/ed25519';
import type { Transaction } from '@mysten/sui/transactions';
import { fromBase64 } from '@mysten/sui/utils';
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
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'tuskfs-ledger-'));
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

/** Builds (through the ledger's own resolver) and signs a transaction. */
export const sign = async (
  handle: LedgerHandle,
  keypair: Ed25519Keypair,
  transaction: Transaction,
): Promise<Signed> => {
  transaction.setSenderIfNotSet(keypair.toSuiAddress());
  const signed = await transaction.sign({ client: clientsOf(handle).sui, signer: keypair });
  return { bytes: fromBase64(signed.bytes), signature: signed.signature };
};
/** Signed bytes. */
export interface Signed {
  bytes: Uint8Array;
  signature: string;
}

/** Executes over gRPC-web; rejects when the ledger refuses. */
export const execute = async (handle: LedgerHandle, { bytes, signature }: Signed) => {
  const result = await clientsOf(handle).sui.core.executeTransaction({
    transaction: bytes,
    signatures: [signature],
    include: { effects: true, balanceChanges: true },
  });
  return (result.Transaction ?? result.FailedTransaction)!;
};

/** A transaction that registers a blob of `size` bytes of `fill` for `epochs`. */
export const registration = async (
  ledger: TestLedger,
  owner: string,
  options: { fill?: number; size?: number; epochs?: number; deletable?: boolean } = {},
) => {
  const { fill = 1, size = 500, epochs = 2, deletable = true } = options;
  const { walrus } = clientsOf(ledger.handle);
  const { blobId, rootHash } = await native
    .bytesMetadata(new Uint8Array(size).fill(fill), ledger.handle.ledger.state().nShards)
    .then(encoded => ({
      blobId: encoded.blobId.toString('base64url'),
      rootHash: encoded.rootHash,
    }));
  const transaction = walrus.registerBlobTransaction({
    owner,
    blobId,
    rootHash,
    size,
    epochs,
    deletable,
  });
  return { blobId, transaction };
};

/** Registers a blob and returns its ids. */
export const register = async (
  ledger: TestLedger,
  wallet: { keypair: Ed25519Keypair; address: string },
  options: Parameters<typeof registration>[2] = {},
) => {
  const { blobId, transaction } = await registration(ledger, wallet.address, options);
  const result = await execute(
    ledger.handle,
    await sign(ledger.handle, wallet.keypair, transaction),
  );
  if (!result.status.success) throw new Error(result.status.error.message);
  const blob = ledger.handle.ledger.store
    .objectsOfType(ledger.handle.ledger.machine.network.names.blob)
    .find(object => object.previousTransaction === result.digest)!;
  return { blobId, objectId: blob.id };
};
