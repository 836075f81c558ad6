/**
 * The life of a mounted volume: control socket, signals, the end. However the mount goes away
 * (`tuskfs umount`, umount(8), SIGTERM), what is staged is flushed within a limit before the
 * daemon leaves; what is not flushed by then stays staged and is said.
 */
import { execFile } from 'node:child_process';
import type { Server } from 'node:net';
import { deadline, raceSignal } from '../base/abort.ts';
import { systemClock } from '../base/clock.ts';
import { isTransient, messageOf, TuskError } from '../base/errors.ts';
import { log } from '../base/log.ts';
import { type Agreement, canResend } from '../fuse/init.ts';
import { placeOf } from '../fuse/mountinfo.ts';
import { heldLock } from '../volume/lock.ts';
import { volumePaths } from '../volume/paths.ts';
import type { DaemonConfig, RateTexts } from './config.ts';
import { type ControlContext, serveControl } from './control.ts';
import { removeSocket } from './control-socket.ts';
import { type Front, openFront } from './front.ts';
import { type FromDaemon, HANDED, type Handover, RESTART } from './handover.ts';
import type { PaidReport, StatusReport, SyncProgress, SyncReport } from './report.ts';
import { pendingBytes, reasonOf, statusReport } from './status.ts';

const PROGRESS_MS = 200;
/** Exit code of a daemon that leaves staged bytes behind. */
const EXIT_PENDING = 4;
/** Exit code of a daemon that could not close its files in good order. */
const EXIT_FAILED = 1;
/** A mount without open files is gone this soon after it was detached. */
const DETACH_MS = 1000;
/** One that nobody uses here is gone this soon, on a busy machine too, unless other mount namespaces show it. */
const GONE_MS = 5000;
const HAND_OVER_MS = 10_000;
/** A new daemon has heard from the chain by then, if the chain answers. */
const PAID_MS = 5000;
/** An answer is on its way after this. */
const ANSWER_MS = 50;

/** Checkpoints everything within a limit; the report says what is pending and why. */
const checkpointWithin = async (
  front: Front,
  timeoutMs: number | undefined,
  context: ControlContext,
): Promise<SyncReport> => {
  const limit = deadline(context.signal, timeoutMs);
  const timer = setInterval(() => {
    const { now } = front.pipeline;
    if (now === undefined) return;
    const value: SyncProgress = { label: now.state, done: now.bytesDone, total: now.bytesTotal };
    context.progress(value);
  }, PROGRESS_MS);
  let pending = '';
  try {
    await raceSignal(front.flushes.checkpointPatiently(limit.signal), limit.signal);
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    pending = reasonOf(front) || 'it is still under way';
  } finally {
    clearInterval(timer);
    limit.done();
  }
  const status = await statusReport(front);
  return {
    checkpoint: status.checkpoint,
    pending,
    pendingBytes: pendingBytes(status),
    isStuck: false,
    fault: status.fault,
    warnings: status.paid.warnings,
    wal: status.cost.wal,
    sui: status.cost.sui,
  };
};

/** Lets uploads that are certified reach the last reachable node, within what is left of the limit. */
const settle = async (front: Front, timeoutMs: number, until: AbortSignal): Promise<void> => {
  const { signal, done } = deadline(until, timeoutMs);
  await raceSignal(front.back.call('settle', null, signal), signal)
    .catch(error =>
      log('daemon').warn(
        { error: messageOf(error) },
        'uploads did not reach every node; they go on at the next mount',
      ),
    )
    .finally(done);
};

/** How the last flush is to be done: how long at most, and who watches. */
interface Farewell {
  readonly timeoutMs: number;
  readonly context: ControlContext;
}

/** One daemon; its methods are what the control socket offers. */
class Daemon {
  readonly #front: Front;
  readonly #control: Server;
  readonly #ended = Promise.withResolvers<FromDaemon>();
  #farewell: Farewell;
  #last: Promise<SyncReport> | undefined;
  #signals = 0;
  /** Aborted when somebody wants the volume more than the end of its last flush. */
  readonly #makingWay = new AbortController();
  readonly done = this.#ended.promise;

