/** Entry of one storage node's own process: `main DIRECTORY RPC_URL INDEX`, a child of the daemon. */
import { messageOf } from '../../base/errors.ts';
import { logToFile } from '../../base/log.ts';
import { nodeConfig } from '../genesis.ts';
import type { NodeOrder, NodeReport } from '../members.ts';
import { networkPaths, readNetwork } from '../parameters.ts';
import { Follower } from './follow.ts';
import { Misbehaviour } from './misbehave.ts';
import { StorageNode } from './node.ts';

const [directory, rpcUrl, index] = process.argv.slice(2) as [string, string, string];
const report = (message: NodeReport) => process.send?.(message);

try {
  const paths = networkPaths(directory);
  logToFile(paths.log);
  const network = readNetwork(paths)!;
  const follower = await Follower.start(rpcUrl, network.delayMs);
  const node = new StorageNode(
    nodeConfig(paths, network, Number(index)),
    follower.registry,
    follower,
  );
  await node.start();
  const end = async () => {
    await node.stop();
    await follower.stop();
    process.exit(0);
  };
  process.once('SIGTERM', end);
  // The daemon decides when its nodes end.
  process.on('SIGINT', () => undefined);
  process.once('disconnect', end);
  process.on('message', order => node.misbehave(new Misbehaviour((order as NodeOrder).misbehaves)));
  report({ ready: true });
} catch (error) {
  report({ failure: messageOf(error) });
  process.exitCode = 1;
  process.disconnect?.();
}
