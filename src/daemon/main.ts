/**
 * Entry of the daemon: a child that is told over a private channel what to serve, says when the
 * mount is usable or why not, and from then on lives until it is unmounted or told to stop.
 */
import { messageOf, TuskError } from '../base/errors.ts';
import { log, logToFile } from '../base/log.ts';
import { volumePaths } from '../volume/paths.ts';
import type { DaemonConfig, StartMessage } from './config.ts';
import { serve } from './serve.ts';

const tell = (message: StartMessage): Promise<void> =>
  new Promise(resolve => {
    if (!process.connected) return resolve();
    process.send!(message, () => resolve());
  });

const start = async (config: DaemonConfig): Promise<void> => {
  const { daemonLog } = volumePaths(config.volume.stateDirectory);
  logToFile(daemonLog);
  process.on('uncaughtException', error => {
    log('daemon').fatal({ error: messageOf(error), stack: error.stack }, 'died');
    process.exit(1);
  });
  try {
    const { done } = await serve(config);
    await tell({ type: 'mounted' });
    if (!config.tethered && process.connected) process.disconnect();
    process.exit(await done);
  } catch (error) {
    const known = error instanceof TuskError ? error : new TuskError('internal', messageOf(error));
    log('daemon').error({ error: known.message, stack: known.stack }, 'could not mount');
    await tell({ type: 'failed', code: known.code, kind: known.kind, message: known.message });
    process.exit(1);
  }
};

process.once('message', (config: DaemonConfig) => void start(config));
