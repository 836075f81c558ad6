/** `tuskfs localnet …`: a Walrus network and its ledger on this machine. */
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { formatCoin } from '../base/figures.ts';
import {
  advanceEpoch,
  faucet,
  localnetStatus,
  misbehave,
  runLocalnet,
  setPrices,
  setStakes,
  setTip,
  startNodes,
  stopLocalnet,
  stopNodes,
} from '../localnet/control.ts';
import { MODES } from '../localnet/node/misbehave.ts';
import type { NetworkParameters } from '../localnet/parameters.ts';
import type { LocalnetStatus } from '../localnet/status.ts';
import { stateDirectory } from '../volume/paths.ts';
import { saveNetwork } from '../volume/settings.ts';
import { print, say } from './command.ts';
import { wholeNumber } from './options.ts';

const LINGER_MS = 5000;

interface Where {
  dir?: string;
  json?: boolean;
}

type StartOptions = Where & {
  nodes?: number;
  shards?: number;
  port?: number;
  tls?: boolean;
  processes?: boolean;
  delay?: number;
  epochMs?: number;
  readLag?: number;
};

const directoryOf = ({ dir }: Where): string => dir ?? join(stateDirectory(), 'localnet');

/** Lines for a person. */
const describe = (status: LocalnetStatus): string =>
  [
    `rpc        ${status.rpcUrl}`,
    `relay      ${status.relayUrl} (upload relay and aggregator; tip: ${JSON.stringify(status.tip)})`,
    `system     ${status.packageConfig.systemObjectId}`,
    `staking    ${status.packageConfig.stakingPoolId}`,
    `epoch      ${status.epoch}${status.isChanging ? ', shards still move' : ''}`,
    `prices     ${status.prices.storage} FROST storage, ${status.prices.write} FROST write, a unit of 1 MiB`,
    `directory  ${status.directory}`,
    `process    ${status.pid}, ${status.cpuMs / 1000} s of processor time in all`,
    ...status.nodes.map(node =>
      `${node.name.padEnd(10)} ${node.state.padEnd(7)}  ${status.nodeScheme}://${node.address}  ${node.shards.length} shards  ${node.misbehaves.join(' ')}`.trimEnd(),
    ),
  ].join('\n');

/** Only what was asked for: everything else follows from the directory or the defaults. */
const parametersOf = (options: StartOptions): Partial<NetworkParameters> =>
  Object.fromEntries(
    Object.entries({
      nodes: options.nodes,
      shards: options.shards,
      port: options.port,
      tls: options.tls,
      processes: options.processes,
      delayMs: options.delay,
      epochMs: options.epochMs,
      readLagMs: options.readLag,
    }).filter(([, value]) => value !== undefined),
  );

const start = async (options: StartOptions): Promise<void> => {
  const { status, started } = await runLocalnet(directoryOf(options), parametersOf(options));
  await saveNetwork('localnet', {
    rpcUrls: [status.rpcUrl],
    systemObjectId: status.packageConfig.systemObjectId,
    stakingPoolId: status.packageConfig.stakingPoolId,
    nodeScheme: status.nodeScheme,
    faucetUrl: status.faucetUrl,
    lingerMs: LINGER_MS,
  });
  const counts = `${status.nodes.length} nodes, ${status.nShards} shards`;
  say(started ? `localnet started: ${counts}` : `localnet runs already: ${counts}`);
  print(options.json === true, status, () => describe(status));
};

const stop = async (options: Where): Promise<void> => {
  const pid = await stopLocalnet(directoryOf(options));
  say(`localnet stopped (process ${pid})`);
  if (options.json === true) print(true, { stopped: pid }, () => '');
};

const status = async (options: Where): Promise<void> => {
  const found = await localnetStatus(directoryOf(options));
  print(options.json === true, found, () => describe(found));
};

const nodesCommand = (localnet: Command): void => {
  const node = localnet.command('node').description('stop and start single storage nodes');
  const index = wholeNumber(0, 999);
  const each = (text: string, before: number[] = []) => [...before, index(text)];
  const add = (
    name: string,
    description: string,
    act: (directory: string, nodes: number[]) => Promise<void>,
  ) =>
    withDirectory(node.command(name))
      .argument('<n...>', 'number of a node, from 0', each)
      .description(description)
      .action(async (nodes: number[], options: Where) => {
        await act(directoryOf(options), nodes);
        const after = await localnetStatus(directoryOf(options));
        const up = after.nodes.filter(one => one.state === 'up').length;
        say(`${up} of ${after.nodes.length} nodes are up`);
        if (options.json === true) print(true, after, () => '');
      });
  add('stop', 'make nodes refuse connections until they are started', stopNodes);
  add('start', 'start nodes that were stopped', startNodes);
  withDirectory(node.command('misbehave'))
    .argument('<n>', 'number of a node, from 0', index)
    .argument('[mode...]', 'what it does from now on; nothing: it behaves again')
    .description('make a node misbehave')
    .addHelpText('after', `\nModes:\n${modesHelp()}`)
    .action(async (n: number, modes: string[], options: Where) => {
      await misbehave(directoryOf(options), [n], modes);
      say(`node-${n} ${modes.length === 0 ? 'behaves' : `misbehaves: ${modes.join(', ')}`}`);
      if (options.json === true) print(true, await localnetStatus(directoryOf(options)), () => '');
    });
};

