/**
 * Serves a vfs over a real index, without any network. `serve-vfs.ts STATE MOUNTPOINT
 * [OPTIONS]` mounts it itself; without arguments it is the daemon of a keeper (`keep-vfs.ts`). A process of its own,
 * never the test's: a process must not touch a mount that it serves. Says `mounted` to its parent;
 * ends when the mount does, having closed the index. Notifies the kernel on request.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import { keepCompiled } from '../../src/daemon/compiled.ts';
import { serveControl } from '../../src/daemon/control.ts';
import {
  type DaemonStart,
  type FromDaemon,
  HANDED,
  type Handover,
} from '../../src/daemon/handover.ts';
import { takeUp } from '../../src/daemon/take-up.ts';
import { fileTime } from '../../src/fuse/file-time.ts';
import type { Shown } from '../../src/fuse/filesystem.ts';
import { type Mount, mountOf, mountVolume } from '../../src/fuse/mount.ts';
import { invalidateEntry, invalidateInode } from '../../src/fuse/notify.ts';
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

/** What a keeper is told to have served. */
export interface KeptConfig {
  state: string;
}

const serve = async (
  state: string,
  mounted: () => Promise<Mount>,
  handover: Pick<Handover, 'mount' | 'agreement'>,
  { shown = {}, sizeBytes, log }: ServerOptions = {},
) => {
  const index = await openIndex({
    directory: join(state, 'index'),
    logDirectory: join(state, 'log'),
    reserveBytes: 64 * 2 ** 20,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    ...log,
  });
  const vfs = new Vfs({
    index,
    frames: {
      read: () => {
        throw new TuskError('internal', 'nothing was ever flushed here');
      },
    },
    clock: systemClock,
    fileTime,
    stateDirectory: state,
    writeBack: ino => invalidateInode(mount.device, ino),
    sizeBytes,
  });
  const mount = await mounted();
  return { index, mount, ...(await takeUp({ mount, index, vfs, handover, shown })) };
};

const alone = async (state: string, mountPoint: string, options: ServerOptions): Promise<void> => {
  const { index, mount, session, ended } = await serve(
    state,
    () => mountVolume({ source: 'test', mountPoint }),
    { mount: 1, agreement: undefined },
    options,
  );
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
};

const tell = (message: FromDaemon): Promise<unknown> =>
  new Promise(resolve => {
    if (process.connected) process.send!(message, () => resolve(null));
    else resolve(null);
  });

const kept = async ({ config, handover }: DaemonStart<KeptConfig>): Promise<void> => {
  const { index, mount, session, ended } = await serve(
    config.state,
    async () => mountOf('test', handover.mountPoint, HANDED.device),
    handover,
  );
  await serveControl(HANDED.control, {
    where: () => ({ pid: process.pid, restarts: handover.restarts }),
    orphans: () => index.orphans(),
  });
  process.on('SIGTERM', () => void mount.unmount());
  const agreement = await session.agreed;
  const isOld = process.env.TUSK_OLD_KERNEL !== undefined;
  await tell({ type: 'mounted', agreement: isOld ? { ...agreement, flags2: 0 } : agreement });
  keepCompiled();
  await ended;
  await index.close();
  await tell({ type: 'ended', code: 0 });
  process.exit(0);
};

const [state, mountPoint, given = '{}'] = process.argv.slice(2);
if (state !== undefined && mountPoint !== undefined)
  await alone(state, mountPoint, JSON.parse(given) as ServerOptions);
else
  process.once('message', (start: DaemonStart<KeptConfig>) =>
    kept(start).catch(async ({ message }: Error) => {
      await tell({ type: 'failed', code: 'internal', kind: 'bug', message });
      process.exit(1);
    }),
  );
