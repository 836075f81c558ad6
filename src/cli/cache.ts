/** `tuskfs cache drop VOLUME`: throws away local copies of what the network holds, but for the last page of each file. */
import { readdirSync } from 'node:fs';
import type { Command } from 'commander';
import { TuskError } from '../base/errors.ts';
import { formatBytes } from '../base/figures.ts';
import { callDaemon } from '../daemon/control.ts';
import { dropCache } from '../volume/drop-cache.ts';
import { print, say } from './command.ts';
import { findTarget } from './target.ts';

/** Adds the command. */
export const registerCache = (program: Command): void => {
  program
    .command('cache')
    .description('local copies of what the network holds')
    .command('drop')
    .argument('<volume>', 'name of a volume, or where it is mounted')
    .option('--json', 'print JSON')
    .description(
      'throw away local copies of content that the network holds; staged files are kept, and the last page of each file',
    )
    .action(async (word: string, options: { json?: boolean }) => {
      const target = await findTarget(word);
      const left = !target.isServed
        ? await dropCache(target.name, target.paths)
        : ((await callDaemon(target.paths.socket, 'dropCache')) as { stagedBytes: number });
      const packs = readdirSync(target.paths.outbox).length;
      print(options.json === true, { ...left, packsPending: packs }, () => '');
      if (left.stagedBytes > 0 || packs > 0) {
        throw new TuskError(
          'pending',
          `the cache of ${target.name} is empty, but ${formatBytes(left.stagedBytes)} and ${packs} packs are not surely on the network yet and stay here; mount the volume and run \`tuskfs sync\``,
        );
      }
      if (options.json !== true)
        say(`${target.name}: no content is left on this machine but the last page of each file`);
    });
};
