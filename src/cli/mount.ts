/** `tuskfs mount VOLUME DIR`: starts the daemon and returns when the drive is usable. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import {
  type ErrorCode,
  type ErrorKind,
  isDeadMount,
  messageOf,
  TuskError,
} from '../base/errors.ts';
import { compiledIn } from '../daemon/compiled.ts';
import type { DaemonConfig, StartMessage } from '../daemon/config.ts';
import { callDaemon } from '../daemon/control.ts';
import { Keeper } from '../daemon/keeper.ts';
import { entryOf, keeperTask } from '../daemon/keeper-task.ts';
import type { PaidReport, SyncReport } from '../daemon/report.ts';
import { openVolume } from '../volume/open.ts';
import { volumePaths } from '../volume/paths.ts';
import { needState } from '../volume/present.ts';
import {
  loadSettings,
  networkNamed,
  type VolumeSettings,
  volumeNamed,
} from '../volume/settings.ts';
import { say } from './command.ts';
import { type MountWords, mountWords } from './mount-options.ts';
import { duration, ratePlan } from './options.ts';
import { readPassphrase } from './passphrase.ts';
import { tellService } from './service.ts';
import { describeUmount, sayWarnings } from './sync.ts';
import { type Target, targetOf } from './target.ts';

interface MountOptions {
  foreground?: boolean;
  readOnly?: boolean;
  allowOther?: boolean;
  options: string[];
  passphraseFile?: string;
  readTimeout: number;
  stopTimeout: number;
  limitUpload: string;
  limitDownload: string;
  quiet?: boolean;
}

/** The mount point's real path; the kernel shows that one. A stale endpoint cannot be looked at and is taken as written. */
const mountPointOf = (directory: string): string => {
  try {
    return realpathSync(directory);
  } catch (cause) {
    if (isDeadMount(cause)) return resolve(directory);
    throw new TuskError(
      'not_found',
      `the mount point ${directory} cannot be used: ${messageOf(cause)}. Make the directory first.`,
      { cause },
    );
  }
};

/** The real path of a volume's state directory, which must be there to be written. */
const stateDirectoryOf = (state: string): string => {
  try {
    accessSync(state, constants.R_OK | constants.W_OK | constants.X_OK);
    return realpathSync(state);
  } catch (cause) {
    throw new TuskError(
      'io',
      `the volume's state directory ${state} cannot be used: ${messageOf(cause)}. Nothing was mounted, and what is staged there is safe; let this user write there, then mount again`,
      { cause, kind: 'permanent' },
    );
  }
};

/** A state directory below the mount point would make the daemon wait for itself. */
const refuseInside = (state: string, mountPoint: string): void => {
  const real = stateDirectoryOf(state);
  if (
    real === mountPoint ||
    real.startsWith(mountPoint.endsWith(sep) ? mountPoint : mountPoint + sep)
  ) {
    throw new TuskError(
      'usage',
      `the volume's state directory ${real} lies inside the mount point ${mountPoint}; nothing was mounted. Choose another mount point or move the state with TUSKFS_STATE_DIR.`,
    );
  }
};

/** A daemon that was unmounted may still send the last files: waited for this long. */
const LEAVING_MS = 20_000;
/** After this it is told to leave the rest to the next one. */
const SENDING_MS = 3000;

/** The volume once nobody serves it, or when it has been waited for long enough. */
const leftAlone = async (name: string, volume: VolumeSettings): Promise<Target> => {
  const start = systemClock.monotonicMs();
  for (let isTold = false; ; ) {
    const target = await targetOf(name, volume);
    const isLeaving = target.isServed && target.mountPoint === undefined;
    const waitedMs = systemClock.monotonicMs() - start;
    if (!isLeaving || waitedMs > LEAVING_MS) return target;
    if (!isTold && waitedMs > SENDING_MS) {
      isTold = true;
      // One that ends just now, or is of an older version, is waited for all the same.
      await callDaemon(target.paths.socket, 'makeWay').catch(() => undefined);
    }
    await systemClock.sleep(100);
  }
};

