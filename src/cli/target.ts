/** Finding the volume that a command means: by its name, or by the directory where it is mounted. */
import { readFileSync, realpathSync } from 'node:fs';
import { TuskError } from '../base/errors.ts';
import { type VolumePaths, volumePaths } from '../volume/paths.ts';
import { loadSettings, type VolumeSettings, volumeNamed } from '../volume/settings.ts';

/** A volume named on the command line. */
export interface Target {
  readonly name: string;
  readonly settings: VolumeSettings;
  readonly paths: VolumePaths;
  /** Where it is mounted, as the kernel says; undefined if it is not. */
  readonly mountPoint: string | undefined;
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
export const tuskMounts = (): MountLine[] =>
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

/** The volume called `word`, or mounted at the path `word`. */
export const findTarget = (word: string): Target => {
  const mounts = tuskMounts();
  const settings = loadSettings();
  const path = resolved(word);
  const mounted = mounts.find(mount => mount.directory === path);
  if (mounted === undefined && settings.volumes[word] === undefined && word.includes('/')) {
    throw new TuskError('not_found', `no volume is mounted at ${word}`);
  }
  const name = mounted?.source ?? word;
  const volume = volumeNamed(settings, name);
  return {
    name,
    settings: volume,
    paths: volumePaths(volume.stateDirectory),
    mountPoint: (mounted ?? mounts.find(mount => mount.source === name))?.directory,
  };
};

/** The only mounted volume, for commands without a name. */
export const onlyTarget = (): Target => {
  const names = new Set(tuskMounts().map(mount => mount.source));
  if (names.size === 1) return findTarget([...names][0]!);
  throw new TuskError(
    'usage',
    names.size === 0
      ? 'no volume is mounted; name one'
      : `several volumes are mounted (${[...names].join(', ')}); name one`,
  );
};
