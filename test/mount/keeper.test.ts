/** How a mount under a keeper ends (S-46): unmounted or stopped while there is no server, by too many deaths, with the keeper. */
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../support/sandbox.ts';
import { Served } from '../support/served.ts';

let served: Served;
beforeEach(() => {
  served = new Served('keeper');
});
afterEach(() => served.remove());

const isMounted = (): boolean =>
  readFileSync('/proc/self/mounts', 'utf8').includes(` ${served.drive} `);
/** The keeper's exit code. */
const ended = async (): Promise<unknown> => (await once(served.process, 'exit'))[0];

test('umount(8) while there is no server waits for the next and ends all', async () => {
  await served.startKept();
  await served.sh('echo kept > drive/f');
  const exit = ended();
  await served.killServer();
  await served.sh('umount drive');
  expect(await exit).toBe(0);
  await served.start();
  expect(await served.sh('cat drive/f')).toBe('kept\n');
});

test('a keeper that is told to stop while there is no server has the next one stop', async () => {
  await served.startKept();
  const exit = ended();
  await served.killServer();
  served.process.kill('SIGTERM');
  expect(await exit).toBe(0);
  expect(isMounted()).toBe(false);
});

test('a server that dies again and again takes the mount with it, and nothing that was received', async () => {
  const patience = { deathsMax: 3, soonMs: 10_000, freeDeaths: 1, waitMs: 10, waitMsMax: 100 };
  // What is said there is lost: the end must come all the same.
  const full = openSync('/dev/full', 'w');
  await served.startKept({}, patience, full);
  closeSync(full);
  await served.sh('echo kept > drive/f; mv state/index/local.db state/away');
  const exit = ended();
  await served.killServer();
  // Somebody waits there, and is told.
  expect(await served.sh('cat drive/f 2>&1 || echo refused')).toMatch(/refused\n$/);
  expect(await exit).toBe(1);
  expect(isMounted()).toBe(false);
  expect(existsSync(join(served.state, 'control.sock'))).toBe(false);
  expect(readFileSync(join(served.state, 'daemon.log'), 'utf8')).toMatch(
    /4 times in a row.*is unmounted\. Everything it took over is safe/,
  );
  await served.sh('mv state/away state/index/local.db');
  await served.startKept();
  expect(await served.sh('cat drive/f')).toBe('kept\n');
  await served.stop();
});

test('deaths that are far between are never too many', async () => {
  const patience = { deathsMax: 1, soonMs: 200, freeDeaths: 1, waitMs: 10, waitMsMax: 100 };
  await served.startKept({}, patience);
  await served.sh('echo kept > drive/f');
  for (let deaths = 1; deaths <= 3; deaths++) {
    // It has served that long then, however long it took to begin.
    await served.where();
    await sleep(1000);
    await served.killServer();
    expect((await served.where()).restarts).toBe(deaths);
  }
  expect(await served.sh('cat drive/f')).toBe('kept\n');
  await served.stop();
});

/** How many descriptors the keeper may have. */
const limitDescriptors = (limit: number): Promise<string> =>
  served.sh(`prlimit --pid ${served.process.pid} --nofile=${limit}:`);
/** The lowest number that no descriptor of the keeper has. */
const firstFree = (): number => {
  const taken = new Set(readdirSync(`/proc/${served.process.pid}/fd`).map(Number));
  let free = 0;
  while (taken.has(free)) free++;
  return free;
};

test.each(['descriptors', 'disk'] as const)(
  'a server that dies while there is no room (%s) is started again once there is, and nobody notices',
  async what => {
    await served.startKept();
    await served.sh('echo kept > drive/f');
    const { pid, restarts } = await served.where();
    const log = join(served.state, 'daemon.log');
    // The disk: a log that takes no line more. Descriptors: none is free in the keeper but that of the server's channel.
    if (what === 'disk') symlinkSync('/dev/full', log);
    else await limitDescriptors(firstFree());
    process.kill(pid, 'SIGKILL');
    const read = served.sh('cat drive/f');
    if (what === 'descriptors') {
      await until(
        'a start that failed',
        () => existsSync(log) && /EMFILE/.test(readFileSync(log, 'utf8')),
      );
      await limitDescriptors(1024);
    }
    expect(await read).toBe('kept\n');
    expect((await served.where()).restarts).toBeGreaterThan(restarts);
    await served.stop();
  },
);

test('on a kernel before 6.9 the mount ends with its server: open files are refused, what was received is not lost', async () => {
  await served.startKept({ TUSK_OLD_KERNEL: '1' });
  const exit = ended();
  const holder = served.sh(`exec 3<> drive/f; echo kept >&3; sync drive/f; touch open
    until test -e go; do sleep 0.05; done; sync /proc/self/fd/3 2>&1 || ls drive`);
  await until('a file is open there', () => existsSync(join(served.work, 'open')));
  await served.killServer();
  expect(await exit).toBe(1);
  expect(isMounted()).toBe(false);
  await served.sh('touch go');
  // The descriptor is dead, the directory is the empty one below.
  expect(await holder).toMatch(
    /: (Transport endpoint is not connected|Software caused connection abort)\n$/,
  );
  expect(readFileSync(join(served.state, 'daemon.log'), 'utf8')).toMatch(
    /this kernel cannot go on with another \(Linux 6\.9 can\).*is unmounted/,
  );
  await served.startKept();
  expect(await served.sh('cat drive/f')).toBe('kept\n');
  await served.stop();
});

test('without its keeper the server goes on, and the mount ends with it', async () => {
  await served.startKept();
  const { pid } = await served.where();
  await served.kill();
  await served.sh('echo kept > drive/f');
  expect(await served.where()).toMatchObject({ pid });
  // Whoever would mount the volume elsewhere finds it in use.
  expect(await served.sh('flock -n state/lock true || echo held')).toBe('held\n');
  process.kill(pid, 'SIGKILL');
  await until('the mount is dead', async () =>
    (await served.sh('cat drive/f 2>&1 || true')).includes('not connected'),
  );
  await served.startKept();
  expect(await served.sh('cat drive/f')).toBe('kept\n');
  await served.stop();
});

test('a second mount is refused while keeper or server lives', async () => {
  await served.startKept();
  const exit = ended();
  await expect(served.startKept()).rejects.toThrow('ended');
  expect(isMounted()).toBe(true);
  await served.sh('umount drive');
  expect(await exit).toBe(0);
});

test('no child of keeper or server inherits what was handed over', async () => {
  await served.startKept();
  const { pid } = await served.where();
  for (const holder of [served.process.pid!, pid]) {
    const found: string[] = [];
    for (const fd of readdirSync(`/proc/${holder}/fd`)) {
      const target = readlinkSync(`/proc/${holder}/fd/${fd}`);
      const name = ['/dev/fuse', join(served.state, 'lock')].find(path => target === path);
      if (name === undefined) continue;
      found.push(name);
      const flags = /flags:\t(\d+)/.exec(readFileSync(`/proc/${holder}/fdinfo/${fd}`, 'utf8'))![1]!;
      expect(Number.parseInt(flags, 8) & 0o2000000, `${holder}: ${target}`).not.toBe(0);
    }
    expect(found.length).toBeGreaterThanOrEqual(2);
  }
  await served.stop();
});
