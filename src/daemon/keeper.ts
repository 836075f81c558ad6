/**
 * The keeper of a mount: a process that does nothing but hold what must outlive a daemon (the
 * device, the control socket, the volume's lock, the key) and start the daemon again when it dies.
 * Requests that the dead one had read and not answered, the kernel gives to the next (Linux 6.9);
 * on an older kernel, and when daemons keep dying, the mount ends with its daemon. It never looks
 * at a path of the mount, which it would have to wait for, and imports next to nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { appendFileSync, closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, type ErrorKind, messageOf, TuskError } from '../base/errors.ts';
import { type Agreement, canResend } from '../fuse/init.ts';
import { type MountOptions, mountDevice, unmountAt } from '../fuse/mount.ts';
import { placeOf } from '../fuse/mountinfo.ts';
import { lockVolume, type VolumeLock } from '../volume/lock.ts';
import type { VolumePaths } from '../volume/paths.ts';
import { compiledIn, HEAP_FLAGS } from './compiled.ts';
import { listenControl, removeSocket } from './control-socket.ts';
import { type DaemonStart, type FromDaemon, RESTART } from './handover.ts';
import { PATIENCE, type Patience, waitMsAfter } from './patience.ts';
import type { SyncReport } from './report.ts';

/** What is to be kept. */
export interface KeeperTask<Config> {
  /** The volume's name: the source of the mount. */
  readonly name: string;
  readonly mountPoint: string;
  readonly options: MountOptions;
  readonly paths: Pick<VolumePaths, 'root' | 'lock' | 'socket' | 'daemonLog'>;
  /** Program of the daemon. */
  readonly entry: string;
  readonly config: Config;
  readonly patience?: Patience;
}

/** A daemon's channel closes a moment before its process is gone. */
const EXIT_MS = 1000;
const EXIT_FAILED = 1;
/** Something is left that the network does not have. */
const EXIT_PENDING = 4;

/** Writes a line to a file or descriptor, if that takes it: the mount does not end for a full disk or a closed pipe. */
const sayTo = (where: string | number, line: string): void => {
  try {
    appendFileSync(where, line, { mode: 0o600 });
  } catch {}
};

/** How a mount ended: the exit code, and what became of the last flush if a daemon made one. */
export interface Outcome {
  readonly code: number;
  readonly report?: SyncReport;
}

/** How a daemon's life ended. */
type End =
  | ({ readonly type: 'ended' } & Outcome)
  | { readonly type: 'restarting' | 'died'; readonly how: string };

/** A mount that is kept. */
export class Keeper<Config> {
  readonly #task: KeeperTask<Config>;
  readonly #lock: VolumeLock;
  readonly #control: number;
  readonly #device: number;
  readonly #mountPoint: string;
  readonly #mount = randomInt(1, 2 ** 32);
  readonly #started = Promise.withResolvers<void>();
  #config: Config;
  #agreement: Agreement | undefined;
  #child: ChildProcess | undefined;
  #servesSinceMs: number | undefined;
  #restarts = 0;
  #lastEnd = '';
  #stops = 0;
  /** Why the first daemon did not start, in its words. */
  #failure: TuskError | undefined;
  /** Resolves when the mount is over. */
  readonly done: Promise<Outcome>;

  /** Mounts, starts the first daemon, and returns when the mount is usable; otherwise nothing is left. */
  static async start<Config>(task: KeeperTask<Config>): Promise<Keeper<Config>> {
    const lock = lockVolume(task.name, task.paths);
    let control = -1;
    try {
      control = listenControl(task.paths.socket);
      const { name: source, mountPoint, options } = task;
      const device = await mountDevice({ source, mountPoint, options });
      const keeper = new Keeper(task, lock, control, device);
      control = -1;
      await keeper.#started.promise;
      return keeper;
    } catch (error) {
      if (control >= 0) removeSocket(task.paths.socket);
      lock.release();
      throw error;
    }
  }

  private constructor(
    task: KeeperTask<Config>,
    lock: VolumeLock,
    control: number,
    device: { fd: number; mountPoint: string },
  ) {
    this.#task = task;
    this.#config = task.config;
    this.#lock = lock;
    this.#control = control;
    this.#device = device.fd;
    this.#mountPoint = device.mountPoint;
    this.done = this.#keep();
  }

