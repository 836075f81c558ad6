/**
 * Runs a suite of others on a mounted vfs over the real index: `suite.ts pjdfstest`, or
 * `suite.ts fsx SEED`. Their programs are Rust crates, installed below native/target when missing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Served } from '../support/served.ts';

const FSX_OPERATIONS = 100_000;
/** No suite takes longer, unless the mount hangs. */
const SUITE_TIMEOUT_MS = 300_000;

const tools = fileURLToPath(new URL('../../native/target/tools', import.meta.url));
const settings = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const run = async (command: string, args: string[], timeout?: number): Promise<number> => {
  const options = timeout === undefined ? {} : ({ timeout, killSignal: 'SIGKILL' } as const);
  const child = spawn(command, args, { stdio: 'inherit', ...options });
  const [status] = await once(child, 'exit');
  return status ?? 1;
};

/** Path of a crate's program. */
const install = async (crate: string, version: string): Promise<string> => {
  const program = join(tools, 'bin', crate);
  if (existsSync(program)) return program;
  const where = ['--root', tools, '--target-dir', join(tools, 'build')];
  const what = ['install', '--locked', '--quiet', ...where, `${crate}@${version}`];
  if ((await run('cargo', what)) !== 0) throw new Error(`${crate} ${version} cannot be installed`);
  return program;
};

/** The suite's exit status. */
const suites: Record<string, (served: Served, seed: string) => Promise<number>> = {
  async pjdfstest({ work, drive }) {
    const program = await install('pjdfstest', '0.2.2');
    const secondary = join(work, 'secondary');
    mkdirSync(secondary);
    const args = ['-c', settings('pjdfstest.toml'), '-p', drive, '-s', secondary];
    return run(program, args, SUITE_TIMEOUT_MS);
  },
  async fsx({ work, drive }, seed) {
    const program = await install('fsx', '0.3.2');
    const args = ['-f', settings('fsx.toml'), '-S', seed, '-N', `${FSX_OPERATIONS}`];
    return run(program, [...args, '-P', work, join(drive, 'fsx')], SUITE_TIMEOUT_MS);
  },
};

const [name = '', seed = '1'] = process.argv.slice(2);
const suite = suites[name];
if (suite === undefined) throw new Error(`there is no suite ${name}`);
const served = new Served(name);
try {
  await served.start();
  process.exitCode = await suite(served, seed);
  await served.stop();
} finally {
  await served.remove();
}
