/**
 * Serves a disk that forgets: `forgetfs.ts BACKING MOUNTPOINT`. A process of its own. Its parent
 * tells it when the power fails and when the disk is full; once it is unmounted it forgets what the
 * failure took, mounts again and says how much that was.
 */
import { mountVolume } from '../../src/fuse/mount.ts';
import { Session } from '../../src/fuse/session.ts';
import { Init } from '../../src/fuse/wire.ts';
import { ForgetFilesystem } from './forget-fs.ts';

/** What a parent may ask for. Answered by `done`; `powerCut` by what was forgotten, once mounted again. */
export type DiskRequest =
  | { cutAfter: { names: number; changes: number } }
  | { spaceFor: number }
  | { powerCut: number };

const [backing, mountPoint] = process.argv.slice(2) as [string, string];
const disk = new ForgetFilesystem(backing);
disk.onCut = () => process.send!('cut');

let ended: Promise<unknown>;
const mount = async (): Promise<void> => {
  const { device } = await mountVolume({ source: 'disk', mountPoint });
  // Every write arrives by itself, and nothing is kept for later.
  ended = new Session(device, disk, { without: Init.WRITEBACK_CACHE }).run();
};

process.on('message', async (request: DiskRequest) => {
  if ('cutAfter' in request) disk.cutAfter(request.cutAfter.names, request.cutAfter.changes);
  else if ('spaceFor' in request) disk.spaceFor(request.spaceFor);
  else {
    await ended;
    const forgotten = disk.powerCut(request.powerCut);
    disk.onCut = () => process.send!('cut');
    await mount();
    return process.send!(forgotten);
  }
  process.send!('done');
});
process.on('disconnect', () => {
  disk.close();
  process.exit();
});
await mount();
process.send!('mounted');
