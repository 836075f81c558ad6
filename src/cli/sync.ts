/** `tuskfs sync [VOLUME|DIR]`: returns when everything written before is checkpointed. */
import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import { TuskError } from '../base/errors.ts';
import { formatBytes, formatCoin } from '../base/figures.ts';
import { callDaemon } from '../daemon/control.ts';
import type { SyncProgress, SyncReport } from '../daemon/report.ts';
import { Exit, print, say } from './command.ts';
import { duration } from './options.ts';
import { ProgressBar } from './progress.ts';
import { findTarget, onlyTarget } from './target.ts';

/**
 * Asks the kernel to hand over every dirty page of the mount (syncfs). It may repeat an error of
 * some time ago, once: then pages are handed over all the same, and the error is answered.
 */
const handOver = (mountPoint: string): string[] => {
  const attempt = (): string | undefined => {
    const env = { ...process.env, LC_ALL: 'C' };
    const done = spawnSync('sync', ['-f', mountPoint], { encoding: 'utf8', env });
    return done.status === 0 ? undefined : (done.stderr || done.error?.message || '').trim();
  };
  const first = attempt();
  if (first === undefined) return [];
  const second = attempt();
  if (second !== undefined)
    throw new TuskError('io', `${mountPoint} could not be synced: ${second}`);
  // Of a program that was killed while it changed a name: no bytes are concerned.
  if (first.includes('Interrupted system call')) return [];
  return [
    `the kernel says that a write to ${mountPoint} failed some time ago (${first}): a program that heeds neither fsync nor close may have left a file incomplete. Everything that is there now is synced`,
  ];
};

/** What is not on the network, and why. */
export const describePending = (report: SyncReport): string =>
  `${formatBytes(report.pendingBytes)} not yet on the network: ${report.pending.replace(/\.$/, '')}.`;

/** How it ended, on one line. */
export const describeSync = (report: SyncReport): string =>
  report.pending === ''
    ? `checkpoint ${report.checkpoint}: everything is on the network (${formatCoin(BigInt(report.wal))} WAL, ${formatCoin(BigInt(report.sui))} SUI)`
    : `${describePending(report)} They are safe on this machine and go on by themselves while the volume is mounted.`;

/** What must not be overlooked, a line each. */
export const sayWarnings = (warnings: readonly string[]): void => {
  for (const warning of warnings) say(`tuskfs: WARNING: ${warning}`);
};

/** How an unmounted volume was left. */
export const describeUmount = (name: string, report: SyncReport): string => {
  const done = `${name} is unmounted.`;
  if (report.isHeld === true)
    return `${done} Programs still have files open there, or a container (another mount namespace) still shows it: what they write is kept and sent when the last of them lets go. So far: ${describeSync(report)}`;
  if (report.pending === '') return `${done} ${describeSync(report)}`;
  if (report.fault !== '') return `${done} ${describePending(report)}`;
  const next = report.isStuck ? '' : '; mount the volume again to send them';
  return `${done} ${describePending(report)} They are safe on this machine${next}.`;
};

/** Adds the command. */
export const registerSync = (program: Command): void => {
  program
    .command('sync')
    .argument('[volume]', 'name of a volume, or where it is mounted')
    .option('--timeout <duration>', 'give up waiting after this long (the work goes on)', duration)
    .option('-q, --quiet', 'no progress bar')
    .option('--json', 'print JSON')
    .description('wait until everything written so far is checkpointed on the network')
    .action(
      async (
        word: string | undefined,
        options: { timeout?: number; quiet?: boolean; json?: boolean },
      ) => {
        const target = await (word === undefined ? onlyTarget() : findTarget(word));
        if (target.mountPoint === undefined) {
          throw new TuskError('not_found', `${target.name} is not mounted; mount it first`);
        }
        const warnings = handOver(target.mountPoint);
        const bar = new ProgressBar(options.quiet === true);
        let report: SyncReport;
        try {
          report = await callDaemon(
            target.paths.socket,
            'sync',
            { timeoutMs: options.timeout ?? null },
            (progress: SyncProgress) => bar.draw(progress),
          );
        } finally {
          bar.clear();
        }
        if (options.json === true) print(true, report, () => '');
        else say(describeSync(report));
        sayWarnings([...warnings, ...report.warnings]);
        process.exitCode = report.pending === '' ? Exit.done : Exit.pending;
      },
    );
};
