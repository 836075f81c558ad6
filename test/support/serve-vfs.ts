/**
 * Mounts a vfs over a real index, without any network: `serve-vfs.ts STATE MOUNTPOINT [OPTIONS]`. A process
 * of its own, never the test's: a process must not touch a mount that it serves. Says `mounted` to
 * its parent; ends when the mount does, having closed the index. Notifies the kernel on request.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import type { Shown } from '../../src/fuse/filesystem.ts';
import { mountVolume } from '../../src/fuse/mount.ts';
import { invalidateEntry, invalidateInode } from '../../src/fuse/notify.ts';
import { Session } from '../../src/fuse/session.ts';
import { openIndex } from '../../src/meta/open.ts';
import { Vfs } from '../../src/vfs/vfs.ts';

/** What a parent may ask for; answered by `counters()` or `done`. */
export type ServerRequest = 'counters' | { inode: number } | { parent: number; name: string };

/** What may be told of a mount, as JSON in the third argument. */
export interface ServerOptions {
  readonly shown?: Shown;
  readonly sizeBytes?: number;
  /** Sizes of the log that differ from the usual ones (see `openIndex`). */
  readonly log?: { readonly segmentBytes?: number; readonly reserveBytes?: number };
}

const [state, mountPoint, given = '{}'] = process.argv.slice(2) as [string, string, string?];
const { shown, sizeBytes, log } = JSON.parse(given) as ServerOptions;
const index = await openIndex({
  directory: join(state, 'index'),
  logDirectory: join(state, 'log'),
  reserveBytes: 64 * 2 ** 20,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  ...log,
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
  sizeBytes,
});
const mount = await mountVolume({ source: 'test', mountPoint });
const session = new Session(mount.device, vfs, shown);
const ended = session.run();
process.on('message', async (request: ServerRequest) => {
  if (request === 'counters') return process.send!(session.counters());
  if ('inode' in request) await invalidateInode(mount.device, request.inode);
  else await invalidateEntry(mount.device, request.parent, request.name);
  process.send!('done');
});
process.send?.('mounted');
console.log('mounted');
await ended;
await index.close();
process.disconnect?.();
