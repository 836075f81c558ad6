/**
 * Where things lie: XDG directories, overridden by `TUSKFS_CONFIG_DIR` and `TUSKFS_STATE_DIR` (empty
 * is as unset). Always absolute: daemons work elsewhere, and the settings keep these paths.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { TuskError } from '../base/errors.ts';

/** A user that the system does not know has no home without HOME. */
const home = (): string => {
  try {
    return homedir();
  } catch (cause) {
    throw new TuskError(
      'usage',
      'this user has no home directory: set HOME, or say with TUSKFS_CONFIG_DIR and TUSKFS_STATE_DIR where settings and state lie. Nothing was changed.',
      { cause },
    );
  }
};

const xdg = (own: string, xdgVariable: string, fallback: string): string =>
  resolve(process.env[own] || join(process.env[xdgVariable] || join(home(), fallback), 'tuskfs'));

/** Settings and wallets. */
export const configDirectory = (): string => xdg('TUSKFS_CONFIG_DIR', 'XDG_CONFIG_HOME', '.config');
/** Volumes' state (log, index, cache, journal) and localnet. */
export const stateDirectory = (): string =>
  xdg('TUSKFS_STATE_DIR', 'XDG_STATE_HOME', '.local/state');

/** The files of one volume's state directory. */
export interface VolumePaths {
  readonly root: string;
  /** Wrapped keys; the same bytes as in every checkpoint. */
  readonly envelope: string;
  readonly log: string;
  readonly index: string;
  /** Sealed packs that the network does not surely hold yet. */
  readonly outbox: string;
  readonly journal: string;
  readonly cache: string;
  /** Encoded slivers, index copies: may be removed at any time while nothing runs. */
  readonly scratch: string;
  /** Highest checkpoint known. */
  readonly head: string;
  readonly socket: string;
  /** Held by the one process that works on the volume. */
  readonly lock: string;
  readonly daemonLog: string;
}

/** Names within a state directory. */
export const volumePaths = (root: string): VolumePaths => ({
  root,
  envelope: join(root, 'envelope'),
  log: join(root, 'log'),
  index: join(root, 'index'),
  outbox: join(root, 'outbox'),
  journal: join(root, 'journal'),
  cache: join(root, 'cache'),
  scratch: join(root, 'scratch'),
  head: join(root, 'journal', 'head.json'),
  socket: join(root, 'control.sock'),
  lock: join(root, 'lock'),
  daemonLog: join(root, 'daemon.log'),
});
