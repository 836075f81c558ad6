/**
 * What the mount bench compares: a plain directory, tuskfs without a network, and libfuse's
 * passthrough_ll as Debian carries it (its example source is compiled here, never kept). Each has
 * a directory to work in; none is served by this process, which may therefore touch them all.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
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

/** A directory of the disk below everything. */
export const plain = async (work: string): Promise<Peer> => {
  const directory = join(work, 'plain');
  await mkdir(directory);
  return { name: 'plain', directory, stop: async () => {} };
};

/** tuskfs: the vfs over a real index, with nothing to flush to. */
export const tuskfs = async (work: string): Promise<Peer> => {
  const [state, mount] = [join(work, 'state'), join(work, 'tuskfs')];
  await Promise.all([state, mount].map(path => mkdir(path)));
  const server = fork(new URL('../support/serve-vfs.ts', import.meta.url), [state, mount], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [said] = await Promise.race([once(server, 'message'), once(server, 'exit')]);
  if (said !== 'mounted') throw new Error(`the server of tuskfs ended with ${said}`);
  return {
    name: 'tuskfs',
    directory: mount,
    mount,
    requests: async () => {
      const answer = once(server, 'message');
      server.send('counters');
      return ((await answer)[0] as SessionCounters).requests;
    },
    stop: () => unmount(mount, server),
  };
};

/** libfuse's passthrough_ll over a directory of the disk; undefined if it cannot be built here. */
export const passthrough = async (work: string): Promise<Peer | undefined> => {
  if (!existsSync(EXAMPLE)) return undefined;
  const program = join(work, 'passthrough_ll');
  const { stdout } = await run('pkg-config', ['--cflags', '--libs', 'fuse3']);
  await run('gcc', ['-O2', '-o', program, EXAMPLE, ...stdout.trim().split(/\s+/)]);
  const [backing, mount] = [join(work, 'backing'), join(work, 'passthrough')];
  await Promise.all([backing, mount].map(path => mkdir(path)));
  const options = `source=${backing},cache=always,writeback`;
  const server = spawn(program, ['-f', '-o', options, mount], { stdio: 'ignore' });
  await mounted(mount, server);
  return {
    name: 'passthrough_ll',
    directory: mount,
    mount,
    backing,
    stop: () => unmount(mount, server),
  };
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
  const exit = once(server, 'exit');
  await run('umount', [mount]).catch(() => run('umount', ['-l', mount]));
  await exit;
  await rm(mount, { recursive: true, force: true });
};
