/**
 * The life of a mounted volume: control socket, signals, the end. However the mount goes away
 * (`tuskfs umount`, umount(8), SIGTERM), what is staged is flushed within a limit before the
 * daemon leaves; what is not flushed by then stays staged and is said.
 */
import { rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { systemClock } from '../base/clock.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import { log } from '../base/log.ts';
import { volumePaths } from '../volume/paths.ts';
import type { DaemonConfig } from './config.ts';
import { type ControlContext, serveControl } from './control.ts';
import { type Front, openFront } from './front.ts';
import type { SyncProgress, SyncReport } from './report.ts';
import { pendingBytes, reasonOf, statusReport } from './status.ts';

const PROGRESS_MS = 200;
/** Exit code of a daemon that leaves staged bytes behind. */
const EXIT_PENDING = 4;

/** Checkpoints everything within a limit; the report says what is pending and why. */
const checkpointWithin = async (
  front: Front,
  timeoutMs: number | undefined,
  context: ControlContext,
): Promise<SyncReport> => {
  const limit =
    timeoutMs === undefined
      ? context.signal
      : AbortSignal.any([context.signal, AbortSignal.timeout(Math.ceil(timeoutMs))]);
  const timer = setInterval(() => {
    const { now } = front.pipeline;
    if (now === undefined) return;
    const value: SyncProgress = { label: now.state, done: now.bytesDone, total: now.bytesTotal };
    context.progress(value);
  }, PROGRESS_MS);
  let pending = '';
  try {
    await Promise.race([front.flushes.checkpointPatiently(limit), abortedBy(limit)]);
  } catch (error) {
    if (!limit.aborted) throw error;
    pending = reasonOf(front) || 'it is still under way';
  } finally {
    clearInterval(timer);
  }
  const status = await statusReport(front);
  return {
    checkpoint: status.checkpoint,
    pending,
    pendingBytes: pendingBytes(status),
    wal: status.cost.wal,
    sui: status.cost.sui,
  };
};

const abortedBy = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

/** Lets uploads that are certified reach the last reachable node, within what is left of the limit. */
const settle = async (front: Front, timeoutMs: number): Promise<void> => {
  const limit = AbortSignal.timeout(Math.ceil(timeoutMs));
  await Promise.race([front.back.call('settle', null, limit), abortedBy(limit)]).catch(error =>
    log('daemon').warn(
      { error: messageOf(error) },
      'uploads did not reach every node; they go on at the next mount',
    ),
  );
};

/** One daemon; its methods are what the control socket offers. */
class Daemon {
  readonly #front: Front;
  readonly #server: Server;
  readonly #ended = Promise.withResolvers<number>();
  #last: Promise<SyncReport> | undefined;
  readonly done = this.#ended.promise;

  constructor(front: Front, server: Server) {
    this.#front = front;
    this.#server = server;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => void this.#signalled(signal));
    }
    void front.ended.then(() => this.#finish(front.config.stopTimeoutMs, idle));
  }

  sync(args: Record<string, unknown>, context: ControlContext): Promise<SyncReport> {
    const timeoutMs = typeof args.timeoutMs === 'number' ? args.timeoutMs : undefined;
    return checkpointWithin(this.#front, timeoutMs, context);
  }

  async umount(args: Record<string, unknown>, context: ControlContext): Promise<SyncReport> {
    const timeoutMs =
      typeof args.timeoutMs === 'number' ? args.timeoutMs : this.#front.config.stopTimeoutMs;
    if (args.lazy === true) {
      // Programs with open files keep the mount; what they still write is flushed when they close.
      await this.#front.mount.unmount({ lazy: true });
      return checkpointWithin(this.#front, timeoutMs, context);
    }
    await this.#front.mount.unmount();
    await this.#front.ended;
    return this.#finish(timeoutMs, context);
  }

  async dropCache(): Promise<{ cacheBytes: number; stagedBytes: number }> {
    const front = this.#front;
    await front.content.drop();
    await front.index.reclaim();
    return { cacheBytes: front.content.bytes(), stagedBytes: front.index.totals().stagedBytes };
  }

  async #signalled(signal: string): Promise<void> {
    log('daemon').info({ signal }, 'stopping');
    if (this.#last !== undefined) {
      // Asked a second time: leave the rest staged.
      process.exit(EXIT_PENDING);
    }
    await this.#front.mount
      .unmount()
      .catch(() => this.#front.mount.unmount({ lazy: true }))
      .catch(error => log('daemon').error({ error: messageOf(error) }, 'could not unmount'));
    await this.#finish(this.#front.config.stopTimeoutMs, idle);
  }

  /** The last flush, then everything closed; runs once. */
  #finish(timeoutMs: number, context: ControlContext): Promise<SyncReport> {
    this.#last ??= this.#close(timeoutMs, context);
    return this.#last;
  }

  async #close(timeoutMs: number, context: ControlContext): Promise<SyncReport> {
    const front = this.#front;
    const startMs = systemClock.monotonicMs();
    const report = await checkpointWithin(front, timeoutMs, context).catch(error => ({
      ...NOTHING,
      pending: messageOf(error),
      pendingBytes: front.index.totals().stagedBytes,
    }));
    await settle(front, Math.max(1000, timeoutMs - (systemClock.monotonicMs() - startMs)));
    await front.close();
    log('daemon').info({ ...report }, 'stopped');
    // The answer to `umount` is still to be written: leave after it.
    setTimeout(() => {
      this.#server.close();
      rmSync(front.paths.socket, { force: true });
      this.#ended.resolve(report.pending === '' ? 0 : EXIT_PENDING);
    }, 50);
    return report;
  }
}

const NOTHING: SyncReport = { checkpoint: 0, pending: '', pendingBytes: 0, wal: '0', sui: '0' };
const idle: ControlContext = { signal: new AbortController().signal, progress: () => undefined };

/** Mounts and serves a volume; `done` resolves with the exit code when it is over. */
export const serve = async (config: DaemonConfig): Promise<{ done: Promise<number> }> => {
  const paths = volumePaths(config.volume.stateDirectory);
  let daemon: Daemon | undefined;
  let front: Front | undefined;
  const ready = (): Daemon => {
    if (daemon === undefined)
      throw new TuskError('busy', `${config.name} is just being mounted; try again`, {
        kind: 'transient',
      });
    return daemon;
  };
  const server = await serveControl(paths.socket, {
    status: () => {
      ready();
      return statusReport(front!);
    },
    sync: (args, context) => ready().sync(args, context),
    umount: (args, context) => ready().umount(args, context),
    dropCache: () => ready().dropCache(),
  });
  try {
    front = await openFront(config);
  } catch (error) {
    server.close();
    rmSync(paths.socket, { force: true });
    throw error;
  }
  daemon = new Daemon(front, server);
  return { done: daemon.done };
};
