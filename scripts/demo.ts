/**
 * The main job on real files: a localnet, a sealed volume, a tree copied in, every local copy of
 * content thrown away, a third of the network stopped, everything read back and compared. What
 * it started, it stops, also when it fails or is interrupted.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compareTrees } from './compare-tree.ts';

const NODES = 13;
const SHARDS = 100;
const STOPPED = 4;

const top = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'tuskfs-demo-'));
const mountPoint = join(work, 'drive');
const startedAt = performance.now();
let stopping = false;

const env = {
  ...process.env,
  TUSKFS_CONFIG_DIR: join(work, 'config'),
  TUSKFS_STATE_DIR: join(work, 'state'),
  TUSKFS_PASSPHRASE_FILE: join(work, 'passphrase'),
};

const say = (text: string): void => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${text}`);
};

/** Runs a program to its end; its errors go to the terminal, its output is returned. */
const run = (command: string, args: string[]): Promise<string> =>
  new Promise((done, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', chunk => {
      output += chunk;
    });
    child.on('error', reject);
    child.on('close', status => {
      if (status === 0) done(output);
      else reject(new Error(`${command} ${args.join(' ')} ended with ${status}`));
    });
  });

const tuskfs = (...args: string[]): Promise<string> => run(join(top, 'scripts/tuskfs'), args);
const tuskfsJson = async <T>(...args: string[]): Promise<T> =>
  JSON.parse(await tuskfs(...args, '--json')) as T;

