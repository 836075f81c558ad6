/**
 * Finding the volume that a command means: by its name, or by the directory where it is mounted.
 * Other people's volumes may bear the same names, so where one is mounted is what its own daemon says.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { TuskError } from '../base/errors.ts';
import { callDaemon } from '../daemon/control.ts';
import { type VolumePaths, volumePaths } from '../volume/paths.ts';
import { needState } from '../volume/present.ts';
import {
  loadSettings,
  type Settings,
  type VolumeSettings,
  volumeNamed,
} from '../volume/settings.ts';

/** A volume named on the command line. */
export interface Target {
  readonly name: string;
  readonly settings: VolumeSettings;
  readonly paths: VolumePaths;
  /** Where it is mounted; undefined if it is not. */
  readonly mountPoint: string | undefined;
  /** True while its daemon lives: it may outlive the mount to send the last files. */
  readonly isServed: boolean;
}

/** A line of /proc/self/mounts that is one of ours. */
interface MountLine {
  source: string;
  directory: string;
}

/** Spaces and the like stand as octal escapes in /proc/self/mounts. */
const unescapeOctal = (text: string): string =>
  Buffer.from(
    text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    'latin1',
  ).toString('utf8');

/** All mounts of type fuse.tuskfs. */
const tuskMounts = (): MountLine[] =>
  readFileSync('/proc/self/mounts', 'latin1')
    .split('\n')
    .map(line => line.split(' '))
    .filter(fields => fields[2] === 'fuse.tuskfs')
    .map(([source, directory]) => ({
      source: unescapeOctal(source!),
      directory: unescapeOctal(directory!),
    }));

/** The real path of a directory that may be a stale endpoint. */
const resolved = (path: string): string => {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
};

/**
 * What is mounted at a path, which is looked at only if need be: a daemon that is stopped or hangs
 * would keep whoever looks waiting. `isName` says that the path is the name of a volume, too.
 */
const mountAt = (path: string, isName: boolean): MountLine | undefined => {
  const mounts = tuskMounts();
  const at = (directory: string) => mounts.findLast(mount => mount.directory === directory);
  const written = at(path);
  if (written !== undefined || isName) return written;
  return at(join(resolved(dirname(path)), basename(path))) ?? at(resolved(path));
};

/** Where the daemon behind a control socket has mounted its volume; undefined if none lives. */
const servedAt = async (socket: string): Promise<string | undefined> => {
  try {
    return ((await callDaemon(socket, 'where')) as { mountPoint: string }).mountPoint;
  } catch (error) {
    if (error instanceof TuskError && ['not_found', 'aborted'].includes(error.code))
      return undefined;
    throw error;
  }
};

/** A volume of the settings as a target. */
export const targetOf = async (name: string, settings: VolumeSettings): Promise<Target> => {
  const paths = volumePaths(settings.stateDirectory);
  needState(name, paths);
  const at = await servedAt(paths.socket);
  const mounted = tuskMounts().some(mount => mount.source === name && mount.directory === at);
  return {
    name,
    settings,
    paths,
    mountPoint: mounted ? at : undefined,
    isServed: at !== undefined,
  };
};

/** The volume mounted at a path, which must be one of this user's with its daemon alive. */
const targetAt = async ({ source, directory }: MountLine, all: Settings): Promise<Target> => {
  const settings = all.volumes[source];
  const target = settings === undefined ? undefined : await targetOf(source, settings);
  if (target?.mountPoint === directory) return target;
  throw new TuskError(
    'not_found',
    target?.isServed === false
      ? `the daemon of ${source} at ${directory} is gone; nothing that it took over is lost. Mount ${source} again there, or take the dead mount away with \`umount -l ${directory}\`.`
      : `what is mounted at ${directory} (${source}) is not a volume of these settings`,
  );
};

/** The volume called `word`, or mounted at the path `word`. */
export const findTarget = async (word: string): Promise<Target> => {
  const settings = loadSettings();
  const isName = settings.volumes[word] !== undefined;
  const mounted = mountAt(resolve(word), isName);
  if (mounted !== undefined) return targetAt(mounted, settings);
  if (!isName && (word.includes('/') || word.startsWith('.')))
    throw new TuskError('not_found', `no volume is mounted at ${word}`);
  return targetOf(word, volumeNamed(settings, word));
};

/** All volumes of the settings. */
const allTargets = (): Promise<Target>[] =>
  Object.entries(loadSettings().volumes).map(([name, settings]) => targetOf(name, settings));

/** The only mounted volume, for commands without a name. */
export const onlyTarget = async (): Promise<Target> => {
  const mounted = (await Promise.all(allTargets())).filter(
    target => target.mountPoint !== undefined,
  );
  if (mounted.length === 1) return mounted[0]!;
  throw new TuskError(
    'usage',
    mounted.length === 0
      ? 'no volume is mounted; name one'
      : `several volumes are mounted (${mounted.map(target => target.name).join(', ')}); name one`,
  );
};
