/**
 * The front thread of a mounted volume: index, content, vfs and the FUSE session wired together,
 * with the back worker behind the bridge. What is made here is taken down in the opposite order.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../base/clock.ts';
import { TuskError } from '../base/errors.ts';
import { makeDirectory } from '../base/files.ts';
import { log } from '../base/log.ts';
import { workerUrl } from '../base/worker.ts';
import { Content } from '../content/content.ts';
import { aadPrefix, packKey, volumeKeys } from '../format/keys.ts';
import { fileTime } from '../fuse/file-time.ts';
import { type Mount, mountOf } from '../fuse/mount.ts';
import { invalidateInode } from '../fuse/notify.ts';
import type { Session } from '../fuse/session.ts';
import { openIndex } from '../meta/open.ts';
import type { Index, IndexSnapshot, PackCommit } from '../meta/types.ts';
import { Vfs } from '../vfs/vfs.ts';
import { readEnvelope } from '../volume/envelope-file.ts';
import { type VolumePaths, volumePaths } from '../volume/paths.ts';
import { Bridge } from './bridge.ts';
import type { DaemonConfig } from './config.ts';
import { needDescriptors } from './descriptors.ts';
import { FlushJob } from './flush-job.ts';
import { HANDED, type Handover } from './handover.ts';
import type { BackMethods, BackSettings, FrontMethods } from './methods.ts';
import { PaidWatch } from './paid-watch.ts';
import { Pipeline } from './pipeline.ts';
import { planDisk } from './room.ts';
import { takeUp } from './take-up.ts';

const MEMORY_BYTES = 128 * 2 ** 20;
const READ_AHEAD_BYTES = 16 * 2 ** 20;
/** A daemon without its back thread lives on for so long: what kills one may well kill the next. */
const RENEW_MS = 15_000;

/** A mounted volume. */
export interface Front {
  readonly config: DaemonConfig;
  readonly handover: Handover;
  readonly session: Session;
  readonly paths: VolumePaths;
  readonly index: Index;
  readonly content: Content;
  readonly mount: Mount;
  readonly back: Bridge<BackMethods>;
  /** Resolves some time after the back thread has died, without which nothing is stored or fetched: it is time for a new daemon. */
  readonly backDied: Promise<void>;
  readonly flushes: FlushJob;
  readonly pipeline: Pipeline;
  readonly paidWatch: PaidWatch;
  /** Why the volume takes no changes any more; empty while it does. */
  readonly fault: string;
  /** Resolves when the mount is gone, by whoever's hand. */
  readonly ended: Promise<unknown>;
  /** Takes everything down that is not the mount, which is no longer served from the middle of it on; nothing is lost. */
  close(): Promise<void>;
}

/** Snapshots that the back holds, by number. */
class Snapshots {
  readonly #index: Index;
  readonly #scratch: string;
  readonly #open = new Map<number, IndexSnapshot>();
  #next = 1;

  constructor(index: Index, scratch: string) {
    this.#index = index;
    this.#scratch = scratch;
  }

  async take(): Promise<{ id: number; directory: string; seq: number }> {
    const id = this.#next++;
    const directory = join(this.#scratch, `snapshot-${id}`);
    const snapshot = await this.#index.snapshot(directory);
    this.#open.set(id, snapshot);
    return { id, directory: snapshot.directory, seq: snapshot.seq };
  }

  async release(id: number): Promise<null> {
    const snapshot = this.#open.get(id);
    this.#open.delete(id);
    await snapshot?.release();
    return null;
  }
}

/** Directories of the volume; what an earlier daemon left in scratch is of no use. */
const prepareDirectories = async (paths: VolumePaths): Promise<void> => {
  await rm(paths.scratch, { recursive: true, force: true });
  for (const path of [
    paths.root,
    paths.log,
    paths.index,
    paths.outbox,
    paths.journal,
    paths.cache,
    paths.scratch,
  ]) {
    makeDirectory(path);
  }
};

/** Bytes arrive from another thread as plain Uint8Arrays. */
const withBuffers = (commit: PackCommit): PackCommit => {
  const { pack } = commit;
  return {
    pack: {
      ...pack,
      packId: Buffer.from(pack.packId),
      salt: Buffer.from(pack.salt),
      blobId: Buffer.from(pack.blobId),
    },
    frames: commit.frames.map(frame => ({ ...frame, identity: Buffer.from(frame.identity) })),
    ranges: commit.ranges,
  };
};

const startBack = (settings: BackSettings): Worker =>
  new Worker(workerUrl(import.meta.url, './back'), { workerData: settings, name: 'back' });

/** Serves a volume at the mount that was handed over; rejects if that fails. */
export const openFront = async (config: DaemonConfig, handover: Handover): Promise<Front> => {
  const paths = volumePaths(config.volume.stateDirectory);
  const undo: (() => Promise<unknown>)[] = [];
  try {
    return await build(config, handover, paths, undo);
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => undefined);
    throw error;
  }
};

