/**
 * Entry of the localnet's process: `daemon DIRECTORY [--tethered]`. It tells its starter by IPC
 * whether it is usable or why not; tethered it ends with its starter, else on SIGTERM only.
 */
import { rmSync } from 'node:fs';
import { explained } from '../base/addon.ts';
import { type ErrorCode, TuskError } from '../base/errors.ts';
import { replaceFile } from '../base/files.ts';
import { log, logToFile } from '../base/log.ts';
import { Localnet } from './network.ts';
import { networkPaths, readNetwork, tipSchema } from './parameters.ts';
import { startTicksOf } from './process.ts';
import { serveControl } from './socket.ts';
import type { LocalnetStatus } from './status.ts';

/** What the daemon tells its starter. */
export type DaemonReport =
  | { readonly status: LocalnetStatus }
  | { readonly code: ErrorCode; readonly message: string };

const [directory, tether] = process.argv.slice(2) as [string, string | undefined];
const paths = networkPaths(directory);

const run = async (): Promise<LocalnetStatus> => {
  const localnet = await Localnet.start(paths, readNetwork(paths)!);
  const indices = (args: unknown) => (args as { nodes: number[] }).nodes;
  const server = await serveControl(paths, {
    status: () => localnet.status(),
    startNodes: args => localnet.startNodes(indices(args)),
    stopNodes: args => localnet.stopNodes(indices(args)),
    setTip: args => localnet.setTip(tipSchema.parse(args)),
    misbehave: args => localnet.misbehave(indices(args), (args as { modes: string[] }).modes),
  });
  let ending = false;
  const end = async (why: string) => {
    if (ending) return;
    ending = true;
    log('localnet').info({ why }, 'localnet ends');
    server.close();
    server.closeAllConnections();
    await localnet.close();
    for (const file of [paths.socket, paths.daemon]) rmSync(file, { force: true });
    process.exit(0);
  };
  process.on('SIGTERM', () => void end('SIGTERM'));
  process.on('SIGINT', () => void end('SIGINT'));
  // A terminal that closes takes no daemon with it.
  process.on('SIGHUP', () => undefined);
  if (tether === '--tethered') process.once('disconnect', () => void end('its starter ended'));
  void localnet.ended.then(() => end('the ledger ended'));
  return localnet.status();
};

const report = (message: DaemonReport) => process.send?.(message);

try {
  logToFile(paths.log);
  const me = { pid: process.pid, startTicks: startTicksOf(process.pid) };
  replaceFile(paths.daemon, `${JSON.stringify(me)}\n`);
  const status = await run();
  log('localnet').info({ pid: process.pid, rpcUrl: status.rpcUrl }, 'localnet runs');
  report({ status });
} catch (error) {
  rmSync(paths.daemon, { force: true });
  log('localnet').error({ err: error }, 'localnet did not start');
  report({
    code: error instanceof TuskError ? error.code : 'internal',
    message: explained(error),
  });
  process.exitCode = 1;
  setTimeout(() => process.exit(), 100);
}