/** The error if a daemon lives: either it serves, or it is still leaving. */
const refuseServed = ({ name, mountPoint, isServed }: Target): void => {
  if (!isServed) return;
  if (mountPoint !== undefined)
    throw new TuskError('busy', `${name} is mounted already, at ${mountPoint}`);
  throw new TuskError(
    'busy',
    `${name} was unmounted, but programs still have files open there or the last files are on their way to the network; nothing was mounted. Try again in a moment; \`tuskfs status ${name}\` shows how far it is.`,
    { kind: 'transient' },
  );
};

/** The words of `-o`; those that this command cannot do are refused. */
const understood = (lists: string[]): MountWords => {
  const words = mountWords(...lists);
  const { unknown, remount } = words;
  if (unknown.length > 0)
    throw new TuskError('usage', `unknown option ${unknown.join(', ')}; nothing was mounted`);
  if (remount)
    throw new TuskError(
      'usage',
      'remount is done by mount(8): use `mount -o remount,… DIR`; nothing was mounted',
    );
  return words;
};

const configure = async (
  name: string,
  directory: string,
  options: MountOptions,
): Promise<DaemonConfig> => {
  const words = understood(options.options);
  const settings = loadSettings();
  const volume = volumeNamed(settings, name);
  const network = networkNamed(settings, volume.network);
  needState(name, volumePaths(volume.stateDirectory));
  // Before the mount point is looked at: where a daemon hangs, whoever looks waits.
  refuseServed(await leftAlone(name, volume));
  const mountPoint = mountPointOf(directory);
  refuseInside(volume.stateDirectory, mountPoint);
  const file = options.passphraseFile;
  const passphrase = await readPassphrase({
    isNew: false,
    ...(file === undefined ? {} : { file }),
  });
  const { volumeKey } = await openVolume(name, volume, passphrase);
  return {
    name,
    mountPoint,
    volume,
    networkName: volume.network,
    network,
    volumeKey,
    readOnly: options.readOnly === true || words.readOnly,
    allowOther: options.allowOther === true || words.allowOther,
    flags: words.flags,
    shown: words.shown,
    sizeBytes: words.sizeBytes,
    tethered: options.foreground === true,
    readTimeoutMs: options.readTimeout,
    stopTimeoutMs: options.stopTimeout,
    limits: { upload: options.limitUpload, download: options.limitDownload, ...words.limits },
  };
};

/** The end of the daemon's log, when its keeper died without a word. */
const lastWords = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-5).join('\n');
  } catch {
    return '';
  }
};

/** How a daemon in the foreground left. */
const sayFarewell = (name: string, report: SyncReport): void => {
  const text = describeUmount(name, report);
  say(text);
  sayWarnings(report.warnings);
  tellService(`STATUS=${text}`);
};

/** Resolves when the keeper says that the mount is usable. */
const started = (child: ChildProcess, config: DaemonConfig): Promise<void> =>
  new Promise((resolve, reject) => {
    // More than one can come: of the start, and of the message to a child that did not start.
    child.on('error', cause =>
      reject(
        new TuskError(
          'mount_failed',
          `the keeper of ${config.name} could not be started: ${cause.message}. Nothing was mounted.`,
          { cause },
        ),
      ),
    );
    child.once('exit', (code, signal) =>
      reject(
        new TuskError(
          'mount_failed',
          `the keeper of ${config.name} ended (${signal ?? code}) before the mount was usable.\n${lastWords(volumePaths(config.volume.stateDirectory).daemonLog)}`,
        ),
      ),
    );
    child.on('message', (message: StartMessage) => {
      if (message.type === 'mounted') resolve();
      else
        reject(
          new TuskError(message.code as ErrorCode, message.message, {
            kind: message.kind as ErrorKind,
          }),
        );
    });
    // What could not be started may have no channel either; the error above says why.
    if (child.pid !== undefined) child.send(config);
  });