  constructor(front: Front, control: Server) {
    this.#front = front;
    this.#control = control;
    this.#farewell = { timeoutMs: front.config.stopTimeoutMs, context: idle };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => void this.#signalled(signal));
    }
    const restart = () =>
      void this.restart().catch(error =>
        log('daemon').error({ error: messageOf(error) }, 'not restarted'),
      );
    process.on('SIGHUP', restart);
    process.on('message', message => message === RESTART && restart());
    process.on('disconnect', () => {
      if (front.config.tethered) void this.#signalled('disconnect');
      else log('daemon').error('the keeper is gone: the mount will end with this daemon');
    });
    void front.backDied.then(restart);
    void front.ended.then(() => this.#finish());
  }

  status(): Promise<StatusReport> {
    return statusReport(this.#front);
  }

  /** For whoever has just mounted: waits a little for what the chain says. */
  async paid(): Promise<PaidReport> {
    const { paidWatch } = this.#front;
    await within(paidWatch.asked, PAID_MS);
    return paidWatch.heard(null);
  }

  sync(args: Record<string, unknown>, context: ControlContext): Promise<SyncReport> {
    const timeoutMs = typeof args.timeoutMs === 'number' ? args.timeoutMs : undefined;
    return checkpointWithin(this.#front, timeoutMs, context);
  }

  async umount(args: Record<string, unknown>, context: ControlContext): Promise<SyncReport> {
    const front = this.#front;
    const before = this.#farewell;
    const timeoutMs =
      typeof args.timeoutMs === 'number' ? args.timeoutMs : front.config.stopTimeoutMs;
    this.#farewell = { timeoutMs, context };
    const lazy = args.lazy === true;
    try {
      // The kernel ends the session before umount2(2) returns: a large tree's inodes take it seconds.
      await Promise.race([front.mount.unmount({ lazy }), front.ended]);
    } catch (error) {
      this.#farewell = before;
      throw error;
    }
    if (await within(front.ended, lazy ? DETACH_MS : GONE_MS)) return this.#finish();
    // Open files keep the mount, or a copy of it in another mount namespace; what programs still
    // write there is flushed when the last lets go.
    this.#farewell = before;
    const report = await checkpointWithin(front, timeoutMs, context);
    return { ...report, isHeld: true };
  }

  async dropCache(): Promise<{ cacheBytes: number; stagedBytes: number }> {
    const front = this.#front;
    await front.content.drop();
    await front.index.reclaim();
    return { cacheBytes: front.content.bytes(), stagedBytes: front.index.totals().stagedBytes };
  }

  async limit(args: Record<string, unknown>): Promise<RateTexts> {
    const given = Object.entries(args).filter(([, value]) => typeof value === 'string');
    const limits = await this.#front.back.call('limit', Object.fromEntries(given));
    // The next daemon shall keep them.
    if (process.connected)
      process.send!({ type: 'changed', config: { limits } } satisfies FromDaemon);
    return limits;
  }

  /** Ends in good order and leaves the mount to a new daemon; programs there wait for it. */
  async restart(): Promise<{ pid: number }> {
    const front = this.#front;
    if (!process.connected || !canResend(front.session.agreement))
      throw new TuskError(
        'unsupported',
        `the daemon of ${front.config.name} cannot be restarted under its mount: ${process.connected ? 'this needs Linux 6.9' : 'its keeper is gone'}. Unmount the volume and mount it again`,
      );
    if (this.#last !== undefined)
      throw new TuskError('busy', `${front.config.name} is just being unmounted`);
    log('daemon').info('leaving the mount to a new daemon');
    this.#last = new Promise(() => undefined);
    // Whoever asks from now on is answered by the next one.
    this.#control.close();
    await front.close().catch(error => {
      log('daemon').error({ error: messageOf(error) }, 'could not close in good order');
    });
    // The answer is still to be written.
    setTimeout(() => this.#ended.resolve({ type: 'restarting' }), ANSWER_MS);
    return { pid: process.pid };
  }

  /** Cuts the last flush of a daemon that is leaving short; what it has not sent stays staged. */
  makeWay(): null {
    if (this.#last !== undefined) this.#makingWay.abort();
    return null;
  }

  async #signalled(signal: string): Promise<void> {
    const { mount } = this.#front;
    log('daemon').info({ signal }, 'stopping');
    if (++this.#signals > 1) {
      // Asked a second time: the rest stays staged.
      await within(mount.unmount({ lazy: true }), DETACH_MS);
      return this.#ended.resolve({ type: 'ended', code: EXIT_PENDING });
    }
    try {
      await mount.unmount().catch(async () => {
        // Programs keep files open: what they wrote is taken over, then they lose them.
        await handOver(await mount.place());
        await mount.unmount({ lazy: true });
      });
    } catch (error) {
      log('daemon').error({ error: messageOf(error) }, 'could not unmount');
    }
    await this.#finish();
  }

  /** The last flush, then everything closed; runs once. */
  #finish(): Promise<SyncReport> {
    this.#last ??= this.#close(this.#farewell);
    return this.#last;
  }

  async #close({ timeoutMs, context }: Farewell): Promise<SyncReport> {
    const front = this.#front;
    const startMs = systemClock.monotonicMs();
    let code = 0;
    const signal = AbortSignal.any([context.signal, this.#makingWay.signal]);
    const report = await checkpointWithin(front, timeoutMs, { ...context, signal }).catch(
      error => ({
        ...NOTHING,
        pending: messageOf(error),
        pendingBytes: front.index.totals().stagedBytes,
        isStuck: !isTransient(error),
        fault: front.fault,
      }),
    );
    if (report.pending === '')
      await settle(
        front,
        Math.max(1000, timeoutMs - (systemClock.monotonicMs() - startMs)),
        signal,
      );
    else code = EXIT_PENDING;
    await front.close().catch(error => {
      code = EXIT_FAILED;
      log('daemon').error({ error: messageOf(error) }, 'could not close in good order');
    });
    log('daemon').info({ ...report }, 'stopped');
    // The answer to `umount` is still to be written: leave after it.
    setTimeout(() => this.#ended.resolve({ type: 'ended', code, report }), ANSWER_MS);
    return report;
  }
}

/** True if the promise settled within `ms`. */
const within = (promise: Promise<unknown>, ms: number): Promise<boolean> =>
  Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    systemClock.sleep(ms).then(() => false),
  ]);

/** Lets the kernel hand over every dirty page of the mount; a child asks, because this process answers. */
const handOver = (mountPoint: string): Promise<void> =>
  new Promise(resolve => {
    const child = execFile('sync', ['-f', mountPoint], { timeout: HAND_OVER_MS }, () => resolve());
    child.unref();
  });

const NOTHING: SyncReport = {
  checkpoint: 0,
  pending: '',
  pendingBytes: 0,
  isStuck: false,
  fault: '',
  warnings: [],
  wal: '0',
  sui: '0',
};
const idle: ControlContext = { signal: new AbortController().signal, progress: () => undefined };

/** A volume that is served. */
export interface Served {
  readonly agreement: Agreement;
  /** Resolves with the daemon's last word when it is over. */
  readonly done: Promise<FromDaemon>;
  /** Gives up socket and lock; only once the keeper has heard the last word, or it would start a daemon without them. */
  leave(): void;
}

/** Serves a volume at the mount that was handed over. */
export const serve = async (config: DaemonConfig, handover: Handover): Promise<Served> => {
  const paths = volumePaths(config.volume.stateDirectory);
  // What is asked meanwhile waits until it can be answered.
  const ready = Promise.withResolvers<Daemon>();
  const lock = heldLock(HANDED.lock);
  const leave = () => {
    server.close();
    removeSocket(paths.socket);
    lock.release();
  };
  const server = await serveControl(HANDED.control, {
    where: async () => ({
      mountPoint: await placeOf(HANDED.device, config.mountPoint),
      pid: process.pid,
      keeper: process.connected ? handover.keeper : null,
    }),
    status: async () => (await ready.promise).status(),
    paid: async () => (await ready.promise).paid(),
    sync: async (args, context) => (await ready.promise).sync(args, context),
    umount: async (args, context) => (await ready.promise).umount(args, context),
    dropCache: async () => (await ready.promise).dropCache(),
    limit: async args => (await ready.promise).limit(args),
    restart: async () => (await ready.promise).restart(),
    makeWay: async () => (await ready.promise).makeWay(),
  });
  const front = await openFront(config, handover);
  const daemon = new Daemon(front, server);
  ready.resolve(daemon);
  const { session, ended } = front;
  await Promise.race([session.agreed, ended]);
  return { agreement: session.agreement, done: daemon.done, leave };
};
