/**
 * Mounts a vfs over a real index, without any network: `serve-vfs.ts STATE MOUNTPOINT`. A process
 * of its own, never the test's: a process must not touch a mount that it serves. Says `mounted` to
 * its parent; ends when the mount does, having closed the index.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import { mountVolume } from '../../src/fuse/mount.ts';
import { invalidateInode } from '../../src/fuse/notify.ts';
import { Session } from '../../src/fuse/session.ts';
import { openIndex } from '../../src/meta/open.ts';
import { Vfs } from '../../src/vfs/vfs.ts';

const [state, mountPoint] = process.argv.slice(2) as [string, string];
const index = await openIndex({
  directory: join(state, 'index'),
  logDirectory: join(state, 'log'),
  reserveBytes: 64 * 2 ** 20,
});
index.removeOrphans();
const vfs = new Vfs({
  index,
  frames: {
    read: () => {
      throw new TuskError('internal', 'nothing was ever flushed here');
    },
  },
  clock: systemClock,
  stateDirectory: state,
  writeBack: ino => invalidateInode(mount.device, ino),
});
const mount = await mountVolume({ source: 'test', mountPoint });
const session = new Session(mount.device, vfs);
const ended = session.run();
process.on('message', message => {
  if (message === 'counters') process.send!(session.counters());
});
process.send?.('mounted');
console.log('mounted');
await ended;
await index.close();
process.disconnect?.();
