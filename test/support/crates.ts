/** Test programs of others that are Rust crates, installed below native/target when missing. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = { pjdfstest: '0.2.2', fsx: '0.3.2' } as const;
const tools = fileURLToPath(new URL('../../native/target/tools', import.meta.url));

/** Path of a crate's program. */
export const install = (crate: keyof typeof VERSIONS): string => {
  const program = join(tools, 'bin', crate);
  if (existsSync(program)) return program;
  const where = ['--root', tools, '--target-dir', join(tools, 'build')];
  const what = ['--locked', '--quiet', ...where, `${crate}@${VERSIONS[crate]}`];
  if (spawnSync('cargo', ['install', ...what], { stdio: 'inherit' }).status !== 0)
    throw new Error(`${crate} cannot be installed`);
  return program;
};