/** A run of free ports for the ledger and the nodes. */
const freeBase = async (count: number): Promise<number> => {
  const isFree = (port: number) =>
    new Promise<boolean>(done => {
      const server = createServer();
      server.on('error', () => done(false));
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
  for (let base = 31_000; base < 60_000; base += 100) {
    const ports = Array.from({ length: count }, (_, i) => base + i);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return base;
  }
  throw new Error('no free ports on 127.0.0.1');
};

/** The tree that is copied: real packages of this checkout, and what such packages do not have. */
const makeSource = (): string => {
  const source = join(work, 'source');
  mkdirSync(source);
  for (const name of [
    'node',
    'typescript',
    '@mysten',
    'zod',
    'vitest',
    'undici',
    'pino',
    'better-sqlite3',
  ]) {
    spawnSync('cp', ['-a', join(top, 'node_modules', name), source]);
  }
  spawnSync('cp', ['-a', join(top, 'src'), join(source, 'tuskfs-src')]);
  const odd = join(source, 'odd');
  mkdirSync(odd);
  writeFileSync(join(odd, 'original'), 'one inode, three names\n');
  linkSync(join(odd, 'original'), join(odd, 'second-name'));
  mkdirSync(join(odd, 'below'));
  linkSync(join(odd, 'original'), join(odd, 'below', 'third-name'));
  symlinkSync('original', join(odd, 'symlink'));
  symlinkSync('nowhere/at all', join(odd, 'dangling'));
  lutimesSync(join(odd, 'dangling'), 1_000_000_000.25, 1_000_000_000.25);
  writeFileSync(join(odd, 'private'), 'secret\n', { mode: 0o600 });
  writeFileSync(join(odd, 'empty'), '');
  writeFileSync(join(odd, 'name with space and ümläut'), 'é\n');
  writeFileSync(
    Buffer.concat([Buffer.from(`${odd}/not-utf8-`), Buffer.from([0xff, 0xfe])]),
    'bytes\n',
  );
  writeFileSync(join(odd, 'noise'), randomBytes(3_000_000));
  chmodSync(join(odd, 'noise'), 0o4751);
  utimesSync(join(odd, 'private'), 946_684_799.123456, 946_684_799.654321);
  mkdirSync(join(odd, 'sticky'), { mode: 0o755 });
  chmodSync(join(odd, 'sticky'), 0o1777);
  spawnSync('mkfifo', [join(odd, 'fifo')]);
  spawnSync('truncate', ['-s', '100M', join(odd, 'hole')]);
  spawnSync('setfattr', ['-n', 'user.comment', '-v', 'kept with the file', join(odd, 'original')]);
  spawnSync('setfattr', ['-n', 'user.empty', join(odd, 'below')]);
  return source;
};

/** Names of files, and bytes with each inode counted once. */
const measure = async (
  root: string,
): Promise<{ files: number; bytes: number; largest: number }> => {
  const lines = (await run('find', [root, '-type', 'f', '-printf', '%i %s\\n'])).trim().split('\n');
  const sizes = new Map(lines.map(line => line.split(' ').map(Number) as [number, number]));
  const all = [...sizes.values()];
  return {
    files: lines.length,
    bytes: all.reduce((sum, size) => sum + size, 0),
    largest: Math.max(...all),
  };
};

/** Bytes other than zero in the volume's directories of content (log segments are filled with zeros ahead of use). */
const localContentBytes = async (state: string): Promise<number> => {
  const directories = ['log', 'outbox', 'cache', 'scratch'].map(name => join(state, name));
  const count = await run('sh', [
    '-c',
    'find "$@" -type f -exec cat {} + | tr -d \'\\000\' | wc -c',
    'sh',
    ...directories,
  ]);
  return Number(count);
};

interface LocalnetStatus {
  rpcUrl: string;
  nodes: { index: number; name: string; shards: number[] }[];
}

/** The nodes to stop: those that hold the most systematic slivers of the newest blob (its pair i lies in shard (i + id) mod n). */
const nodesToStop = async (status: LocalnetStatus): Promise<number[]> => {
  const { blobs } = (await (await fetch(`${status.rpcUrl}/localnet/blobs`)).json()) as {
    blobs: { blobId: string }[];
  };
  const id = BigInt(`0x${Buffer.from(blobs.at(-1)!.blobId, 'base64url').toString('hex')}`);
  const rotation = Number(id % BigInt(SHARDS));
  const systematic = SHARDS - 2 * Math.floor((SHARDS - 1) / 3);
  const held = status.nodes.map(node => ({
    index: node.index,
    slivers: node.shards.filter(shard => (shard - rotation + SHARDS) % SHARDS < systematic).length,
  }));
  held.sort((a, b) => b.slivers - a.slivers);
  const chosen = held.slice(0, STOPPED);
  say(
    `stopping nodes ${chosen.map(node => node.index).join(', ')}, which hold ${chosen.reduce((sum, node) => sum + node.slivers, 0)} of the ${systematic} systematic slivers of the newest pack`,
  );
  return chosen.map(node => node.index);
};

interface Cost {
  wal: string;
  sui: string;
  packs: number;
  encodedBytes: number;
}

const coin = (amount: string): string => (Number(amount) / 1e9).toFixed(6);

const mount = () => tuskfs('mount', 'demo', mountPoint);
const umount = () => tuskfs('umount', mountPoint);

const main = async (given: string | undefined): Promise<void> => {
  writeFileSync(env.TUSKFS_PASSPHRASE_FILE, `${randomBytes(16).toString('hex')}\n`, {
    mode: 0o600,
  });
  mkdirSync(mountPoint);
  const source = given === undefined ? makeSource() : resolve(given);
  const { files, bytes, largest } = await measure(source);
  say(`source: ${files} files, ${bytes} bytes, the largest ${largest}`);

  const base = await freeBase(NODES + 1);
  await tuskfs(
    'localnet',
    'start',
    '--nodes',
    `${NODES}`,
    '--shards',
    `${SHARDS}`,
    '--port',
    `${base}`,
  );
  say(`localnet: ${NODES} storage nodes, ${SHARDS} shards`);
  await tuskfs('create', 'demo', '--network', 'localnet');
  await mount();
  say('volume created and mounted');

  const copy = join(mountPoint, 'copy');
  await run('cp', ['-a', source, copy]);
  say('copied with cp -a');
  await tuskfs('sync', mountPoint);
  const { cost } = await tuskfsJson<{ cost: Cost }>('status', mountPoint);
  say(
    `checkpointed: ${cost.packs} packs, ${cost.encodedBytes} bytes encoded, ${coin(cost.wal)} WAL, ${coin(cost.sui)} SUI`,
  );
  await umount();
  await tuskfs('cache', 'drop', 'demo');
  const left = await localContentBytes(join(env.TUSKFS_STATE_DIR, 'volumes', 'demo'));
  // An empty segment of the log has a header.
  if (left > 64) throw new Error(`${left} bytes of content are still on this machine`);
  say('unmounted; no content is left on this machine but the last page of each file');

  const network = await tuskfsJson<LocalnetStatus>('localnet', 'status');
  const stopped = await nodesToStop(network);
  await tuskfs('localnet', 'node', 'stop', ...stopped.map(String));
  await mount();
  say('mounted again');
  const differences = await compareTrees(source, copy);
  if (differences.length > 0)
    throw new Error(`the trees differ:\n${differences.slice(0, 20).join('\n')}`);
  say('every file was read back and compared');
  await umount();
  await stop();
  console.log(
    `demo: ${files} files, ${bytes} bytes, identical; ${STOPPED} of ${NODES} nodes stopped; ${cost.encodedBytes} bytes encoded; ${coin(cost.wal)} WAL, ${coin(cost.sui)} SUI`,
  );
};

/** Stops and removes whatever this run made. */
const stop = async (): Promise<void> => {
  if (stopping) return;
  stopping = true;
  const quiet = (args: string[]) =>
    spawnSync(join(top, 'scripts/tuskfs'), args, { env, stdio: 'ignore' });
  if (spawnSync('mountpoint', ['-q', mountPoint]).status === 0) {
    quiet(['umount', '--lazy', '--timeout', '5s', mountPoint]);
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' });
  }
  quiet(['localnet', 'stop']);
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
};

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    console.error(`demo: interrupted by ${signal}; cleaning up`);
    void stop().then(() => process.exit(130));
  });
}

try {
  await main(process.argv[2]);
} catch (error) {
  if (!stopping) {
    console.error(`demo: failed: ${error instanceof Error ? error.message : error}`);
    await stop();
    process.exit(1);
  }
}
