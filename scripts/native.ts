/** Builds the Rust addon and puts it where src/native.ts looks for it. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native/', import.meta.url));
const built = spawnSync(
  'cargo',
  ['build', '--release', '--locked', '--quiet', '-p', 'tuskfs-addon'],
  { cwd: native, stdio: 'inherit' },
);
if (built.error !== undefined) {
  console.error(`cargo could not be started: ${built.error.message}; install Rust and try again`);
  process.exit(1);
}
if (built.status !== 0) process.exit(built.status ?? 1);
const target = `${process.env.CARGO_TARGET_DIR ?? `${native}target`}/release/libtuskfs_addon.so`;
copyFileSync(target, `${native}tuskfs.node.new`);
renameSync(`${native}tuskfs.node.new`, `${native}tuskfs.node`);
