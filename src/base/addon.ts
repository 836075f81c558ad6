/** The Rust addon's file. Built from other sources than those beside it, it fails where nobody expects it. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, TuskError } from './errors.ts';

const NATIVE = fileURLToPath(new URL('../../native/', import.meta.url));
const FILE = 'tuskfs.node';

/** Where the addon lies. */
export const ADDON_PATH = join(NATIVE, FILE);

/** Was a source changed since the addon was built? */
const isStale = (native: string): boolean => {
  try {
    const builtMs = statSync(join(native, FILE)).mtimeMs;
    return ['addon/src', 'codec/src'].some(directory =>
      readdirSync(join(native, directory), { recursive: true, encoding: 'utf8' }).some(
        name => name.endsWith('.rs') && statSync(join(native, directory, name)).mtimeMs > builtMs,
      ),
    );
  } catch {
    return false;
  }
};

/** Text of whatever was thrown; of an error that nobody expected, with what to do where the addon is older than its sources. */
export const explained = (error: unknown, native = NATIVE): string =>
  error instanceof TuskError || !isStale(native)
    ? messageOf(error)
    : `${messageOf(error)} (the native addon is older than its sources: run \`npm run native\` and try again)`;
