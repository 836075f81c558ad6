/** The keeper of a vfs without a network: `keep-vfs.ts STATE MOUNTPOINT [PATIENCE]`. Says `mounted` to its parent. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Keeper } from '../../src/daemon/keeper.ts';

const [state, mountPoint, patience] = process.argv.slice(2) as [string, string, string?];
const keeper = await Keeper.start({
  name: 'test',
  mountPoint,
  options: {},
  paths: {
    root: state,
    lock: join(state, 'lock'),
    socket: join(state, 'control.sock'),
    daemonLog: join(state, 'daemon.log'),
  },
  entry: fileURLToPath(new URL('./serve-vfs.ts', import.meta.url)),
  config: { state },
  ...(patience === undefined ? {} : { patience: JSON.parse(patience) }),
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => keeper.stop());
process.send?.('mounted');
process.exit((await keeper.done).code);
