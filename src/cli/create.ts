/** `tuskfs create NAME`: a new sealed volume with a wallet of its own. */
import { type Command, Option } from 'commander';
import { EPOCHS_AHEAD_MAX } from '../base/limits.ts';
import { createVolume } from '../volume/create.ts';
import { loadSettings, nameTaken, networkNamed } from '../volume/settings.ts';
import { print, say } from './command.ts';
import { byteSize, coinAmount, wholeNumber } from './options.ts';
import { readPassphrase } from './passphrase.ts';

interface CreateCommandOptions {
  network: string;
  passphraseFile?: string;
  epochs: number;
  maxPackCost: bigint;
  cacheSize: number;
  json?: boolean;
}

/** Adds the command. */
export const registerCreate = (program: Command): void => {
  program
    .command('create')
    .argument('<volume>', 'name of the new volume')
    .requiredOption('--network <name>', 'network that keeps it, as in the settings (`localnet` …)')
    .option('--passphrase-file <file>', 'read the passphrase from a file')
    .option(
      '--epochs <n>',
      'epochs that every flush pays ahead, the running one counted (with one there would be no time to renew)',
      wholeNumber(2, EPOCHS_AHEAD_MAX),
      5,
    )
    .addOption(
      new Option('--max-pack-cost <wal>', 'most WAL that one pack may cost')
        .argParser(coinAmount)
        .default(5_000_000_000n, '5'),
    )
    .addOption(
      new Option('--cache-size <size>', 'most bytes kept locally though the network holds them')
        .argParser(byteSize)
        .default(10 * 2 ** 30, '10G'),
    )
    .option('--json', 'print JSON')
    .description('make a volume: keys, wallet, envelope; nothing is paid before the first flush')
    .action(async (name: string, options: CreateCommandOptions) => {
      const settings = loadSettings();
      if (settings.volumes[name] !== undefined) throw nameTaken(name);
      networkNamed(settings, options.network);
      const file = options.passphraseFile;
      const created = await createVolume({
        name,
        network: options.network,
        passphrase: await readPassphrase({ isNew: true, ...(file === undefined ? {} : { file }) }),
        epochsAhead: options.epochs,
        walMaxPerPack: options.maxPackCost,
        cacheBytesMax: options.cacheSize,
      });
      print(options.json === true, created, () => created.recoveryKey);
      if (options.json === true) return;
      say(
        [
          `${name} is made on ${options.network}; its wallet is ${created.address}.`,
          'The line above is the recovery key: it opens the volume without wallet and passphrase.',
          'Write it down and keep it apart from this machine; it is not shown again.',
        ].join('\n'),
      );
    });
};
