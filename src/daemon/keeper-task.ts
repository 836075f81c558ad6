/** A volume's daemon as a task for its keeper. */
import { fileURLToPath } from 'node:url';
import { volumePaths } from '../volume/paths.ts';
import type { DaemonConfig } from './config.ts';
import type { KeeperTask } from './keeper.ts';

/** `ts` in a checkout, `js` once built. */
const EXTENSION = import.meta.url.slice(-2);

/** Path of an entry of this room. */
export const entryOf = (name: 'main' | 'keeper-main'): string =>
  fileURLToPath(new URL(`./${name}.${EXTENSION}`, import.meta.url));

/** What is to be kept of a volume. */
export const keeperTask = (config: DaemonConfig): KeeperTask<DaemonConfig> => {
  const { name, mountPoint, readOnly, allowOther, flags } = config;
  return {
    ...{ name, mountPoint, config },
    options: { readOnly, flags, ...(allowOther ? { allowOther } : {}) },
    paths: volumePaths(config.volume.stateDirectory),
    entry: entryOf('main'),
  };
};
