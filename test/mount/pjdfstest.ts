/** Runs pjdfstest on a mounted vfs over the real index. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install } from '../support/crates.ts';
import { letGoOfOthers } from '../support/namespace.ts';
import { Served } from '../support/served.ts';

/** It takes no longer, unless the mount hangs. */
const SUITE_TIMEOUT_MS = 600_000;

/** Tests that remount run by themselves; Linux says of no file system over FUSE how many links a file may have. */
const ELSEWHERE = /::erofs_|^link::link_count_max$/;
const NONE = /^$/;

const mountHelper = fileURLToPath(new URL('../../scripts/mount.tuskfs', import.meta.url));
const settings = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Runs the suite's program; its exit status, or 1 if it skips a test that does not match `mayBeSkipped`. */
const run = async (command: string, args: string[], mayBeSkipped: RegExp): Promise<number> => {
  const options = { timeout: SUITE_TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  const child = spawn(command, args, { stdio: ['inherit', 'pipe', 'inherit'], ...options });
  let said = '';
  child.stdout.on('data', text => (said += text)).pipe(process.stdout);
  const [status] = await once(child, 'close');
  const skipped = [...said.matchAll(/^(\S+)\s+skipped$/gm)].map(([, name]) => name!);
  const unexpected = skipped.filter(name => !mayBeSkipped.test(name));
  if (unexpected.length > 0) console.error(`skipped, but must run: ${unexpected.join(' ')}`);
  return unexpected.length > 0 || !/ [1-9]\d* passed/.test(said) ? 1 : (status ?? 1);
};

/**
 * Runs a program for which mount(8) finds our helper: in a mount namespace where it takes the
 * place of the fuse package's, which is asked for want of an installed one.
 */
const runWithHelper = (work: string, program: string, args: string[]): Promise<number> => {
  const helper = join(work, 'mount-helper');
  writeFileSync(helper, `#!/bin/sh\nexec ${mountHelper} "$@"\n`, { mode: 0o755 });
  const script = `${letGoOfOthers(work)}; mount --bind ${helper} /sbin/mount.fuse && exec "$@"`;
  const command = ['--mount', 'sh', '-c', script, 'sh', program, ...args];
  return run('unshare', command, NONE);
};

/** The suite's exit status. */
const suite = async ({ work, drive }: Served): Promise<number> => {
  const program = install('pjdfstest');
  const secondary = join(work, 'secondary');
  mkdirSync(secondary);
  const all = ['-c', settings('pjdfstest.toml'), '-p', drive, '-s', secondary];
  const remounting = ['-c', settings('pjdfstest-remount.toml'), '-p', drive, 'erofs'];
  const status = await run(program, all, ELSEWHERE);
  return (await runWithHelper(work, program, remounting)) || status;
};

const served = new Served('pjdfstest');
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void served.remove().finally(() => process.exit(1)));
try {
  await served.start();
  process.exitCode = await suite(served);
  await served.stop();
} finally {
  await served.remove();
}
