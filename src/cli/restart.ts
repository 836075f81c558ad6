/** `tuskfs restart [VOLUME|DIR]`: a new daemon under a mount that stays, as after an upgrade. */
import type { Command } from 'commander';
import { TuskError } from '../base/errors.ts';
import { callDaemon } from '../daemon/control.ts';
import type { StatusReport } from '../daemon/report.ts';
import { print, say } from './command.ts';
import { findTarget, onlyTarget } from './target.ts';

/** Adds the command. */
export const registerRestart = (program: Command): void => {
  program
    .command('restart')
    .argument('[volume]', 'name of a volume, or where it is mounted')
    .option('--json', 'print JSON')
    .description(
      'start the daemon of a mounted volume anew, as after an upgrade; programs there wait a moment and go on',
    )
    .action(async (word: string | undefined, options: { json?: boolean }) => {
      const { name, paths, isServed } = await (word === undefined
        ? onlyTarget()
        : findTarget(word));
      if (!isServed) throw new TuskError('not_found', `${name} is not mounted`);
      await callDaemon(paths.socket, 'restart');
      // Answered by the new daemon, as soon as it serves.
      const { pid } = (await callDaemon(paths.socket, 'status')) as StatusReport;
      if (options.json === true) print(true, { volume: name, pid }, () => '');
      else say(`${name} is served by a new daemon (pid ${pid})`);
    });
};
