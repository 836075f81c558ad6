/** Test programs of others that are Rust crates, installed below native/target when missing. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = { pjdfstest: '0.2.2', fsx: '0.3.2' } as const;
const tools = fileURLToPath(new URL('../../native/target/tools', import.meta.url));

type Crate = keyof typeof VERSIONS;

/** The command that installs a crate, or finds it installed. Only fsx itself is optimised: compiling the rest so would take longer than it saves. */
export const installCommand = (crate: Crate): string[] => [
  ...['cargo', 'install', `${crate}@${VERSIONS[crate]}`, '--locked', '--quiet', '--debug'],
  ...['--config', 'profile.dev.debug=false'],
  ...(crate === 'fsx' ? ['--config', 'profile.dev.package.fsx.opt-level=3'] : []),
  ...['--root', tools, '--target-dir', join(tools, 'build')],
];

/** Path of a crate's program. */
export const install = (crate: Crate): string => {
  const program = join(tools, 'bin', crate);
  if (existsSync(program)) return program;
  const [cargo = '', ...args] = installCommand(crate);
  if (spawnSync(cargo, args, { stdio: 'inherit' }).status !== 0)
    throw new Error(`${crate} cannot be installed`);
  return program;
};
