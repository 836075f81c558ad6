/**
 * A person's machine in a directory: settings, state and passphrase of its own, the command line
 * run as a child, and everything it started stopped at the end.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { callDaemon } from '../../src/daemon/control.ts';
import type { StatusReport, SyncReport } from '../../src/daemon/report.ts';
import { freePorts } from '../../src/localnet/control.ts';
import { startTicksOf } from '../../src/localnet/process.ts';
import { volumePaths } from '../../src/volume/paths.ts';

const tuskfsPath = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));

/** Of every volume. */
export const PASSPHRASE = 'correct horse battery staple';

/** How a command ended. */
export interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

/** `tuskfs localnet status --json`, as far as tests read it. */
export interface LocalnetStatus {
  rpcUrl: string;
  packageConfig: { systemObjectId: string; stakingPoolId: string };
  epoch: number;
  pid: number;
  nodes: { index: number; name: string; address: string; shards: number[]; state: string }[];
}

export { freePorts };

/** Waits until `condition` holds; throws after `timeoutMs`. */
export const until = async (
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 30_000,
): Promise<void> => {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
};

/** One such machine. */
export class Sandbox {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  /** Of the ledger, once `startLocalnet` was called. */
  rpcUrl = '';
  readonly #mounts = new Set<string>();
  #localnet = false;