const build = async (
  config: DaemonConfig,
  handover: Handover,
  paths: VolumePaths,
  undo: (() => Promise<unknown>)[],
): Promise<Front> => {
  needDescriptors(config.name);
  await prepareDirectories(paths);
  const keys = volumeKeys(
    Buffer.from(config.volume.volumeId, 'hex'),
    Buffer.from(config.volumeKey),
  );
  const plan = planDisk(paths, config.volume.cacheBytesMax);
  const index = await openIndex({
    reserveBytes: plan.reserveBytes,
    keepFreeBytes: plan.keepFreeBytes,
    directory: paths.index,
    logDirectory: paths.log,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    clock: systemClock,
  });
  undo.push(() => index.close());

  const worker = startBack({ config, envelope: readEnvelope(config.name, config.volume) });
  undo.push(() => worker.terminate());
  const snapshots = new Snapshots(index, paths.scratch);
  const pipeline = new Pipeline();
  let content: Content | undefined;
  const methods: FrontMethods = {
    snapshot: () => snapshots.take(),
    releaseSnapshot: id => snapshots.release(id),
    commitPack: async received => {
      const commit = withBuffers(received);
      const result = await index.commitPack(commit);
      await content!.adopt(commit.pack);
      pipeline.committed(commit);
      return result;
    },
    renewPacks: async ends => {
      await index.renewPacks(ends);
      return null;
    },
    readFrame: async frame => {
      const place = index.frame(frame);
      if (place === undefined) throw new TuskError('damaged', `the index knows no frame ${frame}`);
      const path = join(paths.scratch, `frame-${frame}`);
      await writeFile(path, await content!.read(place, 0, place.plainBytes), { mode: 0o600 });
      return { path, offset: 0 };
    },
    verifyStaged: async slot => {
      await index.verifyStaged(slot);
      return null;
    },
    progress: value => {
      pipeline.progress(value);
      return null;
    },
  };
  const back = new Bridge<BackMethods>(worker, methods);
  const backDied = Promise.withResolvers<void>();
  worker.on('error', error => {
    log('daemon').fatal({ error: error.message, stack: error.stack }, 'the back thread died');
    back.breakOff(
      new TuskError(
        'internal',
        `the part of ${config.name}'s daemon that talks to the network died: ${error.message}. Files are safe on this machine. The daemon is started anew within ${RENEW_MS / 1000} s; where that cannot be (Linux before 6.9), mount ${config.name} again`,
      ),
    );
    systemClock.sleep(RENEW_MS).then(backDied.resolve);
  });

  content = await Content.open({
    cacheDirectory: paths.cache,
    source: { fetch: async (request, signal) => void (await back.call('fetch', request, signal)) },
    packOf: pack => index.pack(pack),
    frameKey: pack => ({
      key: packKey(keys, pack.salt),
      aadPrefix: aadPrefix(keys.volumeId, pack.packId),
    }),
    identityKey: keys.identity,
    clock: systemClock,
    limits: {
      memoryBytes: MEMORY_BYTES,
      cacheBytes: plan.cacheBytesMax,
      freeBytesMin: plan.cacheFreeBytesMin,
      readAheadBytes: READ_AHEAD_BYTES,
      fetchTimeoutMs: config.readTimeoutMs,
    },
  });
  undo.push(() => content.close());

  const vfs = new Vfs({
    index,
    frames: content,
    clock: systemClock,
    fileTime,
    stateDirectory: paths.root,
    writeBack: ino => invalidateInode(mount.device, ino),
    readOnly: config.readOnly,
    sizeBytes: config.sizeBytes,
  });
  let fault = '';
  index.onFatal(error => {
    fault = error.message;
    log('daemon').fatal(
      { error: error.message },
      'the index cannot be written: read-only from now on',
    );
    vfs.goReadOnly();
  });
  const mount = mountOf(config.name, handover.mountPoint, HANDED.device);
  const { session, ended } = await takeUp({ mount, index, vfs, handover, shown: config.shown });
  const flushes = new FlushJob({
    index,
    flush: async () => {
      pipeline.started();
      // A reader's head is somebody else's to move.
      const epoch = config.readOnly ? undefined : paidWatch.epoch;
      const result = await back.call('flush', { epoch });
      pipeline.checkpointed();
      paidWatch.notRenewed = result.notRenewed;
      return result;
    },
    isFull: () => index.log.segments.isStarved,
    makeRoom: () => content.makeRoom(),
    lingerMs: config.network.lingerMs,
    clock: systemClock,
  });
  index.onChange(() => flushes.wake());
  const paidWatch = new PaidWatch({
    journal: paths.journal,
    epochsAhead: config.volume.epochsAhead,
    ask: () => back.call('time', null),
    renew: () => {
      if (!config.readOnly) flushes.checkpoint().catch(() => undefined);
    },
  });

  return {
    config,
    handover,
    session,
    paths,
    index,
    content,
    mount,
    back,
    backDied: backDied.promise,
    flushes,
    pipeline,
    paidWatch,
    get fault() {
      return fault;
    },
    ended,
    close: async () => {
      flushes.stop();
      paidWatch.stop();
      await Promise.race([
        back.call('close', null).catch(() => undefined),
        systemClock.sleep(5000),
      ]);
      await worker.terminate();
      session.stop();
      await content.close();
      await index.close();
    },
  };
};