const modesHelp = (): string =>
  Object.entries(MODES)
    .map(([mode, what]) => `  ${(mode === 'slow' ? 'slow=MS' : mode).padEnd(14)} ${what}`)
    .join('\n');

const suiAddress = (text: string): string => {
  if (/^0x[0-9a-fA-F]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError('must be 0x and up to 64 hex digits.');
};

const tipCommand = (localnet: Command): void => {
  const mist = wholeNumber(0, Number.MAX_SAFE_INTEGER);
  withDirectory(localnet.command('tip'))
    .argument('[base]', 'MIST an upload; nothing: no tip', mist)
    .argument('[per-kib]', 'MIST a KiB of the encoded blob on top', mist)
    .description('what the upload relay wants to be paid')
    .action(async (base: number | undefined, perKib: number | undefined, options: Where) => {
      const tip =
        base === undefined
          ? 'none'
          : perKib === undefined
            ? { const: base }
            : { base, perEncodedKib: perKib };
      await setTip(directoryOf(options), tip);
      say(`tip: ${JSON.stringify(tip)}`);
      if (options.json === true) print(true, tip, () => '');
    });
};

const ledgerCommands = (localnet: Command): void => {
  const rpcUrlOf = async (options: Where) => (await localnetStatus(directoryOf(options))).rpcUrl;
  withDirectory(localnet.command('faucet'))
    .argument('<address>', 'address of a wallet', suiAddress)
    .description('give an address WAL and SUI to spend')
    .action(async (address: string, options: Where) => {
      const given = await faucet(await rpcUrlOf(options), address);
      say(`${formatCoin(BigInt(given.wal))} WAL and ${formatCoin(BigInt(given.sui))} SUI`);
      if (options.json === true) print(true, given, () => '');
    });
  const frost = wholeNumber(0, Number.MAX_SAFE_INTEGER);
  withDirectory(localnet.command('price'))
    .argument('<storage>', 'FROST a unit and epoch', frost)
    .argument('<write>', 'FROST a unit written', frost)
    .description('change prices at once, in mid-epoch')
    .action(async (storage: number, write: number, options: Where) => {
      await setPrices(await rpcUrlOf(options), BigInt(storage), BigInt(write));
      say(`a unit costs ${storage} FROST an epoch and ${write} FROST to write`);
      if (options.json === true) print(true, { storage, write }, () => '');
    });
  withDirectory(localnet.command('stake'))
    .argument('<n>', 'number of a node, from 0', wholeNumber(0, 999))
    .argument('<wal>', 'WAL', wholeNumber(0, 10_000_000))
    .description('set a node’s stake: with the next epoch shards follow stakes')
    .action(async (node: number, wal: number, options: Where) => {
      await setStakes(await rpcUrlOf(options), [{ node, frost: `${wal}000000000` }]);
      say(`node-${node} has a stake of ${wal} WAL from the next epoch on`);
      if (options.json === true) print(true, { node, wal }, () => '');
    });
  const epoch = localnet.command('epoch').description('control epochs');
  withDirectory(epoch.command('advance'))
    .argument('[n]', 'how many', wholeNumber(1, 1000), 1)
    .description('begin the next epoch')
    .action(async (by: number, options: Where) => {
      const reached = await advanceEpoch(await rpcUrlOf(options), by);
      say(`epoch ${reached.epoch}`);
      if (options.json === true) print(true, reached, () => '');
    });
};

const withDirectory = (command: Command): Command =>
  command
    .option('--dir <directory>', 'where the localnet lies (default: in the state directory)')
    .option('--json', 'print JSON');

/** Adds the commands. */
export const registerLocalnet = (program: Command): void => {
  const localnet = program
    .command('localnet')
    .description('a Walrus network on this machine: storage nodes and a ledger');
  const ms = wholeNumber(0, 2 ** 31 - 1);
  withDirectory(localnet.command('start'))
    .option(
      '--nodes <n>',
      'storage nodes (default: 13; the official SDK needs 11 or more)',
      wholeNumber(1, 1000),
    )
    .option('--shards <n>', 'shards (default: 100)', wholeNumber(4, 1000))
    .option(
      '--port <port>',
      'the ledger’s; the nodes’ follow (default: 31000)',
      wholeNumber(1, 65_534),
    )
    .option('--processes', 'one process a node instead of one for all')
    .option('--tls', 'nodes speak https, with keys published on the ledger')
    .option('--delay <ms>', 'until nodes learn what happened on the ledger (default: 500)', ms)
    .option('--epoch-ms <ms>', 'length of an epoch (default: 0, ends only when told to)', ms)
    .option('--read-lag <ms>', 'until reads see a transaction (default: 0)', ms)
    .description('start the network, or find it running, and enter it in the settings')
    .action(start);
  withDirectory(localnet.command('stop')).description('end all its processes').action(stop);
  withDirectory(localnet.command('status')).description('what runs where').action(status);
  nodesCommand(localnet);
  tipCommand(localnet);
  ledgerCommands(localnet);
};