  /** Has the daemon stop in good order; at once if asked again. A daemon that is being started hears of it when it serves. */
  stop(): void {
    this.#stops++;
    if (this.#servesSinceMs !== undefined) this.#child?.kill('SIGTERM');
    else if (this.#stops > 1) this.#child?.kill('SIGKILL');
  }

  /** Has the daemon make room for a new one: after an upgrade. */
  restart(): void {
    if (this.#child?.connected === true) this.#child.send(RESTART);
  }

  async #keep(): Promise<Outcome> {
    const { name, patience = PATIENCE } = this.#task;
    for (let deaths = 0; ; ) {
      const end = await this.#life();
      if (end.type === 'ended') return end;
      this.#restarts++;
      this.#lastEnd = end.how;
      if (end.type === 'restarting') continue;
      if (this.#agreement === undefined) return this.#end(EXIT_FAILED, this.#neverServed(end.how));
      if (!canResend(this.#agreement))
        return this.#giveUp(`${end.how}; this kernel cannot go on with another (Linux 6.9 can)`);
      const lived = performance.now() - (this.#servesSinceMs ?? Number.POSITIVE_INFINITY);
      deaths = lived > patience.soonMs ? 1 : deaths + 1;
      if (deaths > patience.deathsMax) return this.#giveUp(`${end.how}, ${deaths} times in a row`);
      this.#log(`the daemon of ${name} died (${end.how}): starting it again`);
      await sleep(waitMsAfter(deaths, patience));
      if (this.#stops > 1) return this.#giveUp(`${end.how} while it was stopped`, EXIT_PENDING);
    }
  }

  /** One daemon, from its start to its end; one that could not be started (no memory, no descriptors left here) died, too. */
  async #life(): Promise<End> {
    const end = Promise.withResolvers<End>();
    this.#servesSinceMs = undefined;
    let child: ChildProcess;
    try {
      child = this.#spawn();
    } catch (error) {
      return { type: 'died', how: messageOf(error) };
    }
    this.#child = child;
    let how = '';
    let last: FromDaemon | undefined;
    const gone = (): void => {
      if (last?.type === 'ended') end.resolve(last);
      else if (last?.type === 'restarting') end.resolve({ type: last.type, how: 'a restart' });
      else end.resolve({ type: 'died', how: how || 'but for a thread that the kernel holds back' });
    };
    child.on('message', (message: FromDaemon) => {
      if (message.type === 'changed') {
        this.#config = { ...this.#config, ...message.config };
        return;
      }
      last = message;
      if (message.type === 'mounted') this.#serves(message.agreement);
      else if (message.type === 'failed') {
        how = message.message;
        const { code, kind } = message as { code: ErrorCode; kind: ErrorKind };
        this.#failure = new TuskError(code, message.message, { kind });
      }
    });
    child.on('error', ({ message }) => {
      how ||= message;
      if (child.pid === undefined) gone();
    });
    child.once('exit', (code, signal) => {
      how ||= signal ?? `exit code ${code}`;
      if (!child.connected) gone();
    });
    // Only now its last word has been heard. A thread that the kernel holds back keeps the process
    // from its end; its descriptors are gone nevertheless.
    child.once('disconnect', () => {
      if (child.exitCode !== null || child.signalCode !== null) gone();
      else setTimeout(gone, EXIT_MS).unref();
    });
    const config = this.#config;
    const handover = {
      ...{ mountPoint: this.#mountPoint, mount: this.#mount, keeper: process.pid },
      ...{ agreement: this.#agreement, restarts: this.#restarts, lastEnd: this.#lastEnd },
    };
    // Without a process there may be no channel either; the error says why, or has done so.
    if (child.pid !== undefined) child.send({ config, handover } satisfies DaemonStart<Config>);
    return end.promise;
  }

  #spawn(): ChildProcess {
    return spawn(process.execPath, [...process.execArgv, ...HEAP_FLAGS, this.#task.entry], {
      cwd: '/',
      env: compiledIn(this.#task.paths.root),
      // A session of its own: what a terminal sends to its foreground comes to the keeper first, and once.
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', this.#device, this.#control, this.#lock.fd],
    });
  }

  #serves(agreement: Agreement): void {
    this.#agreement ??= agreement;
    this.#servesSinceMs = performance.now();
    this.#started.resolve();
    if (this.#stops > 0) this.#child?.kill('SIGTERM');
  }

  #neverServed(how: string): TuskError {
    const { name, paths } = this.#task;
    const message = `the daemon of ${name} ended (${how}) before the mount was usable; ${paths.daemonLog} may say more. Nothing is mounted.`;
    return this.#failure ?? new TuskError('mount_failed', message);
  }

  /** Says why daemons are no longer started. */
  #giveUp(why: string, code = EXIT_FAILED): Promise<Outcome> {
    const { name } = this.#task;
    const message = `the daemon of ${name} died (${why}): ${this.#mountPoint} is unmounted. Everything it took over is safe on this machine; mount ${name} again`;
    this.#log(message);
    sayTo(2, `tuskfs: ${message}\n`);
    return this.#end(code, new TuskError('mount_failed', message));
  }

  /** The mount ends: programs with open files there meet errors. */
  async #end(code: number, failure: TuskError): Promise<Outcome> {
    const place = await placeOf(this.#device, this.#mountPoint);
    closeSync(this.#device);
    await unmountAt(place, { lazy: true }).catch(error => this.#log(messageOf(error)));
    removeSocket(this.#task.paths.socket);
    closeSync(this.#control);
    this.#lock.release();
    this.#started.reject(failure);
    return { code };
  }

  /** A line of the daemon's log. */
  #log(msg: string): void {
    const line = { level: 50, time: new Date().toISOString(), room: 'keeper', msg };
    sayTo(this.#task.paths.daemonLog, `${JSON.stringify(line)}\n`);
  }
}
