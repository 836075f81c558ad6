/**
 * A vfs over a real index, mounted by a child of its own (`serve-vfs.ts`) below a fresh directory,
 * and what tests ask of it. This process must not be the one that serves: it touches the mount.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callDaemon } from '../../src/daemon/control.ts';
import type { Patience } from '../../src/daemon/patience.ts';
import type { SessionCounters } from '../../src/fuse/session.ts';
import type { ServerOptions, ServerRequest } from './serve-vfs.ts';

const SCRIPT_TIMEOUT_MS = 60_000;
const NOTICE_TIMEOUT_MS = 10_000;

/** One mounted drive without a network. */
export class Served {
  readonly work: string;
  readonly state: string;
  readonly drive: string;
  readonly #settings: ServerOptions;
  #server: ChildProcess | undefined;

  constructor(name: string, settings: ServerOptions = {}) {
    this.#settings = settings;
    this.work = mkdtempSync(join(tmpdir(), `tuskfs-${name}-`));
    // Users other than this one go through it, as through any mount point's parents.
    chmodSync(this.work, 0o755);
    this.state = join(this.work, 'state');
    this.drive = join(this.work, 'drive');
    for (const path of [this.state, this.drive]) mkdirSync(path);
  }

  /** Mounts; a daemon that was killed before leaves nothing in the way. */
  async start(options: ServerOptions = {}): Promise<void> {
    const args = [this.state, this.drive, JSON.stringify({ ...this.#settings, ...options })];
    const server = fork(new URL('./serve-vfs.ts', import.meta.url), args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#server = server;
    const [message] = await Promise.race([once(server, 'message'), once(server, 'exit')]);
    if (message !== 'mounted') throw new Error(`the server ended with ${message}`);
  }

  /** Mounts under a keeper, which starts the server again whenever it dies; both say on `stderr` what they have to say. */
  async startKept(
    env: NodeJS.ProcessEnv = {},
    patience?: Patience,
    stderr: number | 'inherit' = 'inherit',
  ): Promise<void> {
    const words = patience === undefined ? [] : [JSON.stringify(patience)];
    const keeper = fork(
      new URL('./keep-vfs.ts', import.meta.url),
      [this.state, this.drive, ...words],
      { stdio: ['ignore', 'ignore', stderr, 'ipc'], env: { ...process.env, ...env } },
    );
    this.#server = keeper;
    const [message] = await Promise.race([once(keeper, 'message'), once(keeper, 'exit')]);
    if (message !== 'mounted') throw new Error(`the keeper ended with ${message}`);
  }

  /** The server under a keeper; waits for the next while there is none. */
  async where(): Promise<{ pid: number; restarts: number }> {
    return callDaemon(join(this.state, 'control.sock'), 'where');
  }

  /** Kills the server under a keeper, which will start another. */
  async killServer(): Promise<void> {
    process.kill((await this.where()).pid, 'SIGKILL');
  }

  /** The process that this one started: server or keeper. */
  get process(): ChildProcess {
    return this.#server!;
  }

  /** Unmounts and waits for the server, which must end well. */
  async stop(): Promise<void> {
    const exit = once(this.#server!, 'exit');
    // On a busy machine the kernel may close a program's last file a moment after its end.
    await this.sh(`for _ in 1 2 3 4 5; do umount ${this.drive} && exit; sleep 1; done; exit 1`);
    const [status] = await exit;
    if (status !== 0) throw new Error(`the server ended with ${status}`);
  }

  /** Kills the server as it is, if it is still there. */
  async kill(): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const exit = once(server, 'exit');
    server.kill('SIGKILL');
    await exit;
  }

  /** Runs a script in the working directory; its output. A wedged mount does not hang the test. */
  sh(script: string, timeout = SCRIPT_TIMEOUT_MS): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = {
        cwd: this.work,
        timeout,
        killSignal: 'SIGKILL',
        maxBuffer: 1 << 24,
      } as const;
      const args = ['-euo', 'pipefail', '-c', script];
      execFile('bash', args, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${script}\n${stdout}${stderr}${error.message}`));
      });
    });
  }

  /** Requests that the kernel has made, by operation. */
  async requests(): Promise<Readonly<Record<string, number>>> {
    return ((await this.#ask('counters')) as SessionCounters).requests;
  }

  /** Has the kernel forget an inode; resolves when it has. */
  async forgetInode(inode: number): Promise<void> {
    await this.#ask({ inode });
  }

  /** Has the kernel forget a name; resolves when it has. */
  async forgetName(parent: number, name: string): Promise<void> {
    await this.#ask({ parent, name });
  }

  async #ask(request: ServerRequest): Promise<unknown> {
    const signal = AbortSignal.timeout(NOTICE_TIMEOUT_MS);
    const answer = once(this.#server!, 'message', { signal });
    this.#server!.send(request);
    return (await answer)[0];
  }

  /** Ends the server however it is and removes everything. */
  async remove(): Promise<void> {
    // In its parent, umount(8) would read the name of a path that is no mount point as a source,
    // and unmount another drive of that name.
    await this.sh(`cd /; umount -l ${this.drive}`).catch(() => {});
    const server = this.#server;
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      const exit = once(server, 'exit');
      const timer = setTimeout(() => server.kill('SIGKILL'), NOTICE_TIMEOUT_MS);
      await exit;
      clearTimeout(timer);
    }
    rmSync(this.work, { recursive: true, force: true });
  }
}
