/**
 * Entry of the daemon: a child of the keeper that is told over a private channel what to serve, says
 * when the mount is usable or why not, and from then on lives until it is unmounted or told to stop.
 */
import { explained } from '../base/addon.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import { log, logToFile } from '../base/log.ts';
import { volumePaths } from '../volume/paths.ts';
import { needState } from '../volume/present.ts';
import { keepCompiled } from './compiled.ts';
import type { DaemonConfig } from './config.ts';
import type { DaemonStart, FromDaemon } from './handover.ts';
import { serve } from './serve.ts';

const tell = (message: FromDaemon): Promise<void> =>
  new Promise(resolve => {
    if (!process.connected) return resolve();
    process.send!(message, () => resolve());
  });

const start = async ({ config, handover }: DaemonStart<DaemonConfig>): Promise<void> => {
  process.on('uncaughtException', error => {
    log('daemon').fatal({ error: messageOf(error), stack: error.stack }, 'died');
    process.exit(1);
  });
  try {
    const paths = volumePaths(config.volume.stateDirectory);
    needState(config.name, paths);
    logToFile(paths.daemonLog);
    const { agreement, done, leave } = await serve(config, handover);
    await tell({ type: 'mounted', agreement });
    keepCompiled();
    const last = await done;
    await tell(last);
    if (last.type !== 'ended') process.exit(0);
    leave();
    process.exit(last.code);
  } catch (error) {
    const known = error instanceof TuskError ? error : new TuskError('internal', explained(error));
    log('daemon').error({ error: known.message, stack: known.stack }, 'could not mount');
    await tell({ type: 'failed', code: known.code, kind: known.kind, message: known.message });
    process.exit(1);
  }
};

process.once('message', (message: DaemonStart<DaemonConfig>) => void start(message));