  constructor(name: string, env: NodeJS.ProcessEnv = {}) {
    this.root = mkdtempSync(join(tmpdir(), `tuskfs-${name}-`));
    this.env = {
      ...process.env,
      TUSKFS_CONFIG_DIR: this.path('config'),
      TUSKFS_STATE_DIR: this.path('state'),
      TUSKFS_PASSPHRASE_FILE: this.path('passphrase'),
      TUSKFS_ARGON_MIB: '64',
      ...env,
    };
    writeFileSync(this.path('passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
  }

  /** A path within the sandbox. */
  path(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  /** State directory of a volume. */
  state(volume: string): string {
    return this.path('state', 'volumes', volume);
  }

  /** Runs a command of tuskfs to its end. */
  tuskfs(
    args: string[],
    options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
  ): Promise<Ended> {
    return this.run(tuskfsPath, args, options);
  }

  /** Runs a command that must succeed; its stdout. */
  async ok(args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const ended = await this.tuskfs(args, { env });
    if (ended.status !== 0) {
      throw new Error(`tuskfs ${args.join(' ')} ended with ${ended.status}: ${ended.stderr}`);
    }
    return ended.stdout;
  }

  /** Runs any program to its end, as a child, never touching a mount from this process. */
  run(
    command: string,
    args: string[],
    options: { env?: NodeJS.ProcessEnv; timeoutMs?: number; cwd?: string } = {},
  ): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        env: { ...this.env, ...options.env },
        cwd: options.cwd ?? this.root,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000);
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', chunk => {
        stdout += chunk;
      });
      child.stderr.on('data', chunk => {
        stderr += chunk;
      });
      child.on('error', reject);
      child.on('close', (status, signal) => {
        clearTimeout(timer);
        resolve({
          status: status ?? 128,
          stdout,
          stderr: signal === null ? stderr : `${stderr}[${signal}]`,
        });
      });
    });
  }

  /** A shell script that must succeed; its stdout. */
  async sh(script: string, cwd = this.root): Promise<string> {
    const ended = await this.run('bash', ['-euo', 'pipefail', '-c', script], { cwd });
    if (ended.status !== 0)
      throw new Error(`${script}\nended with ${ended.status}: ${ended.stderr}`);
    return ended.stdout;
  }

  /** Starts a localnet on free ports and enters it in the settings. */
  async startLocalnet(extra: string[] = []): Promise<void> {
    this.#localnet = true;
    const port = await freePorts(20);
    this.rpcUrl = `http://127.0.0.1:${port}`;
    await this.ok(['localnet', 'start', '--port', `${port}`, ...extra]);
  }

  /** State of the localnet. */
  async localnet(): Promise<LocalnetStatus> {
    return JSON.parse(await this.ok(['localnet', 'status', '--json'])) as LocalnetStatus;
  }

  /** Makes a volume and returns what `create --json` printed. */
  async create(volume: string): Promise<{ recoveryKey: string; address: string }> {
    return JSON.parse(await this.ok(['create', volume, '--network', 'localnet', '--json']));
  }

  /** Mounts a volume below the sandbox; the mount point. */
  async mount(volume: string, extra: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const mountPoint = this.path(`mnt-${volume}`);
    // What a killed daemon left mounted there cannot even be looked at.
    if (!this.#mounts.has(mountPoint)) mkdirSync(mountPoint, { recursive: true });
    this.#mounts.add(mountPoint);
    await this.ok(['mount', volume, mountPoint, ...extra], env);
    return mountPoint;
  }

  /** Unmounts with the last flush. */
  async umount(mountPoint: string): Promise<void> {
    await this.ok(['umount', mountPoint]);
  }

  /** Kills the keeper of a mounted volume and then its daemon; they and the mount's connection are gone when this resolves. */
  async kill(volume: string): Promise<void> {
    const pid = await this.orphan(volume);
    process.kill(pid, 'SIGKILL');
    await until(`process ${pid} is gone`, () => startTicksOf(pid) === undefined);
  }

  /** Kills the keeper of a mounted volume, so that the daemon's death is the mount's; the daemon. */
  async orphan(volume: string): Promise<number> {
    const { pid, keeper } = await this.where(volume);
    if (keeper !== null) {
      process.kill(keeper, 'SIGKILL');
      await until(`process ${keeper} is gone`, () => startTicksOf(keeper) === undefined);
    }
    return pid;
  }

  /** Process that serves a mounted volume. */
  async pid(volume: string): Promise<number> {
    return (await this.where(volume)).pid;
  }

  /** Processes of a mounted volume; no keeper (null) if it is gone. */
  where(volume: string): Promise<{ pid: number; keeper: number | null; mountPoint: string }> {
    return callDaemon(volumePaths(this.state(volume)).socket, 'where');
  }

  /** What `tuskfs status --json` prints of a mounted volume, without a process for each question. */
  status(volume: string): Promise<StatusReport> {
    return callDaemon(volumePaths(this.state(volume)).socket, 'status');
  }

  /** The status of a mounted volume with what its wallet holds: a busy machine may take a while to hear that from the chain. */
  async balance(volume: string): Promise<{ wal: bigint; sui: bigint; cost: StatusReport['cost'] }> {
    let status: StatusReport | undefined;
    await until('the chain says what the wallet holds', async () => {
      status = await this.status(volume);
      return status.wallet.wal !== null;
    });
    const { wallet, cost } = status!;
    return { wal: BigInt(wallet.wal!), sui: BigInt(wallet.sui!), cost };
  }

  /** `tuskfs sync`, which must checkpoint everything. */
  async sync(volume: string): Promise<SyncReport> {
    return JSON.parse(await this.ok(['sync', volume, '--json'])) as SyncReport;
  }

  /** Resolves when every upload has reached all nodes it can, and was checked there. */
  async tailsEnded(volume: string): Promise<void> {
    await until(
      'all uploads have ended',
      async () => (await this.status(volume)).flush.packsPending === 0,
    );
  }

  /** A program that runs beside the test; the caller ends it. */
  spawn(command: string, args: string[]): ChildProcess {
    return spawn(command, args, { env: this.env, cwd: this.root, stdio: 'ignore' });
  }

  /** What the daemon of a volume has logged. */
  daemonLog(volume: string): string {
    return readFileSync(join(this.state(volume), 'daemon.log'), 'utf8');
  }

  /** Ends everything and removes the directory. */
  async close(): Promise<void> {
    for (const mountPoint of this.#mounts) {
      if (spawnSync('grep', ['-q', ` ${mountPoint} `, '/proc/self/mounts']).status !== 0) continue;
      await this.tuskfs(['umount', '--lazy', '--timeout', '1s', mountPoint], { timeoutMs: 20_000 });
      spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore', cwd: '/' });
    }
    if (this.#localnet) await this.tuskfs(['localnet', 'stop']);
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
