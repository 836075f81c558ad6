/**
 * What the mount bench compares: a plain directory, tuskfs without a network, and what Debian
 * carries: libfuse's passthrough_ll (its example source is compiled here, never kept), `rclone
 * mount` with its full cache, gocryptfs. Each has a directory to work in; none is served by this
 * process, which may therefore touch them all. What is not installed is left out, saying so.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compiledIn, HEAP_FLAGS } from '../../src/daemon/compiled.ts';
import type { SessionCounters } from '../../src/fuse/session.ts';

const run = promisify(execFile);

const EXAMPLE = '/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c';
const MOUNT_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 20;

/** A place that the rows run in. */
export interface Peer {
  readonly name: string;
  /** Where the rows work. */
  readonly directory: string;
  /** The mount that the kernel is to forget before cold rows. */
  readonly mount?: string;
  /** The directory on disk that a mount writes through to. */
  readonly backing?: string;
  /** Requests that the kernel has made, by operation. */
  requests?(): Promise<Readonly<Record<string, number>>>;
  /** Unmounts. */
  stop(): Promise<void>;
}

/** Starts a peer in a directory of its own below `work`; or why it cannot be had. */
type Start = ((work: string) => Promise<Peer | string>) & { readonly peer: string };

const starting = (peer: string, start: (work: string) => Promise<Peer | string>): Start =>
  Object.assign(start, { peer });

/** A directory of the disk below everything. */
export const plain = starting('plain', async work => {
  const directory = join(work, 'plain');
  await mkdir(directory);
  return { name: 'plain', directory, stop: async () => {} };
});

/** A mount of ours, and the process that serves it. */
export type Served = Peer & { readonly pid: number };

/** tuskfs: the vfs over a real index, with nothing to flush to; a second one in `work` shows what the first one left. */
export const tuskfs = async (work: string): Promise<Served> => {
  const [state, mount] = [join(work, 'state'), join(work, 'tuskfs')];
  await Promise.all([state, mount].map(path => mkdir(path, { recursive: true })));
  const server = fork(new URL('../support/serve-vfs.ts', import.meta.url), [state, mount], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [...process.execArgv, ...HEAP_FLAGS],
    env: compiledIn(state),
  });
  const [said] = await Promise.race([once(server, 'message'), once(server, 'exit')]);
  if (said !== 'mounted') throw new Error(`the server of tuskfs ended with ${said}`);
  return {
    ...{ name: 'tuskfs', directory: mount, mount, pid: server.pid! },
    requests: async () => {
      const answer = once(server, 'message');
      server.send('counters');
      return ((await answer)[0] as SessionCounters).requests;
    },
    stop: () => unmount(mount, server),
  };
};

/** libfuse's passthrough_ll over a directory of the disk, with writeback cache. */
export const passthrough = starting('passthrough_ll', async work => {
  if (!existsSync(EXAMPLE)) return 'apt-get install libfuse3-dev gcc pkg-config';
  const program = join(work, 'passthrough_ll');
  const { stdout } = await run('pkg-config', ['--cflags', '--libs', 'fuse3']);
  await run('gcc', ['-O2', '-o', program, EXAMPLE, ...stdout.trim().split(/\s+/)]);
  return overDirectory('passthrough_ll', work, (backing, mount) => [
    ...[program, '-f', '-o', `source=${backing},cache=always,writeback`, mount],
  ]);
});

/** `rclone mount` of a directory of the disk, with its full cache. */
export const rclone = starting('rclone', async work => {
  if (!(await isInstalled('rclone'))) return 'apt-get install rclone';
  return overDirectory('rclone', work, (backing, mount) => [
    ...['rclone', 'mount', '--config', join(work, 'rclone.conf'), '--vfs-cache-mode', 'full'],
    ...['--cache-dir', join(work, 'rclone-cache'), `:local:${backing}`, mount],
  ]);
});

/** gocryptfs over a directory of the disk. */
export const gocryptfs = starting('gocryptfs', async work => {
  if (!(await isInstalled('gocryptfs'))) return 'apt-get install gocryptfs';
  const secret = join(work, 'gocryptfs-passphrase');
  await writeFile(secret, 'nothing to hide\n');
  return overDirectory('gocryptfs', work, async (backing, mount) => {
    const how = ['-q', '-passfile', secret];
    await run('gocryptfs', ['-init', ...how, '-scryptn', '10', backing]);
    return ['gocryptfs', '-fg', ...how, backing, mount];
  });
});

const isInstalled = (program: string): Promise<boolean> =>
  run('which', [program]).then(
    () => true,
    () => false,
  );

/** A daemon of somebody else that shows one directory of the disk at another. */
const overDirectory = async (
  name: string,
  work: string,
  command: (backing: string, mount: string) => string[] | Promise<string[]>,
): Promise<Peer> => {
  const [backing, mount] = [join(work, `${name}-backing`), join(work, `${name}-mount`)];
  await Promise.all([backing, mount].map(path => mkdir(path)));
  const [program, ...args] = await command(backing, mount);
  const server = spawn(program!, args, { stdio: 'ignore' });
  await mounted(mount, server);
  return { name, directory: mount, mount, backing, stop: () => unmount(mount, server) };
};

/** Waits until something is mounted at `path`: its device is then another than its parent's. */
const mounted = async (path: string, server: ChildProcess): Promise<void> => {
  const below = (await stat(join(path, '..'))).dev;
  for (const end = Date.now() + MOUNT_TIMEOUT_MS; Date.now() < end; ) {
    if ((await stat(path)).dev !== below) return;
    if (server.exitCode !== null) break;
    await new Promise(resolve => setTimeout(resolve, LOOK_EVERY_MS));
  }
  server.kill();
  throw new Error(`nothing was mounted at ${path}`);
};

const unmount = async (mount: string, server: ChildProcess): Promise<void> => {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exit = once(server, 'exit');
  await run('umount', [mount]).catch(() => run('umount', ['-l', mount]));
  await exit;
  await rm(mount, { recursive: true, force: true });
};
