/**
 * Entry of the keeper: a child that is told over a private channel what to mount, says when that is
 * usable or why not, and from then on lives as long as the mount. SIGHUP restarts the daemon.
 */
import { messageOf, TuskError } from '../base/errors.ts';
import { keepCompiled } from './compiled.ts';
import type { DaemonConfig, StartMessage } from './config.ts';
import { Keeper } from './keeper.ts';
import { keeperTask } from './keeper-task.ts';

const tell = (message: StartMessage): Promise<void> =>
  new Promise(resolve => {
    if (process.connected) process.send!(message, () => resolve());
    else resolve();
  });

const start = async (config: DaemonConfig): Promise<void> => {
  try {
    const keeper = await Keeper.start(keeperTask(config));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => keeper.stop());
    process.on('SIGHUP', () => keeper.restart());
    await tell({ type: 'mounted' });
    keepCompiled();
    if (process.connected) process.disconnect();
    process.exit((await keeper.done).code);
  } catch (error) {
    const known = error instanceof TuskError ? error : new TuskError('internal', messageOf(error));
    await tell({ type: 'failed', code: known.code, kind: known.kind, message: known.message });
    process.exit(1);
  }
};

process.once('message', (config: DaemonConfig) => void start(config));
