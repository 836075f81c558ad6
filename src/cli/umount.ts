/** `tuskfs umount DIR`: unmounts, then flushes what is left within a limit. */
import { setTimeout } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { TuskError } from '../base/errors.ts';
import { callDaemon, isServed } from '../daemon/control.ts';
import type { SyncProgress, SyncReport } from '../daemon/report.ts';
import { Exit, print, say } from './command.ts';
import { duration } from './options.ts';
import { ProgressBar } from './progress.ts';
import { describeUmount, sayWarnings } from './sync.ts';
import { findTarget } from './target.ts';

/** Between the daemon's answer and its end. */
const LEAVE_MS_MAX = 5000;

/** Waits until the daemon is gone, so that the volume can be mounted again at once. */
const left = async (socket: string): Promise<void> => {
  const until = performance.now() + LEAVE_MS_MAX;
  while (performance.now() < until && (await isServed(socket))) await setTimeout(20);
};

/** Adds the command. */
export const registerUmount = (program: Command): void => {
  program
    .command('umount')
    .argument('<volume>', 'name of a volume, or where it is mounted')
    .option(
      '--lazy',
      'take the mount away now; programs with open files keep them until they close',
    )
    .addOption(
      new Option('--timeout <duration>', 'longest time for the last flush')
        .argParser(duration)
        .default(60_000, '60s'),
    )
    .option('-q, --quiet', 'no progress bar')
    .option('--json', 'print JSON')
    .description('unmount a volume and flush what is left')
    .action(
      async (
        word: string,
        options: { lazy?: boolean; timeout: number; quiet?: boolean; json?: boolean },
      ) => {
        const target = await findTarget(word);
        const bar = new ProgressBar(options.quiet === true);
        let report: SyncReport;
        try {
          report = await callDaemon(
            target.paths.socket,
            'umount',
            { lazy: options.lazy === true, timeoutMs: options.timeout },
            (progress: SyncProgress) => bar.draw(progress),
          );
        } catch (error) {
          if (error instanceof TuskError && error.code === 'not_found') {
            throw new TuskError('not_found', `${target.name} is not mounted`);
          }
          throw error;
        } finally {
          bar.clear();
        }
        if (report.isHeld !== true) await left(target.paths.socket);
        if (options.json === true) print(true, report, () => '');
        else say(describeUmount(target.name, report));
        sayWarnings(report.warnings);
        process.exitCode = report.pending === '' ? Exit.done : Exit.pending;
      },
    );
};
