/** Serves a MemoryFilesystem: `serve-memory.ts MOUNTPOINT`. A process of its own, never the test's. */
import { ROOT_INO } from '../../src/base/ids.ts';
import { mountVolume } from '../../src/fuse/mount.ts';
import { Session } from '../../src/fuse/session.ts';
import { MemoryFilesystem } from '../support/memory-fs.ts';

const mountPoint = process.argv[2]!;
const fs = new MemoryFilesystem();
try {
  const mount = await mountVolume({ source: 'memory', mountPoint });
  const session = new Session(mount.device, fs);
  const ended = session.run();
  process.on('message', async message => {
    if (message === 'counters')
      process.send!({ ...session.counters(), lookups: fs.lookups, nodes: fs.nodes.size });
  });
  process.send?.('mounted');
  const end = await ended;
  process.send?.({ end, destroyed: fs.destroyed, root: ROOT_INO });
  process.disconnect?.();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
  process.disconnect?.();
}
