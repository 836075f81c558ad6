#!/usr/bin/env node
/**
 * `mount.tuskfs VOLUME DIR [-sfnv] [-o OPTIONS] [-t TYPE]`: what mount(8) runs for the types
 * `tuskfs` and `fuse.tuskfs`, also out of fstab, once it is linked as /sbin/mount.tuskfs and
 * /sbin/mount.fuse.tuskfs. Options are the drive's (`ro`, `allow_other`), the kernel's (`nosuid`,
 * …), which mount(8) sets itself once the drive is there, or fstab's own, which mean nothing here.
 * Exit codes are those of mount(8).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';

const USAGE = 1;
const MOUNT_FAILED = 32;

const DRIVE: Readonly<Record<string, string>> = { ro: '--read-only', allow_other: '--allow-other' };
/** Options of the drive with a value: `limit_upload=10M`. */
const VALUED = /^(limit_upload|limit_download)=(.+)$/;
/** What an option of the drive is on the command line; nothing for others. */
const wordsOf = (option: string): string[] => {
  const [, name, value] = VALUED.exec(option) ?? [];
  if (name !== undefined) return [`--${name.replace('_', '-')}`, value!];
  return Object.hasOwn(DRIVE, option) ? [DRIVE[option]!] : [];
};
/** Flags of mount(2) that a mounted file system can be given. */
const KERNEL = new Set(
  'ro rw nosuid suid nodev dev noexec exec noatime atime nodiratime diratime relatime norelatime strictatime nostrictatime lazytime nolazytime'.split(
    ' ',
  ),
);
const FSTAB = new Set(
  'defaults auto noauto user nouser users nousers owner noowner group nogroup nofail _netdev async rw'.split(
    ' ',
  ),
);
const isFstab = (option: string): boolean =>
  FSTAB.has(option) || /^(x-|X-|comment=|user=|helper=|uhelper=)/.test(option);

interface HelperOptions {
  sloppy?: boolean;
  fake?: boolean;
  options: string[];
}

/** Runs a program to its end; 0 or mount(8)'s code for a failed mount. */
const run = (program: string, args: string[], env: NodeJS.ProcessEnv = {}): number =>
  spawnSync(program, args, { stdio: 'inherit', env: { ...process.env, ...env } }).status === 0
    ? 0
    : MOUNT_FAILED;

/** Has mount(8) itself, without this helper, change flags of a mount; by mount(2), since FUSE refuses the newer calls. */
const setFlags = (directory: string, flags: string[]): number =>
  run('mount', ['-i', '-o', flags.join(','), directory], { LIBMOUNT_FORCE_MOUNT2: 'always' });

const mount = (volume: string, directory: string, { options, sloppy }: HelperOptions): number => {
  if (options.includes('remount'))
    return setFlags(directory, ['remount', ...options.filter(option => KERNEL.has(option))]);
  const unknown = options.filter(
    option => wordsOf(option).length === 0 && !KERNEL.has(option) && !isFstab(option),
  );
  if (unknown.length > 0 && sloppy !== true) {
    console.error(`mount.tuskfs: unknown option ${unknown.join(', ')}; nothing was mounted`);
    return USAGE;
  }
  const main = fileURLToPath(new URL(`./main.${EXTENSION}`, import.meta.url));
  const words = options.flatMap(wordsOf);
  const mounted = run(process.execPath, [main, 'mount', volume, directory, ...words]);
  const flags = options.filter(
    option => KERNEL.has(option) && option !== 'ro' && !FSTAB.has(option),
  );
  if (mounted !== 0 || flags.length === 0) return mounted;
  return setFlags(directory, [
    'remount',
    'bind',
    ...(options.includes('ro') ? ['ro'] : []),
    ...flags,
  ]);
};

/** `ts` in a checkout, `js` once built. */
const EXTENSION = import.meta.url.slice(-2);

const program = new Command('mount.tuskfs')
  .argument('<volume>', 'name of the volume')
  .argument('<directory>', 'an empty directory')
  .option(
    '-o, --options <list>',
    'separated by commas',
    list => list.split(',').filter(Boolean),
    [],
  )
  .option('-t, --type <type>', 'ignored')
  .option('-s, --sloppy', 'ignore unknown options')
  .option('-f, --fake', 'do everything but mount')
  .option('-n, --no-mtab', 'ignored')
  .option('-v, --verbose', 'ignored')
  .exitOverride()
  .action((volume: string, directory: string, options: HelperOptions) => {
    process.exitCode = options.fake === true ? 0 : mount(volume, directory, options);
  });
try {
  program.parse();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : USAGE;
}
