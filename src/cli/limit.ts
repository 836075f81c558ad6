/** `tuskfs limit VOLUME`: how fast a mounted volume may talk to the network, from now until it is unmounted. */
import type { Command } from 'commander';
import { TuskError } from '../base/errors.ts';
import { callDaemon } from '../daemon/control.ts';
import { print } from './command.ts';
import { ratePlan } from './options.ts';
import { findTarget } from './target.ts';

interface LimitOptions {
  upload?: string;
  download?: string;
  json?: boolean;
}

/** Adds the command. */
export const registerLimit = (program: Command): void => {
  program
    .command('limit')
    .argument('<volume>', 'name of a volume, or where it is mounted')
    .option(
      '--upload <rate>',
      'most bytes a second to the network: 10M, off, or a timetable like "08:00,512K 18:00,10M"',
      ratePlan,
    )
    .option('--download <rate>', 'most bytes a second from the network', ratePlan)
    .option('--json', 'print JSON')
    .description('show or change the limits of a mounted volume; they end with the mount')
    .action(async (word: string, { json, ...wanted }: LimitOptions) => {
      const target = await findTarget(word);
      if (!target.isServed) {
        throw new TuskError(
          'not_found',
          `${target.name} is not mounted, and limits are a mount's. Give them to \`tuskfs mount\` as --limit-upload and --limit-download.`,
        );
      }
      const now = (await callDaemon(target.paths.socket, 'limit', { ...wanted })) as {
        upload: string;
        download: string;
      };
      print(json === true, now, () => `upload    ${now.upload}\ndownload  ${now.download}`);
    });
};
