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

const mountHelper = fileURLToPath(new URL('../../scripts/mount.tuskfs', import.meta.url));
const settings = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const run = async (command: string, args: string[], timeout?: number): Promise<number> => {
  const options = timeout === undefined ? {} : ({ timeout, killSignal: 'SIGKILL' } as const);
  const child = spawn(command, args, { stdio: 'inherit', ...options });
  const [status] = await once(child, 'exit');
  return status ?? 1;
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
  return run('unshare', command, SUITE_TIMEOUT_MS);
};

/** The suite's exit status. */
const suite = async ({ work, drive }: Served): Promise<number> => {
  const program = install('pjdfstest');
  const secondary = join(work, 'secondary');
  mkdirSync(secondary);
  const all = ['-c', settings('pjdfstest.toml'), '-p', drive, '-s', secondary];
  const remounting = ['-c', settings('pjdfstest-remount.toml'), '-p', drive, 'erofs'];
  const status = await run(program, all, SUITE_TIMEOUT_MS);
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
