#!/usr/bin/env node
/**
 * `mount.tuskfs VOLUME DIR [-sfnv] [-o OPTIONS] [-t TYPE]`: what mount(8) runs for the types
 * `tuskfs` and `fuse.tuskfs`, also out of fstab, once it is linked as /sbin/mount.tuskfs and
 * /sbin/mount.fuse.tuskfs. Options: mount-options.ts. Exit codes are those of mount(8).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { TuskError } from '../base/errors.ts';
import { mountWords } from './mount-options.ts';

const USAGE = 1;
const MOUNT_FAILED = 32;

interface HelperOptions {
  sloppy?: boolean;
  fake?: boolean;
  verbose?: boolean;
  options: string[];
}

/** Runs a program to its end; 0 or mount(8)'s code for a failed mount. */
const run = (program: string, args: string[], env: NodeJS.ProcessEnv = {}): number =>
  spawnSync(program, args, { stdio: 'inherit', env: { ...process.env, ...env } }).status === 0
    ? 0
    : MOUNT_FAILED;

/** Has mount(8) itself, without this helper, change flags of a mount; by mount(2), since FUSE refuses the newer calls. */
const change = (directory: string, flags: string[]): number =>
  run('mount', ['-i', '-o', flags.join(','), directory], { LIBMOUNT_FORCE_MOUNT2: 'always' });

const mount = (volume: string, directory: string, helper: HelperOptions): number => {
  const { options, sloppy, verbose } = helper;
  const { remount, readOnly, kernel, drive, unknown } = mountWords(...options);
  if (unknown.length > 0 && sloppy !== true && !remount) {
    console.error(`mount.tuskfs: unknown option ${unknown.join(', ')}; nothing was mounted`);
    return USAGE;
  }
  if (remount) return change(directory, ['remount', readOnly ? 'ro' : 'rw', ...kernel]);
  const main = fileURLToPath(new URL(`./main.${EXTENSION}`, import.meta.url));
  const mounting = [main, 'mount', volume, directory, '-o', [...drive, ...kernel].join(',')];
  if (verbose !== true) mounting.push('--quiet');
  return run(process.execPath, mounting);
};

/** `ts` in a checkout, `js` once built. */
const EXTENSION = import.meta.url.slice(-2);

const program = new Command('mount.tuskfs')
  .argument('<volume>', 'name of the volume')
  .argument('<directory>', 'an empty directory')
  .option(
    '-o, --options <list>',
    'separated by commas',
    (list, lists: string[]) => [...lists, list],
    [],
  )
  .option('-t, --type <type>', 'ignored')
  .option('-s, --sloppy', 'ignore unknown options')
  .option('-f, --fake', 'do everything but mount')
  .option('-n, --no-mtab', 'ignored')
  .option('-v, --verbose', 'say that it is mounted')
  .exitOverride()
  .action((volume: string, directory: string, options: HelperOptions) => {
    process.exitCode = options.fake === true ? 0 : mount(volume, directory, options);
  });
try {
  program.parse();
} catch (error) {
  if (error instanceof TuskError) console.error(`mount.tuskfs: ${error.message}`);
  else if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error instanceof CommanderError && error.exitCode === 0 ? 0 : USAGE;
}