/** Starts a keeper of its own, which lives on when this command ends. */
const startInBackground = async (config: DaemonConfig): Promise<void> => {
  const { daemonLog } = volumePaths(config.volume.stateDirectory);
  mkdirSync(dirname(daemonLog), { recursive: true, mode: 0o700 });
  const output = openSync(daemonLog, 'a', 0o600);
  const child = spawn(process.execPath, [...process.execArgv, entryOf('keeper-main')], {
    cwd: '/',
    env: compiledIn(config.volume.stateDirectory),
    detached: true,
    serialization: 'advanced',
    stdio: ['ignore', output, output, 'ipc'],
  });
  await started(child, config);
  child.disconnect();
  child.unref();
};

/** What the new mount's daemon has to warn of; a daemon that does not say so does not matter here. */
const sayWhatRunsOut = async (config: DaemonConfig): Promise<void> => {
  const { socket } = volumePaths(config.volume.stateDirectory);
  try {
    const { warnings } = (await callDaemon(socket, 'paid')) as PaidReport;
    sayWarnings(warnings);
  } catch {}
};

/** This command is the keeper. */
const startInForeground = async (config: DaemonConfig): Promise<Keeper<DaemonConfig>> => {
  const keeper = await Keeper.start(keeperTask(config));
  // The daemon stops in good order; the command waits for it. A second signal leaves the rest staged.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      tellService('STOPPING=1', 'STATUS=unmounting; sending the last files');
      keeper.stop();
    });
  return keeper;
};

/** Adds the command. */
export const registerMount = (program: Command): void => {
  program
    .command('mount')
    .argument('<volume>', 'name of the volume')
    .argument('<directory>', 'an empty directory')
    .option('--foreground', 'stay in the foreground')
    .option('--read-only', 'mount read-only')
    .option('--allow-other', 'let other users in (root does anyway)')
    .option(
      '-o, --options <list>',
      "ro, allow_other, size=BYTES (what df shows), limit_upload=RATE, limit_download=RATE, uid=N, gid=N, umask=OCTAL (owner and permissions that all files show); noexec, nosuid, nodev, noatime, sync; fstab's own words are passed over",
      (list, lists: string[]) => [...lists, list],
      [],
    )
    .option('--passphrase-file <file>', 'read the passphrase from a file')
    .addOption(
      new Option('--read-timeout <duration>', 'longest wait of a read for the network')
        .argParser(duration)
        .default(20_000, '20s'),
    )
    .addOption(
      new Option('--stop-timeout <duration>', 'longest wait for the last flush when stopped')
        .argParser(duration)
        .default(60_000, '60s'),
    )
    .addOption(
      new Option(
        '--limit-upload <rate>',
        'most bytes a second to the network, like 10M, or a timetable like "08:00,512K 18:00,10M 23:00,off"',
      )
        .argParser(ratePlan)
        .default('off'),
    )
    .addOption(
      new Option('--limit-download <rate>', 'most bytes a second from the network')
        .argParser(ratePlan)
        .default('off'),
    )
    .option('-q, --quiet', 'say nothing of a success')
    .description('mount a volume; returns when it is usable')
    .action(async (name: string, directory: string, options: MountOptions) => {
      const config = await configure(name, directory, options);
      const keeper = config.tethered ? await startInForeground(config) : undefined;
      if (keeper === undefined) await startInBackground(config);
      if (options.quiet !== true) say(`${name} is mounted at ${config.mountPoint}`);
      tellService('READY=1', `STATUS=mounted at ${config.mountPoint}`);
      const said = sayWhatRunsOut(config);
      if (keeper === undefined) return said;
      const { code, report } = await keeper.done;
      if (report !== undefined) sayFarewell(name, report);
      process.exit(code);
    });
};
