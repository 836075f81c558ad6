/**
 * Reads packs from a localnet, blob by blob, and prints the salt in each one's header, one a line.
 * Arguments: URL of the ledger, blob IDs.
 */
import { decodeHeader } from '../../src/format/pack.ts';
import type { LedgerState } from '../../src/localnet/feed.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';

const [rpcUrl, ...blobIds] = process.argv.slice(2);
const answer = await fetch(`${rpcUrl}/localnet/state`);
const { systemObjectId, stakingPoolId } = (await answer.json()) as LedgerState;
const network = new RealNetwork(
  { name: 'localnet', rpcUrls: [rpcUrl!], systemObjectId, stakingPoolId, nodeScheme: 'http' },
  Wallet.generate(),
);
for (const blobId of blobIds) {
  const bytes = await network.readBlob(blobId, AbortSignal.timeout(30_000));
  console.log(decodeHeader(bytes).salt.toString('hex'));
}
await network.close();
