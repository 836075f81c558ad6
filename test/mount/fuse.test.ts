/** The device, the session and the kernel together, over a file system in memory in a child. */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mountVolume, unmount } from '../../src/fuse/mount.ts';
import { mountAt } from '../../src/fuse/mountinfo.ts';

const server = new URL('../fuse/serve-memory.ts', import.meta.url).pathname;
let home: string;
let at: string;
let child: ChildProcess;

const serve = async (): Promise<ChildProcess> => {
  const started = fork(server, [at], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
  let said = '';
  started.stderr!.on('data', text => (said += text));
  const first = await Promise.race([once(started, 'message'), once(started, 'exit')]);
  if (first[0] !== 'mounted') throw new Error(`the server did not mount: ${said}`);
  return started;
};

const counters = async () => {
  child.send('counters');
  const [answer] = await once(child, 'message');
  return answer as { requests: Record<string, number>; lookups: number; nodes: number };
};

beforeEach(async () => {
  home = fs.mkdtempSync(join(tmpdir(), 'tuskfs-fuse-'));
  at = join(home, 'mnt');
  fs.mkdirSync(at);
  child = await serve();
});

afterEach(async () => {
  await unmount(at, { lazy: true });
  if (child.exitCode === null && child.signalCode === null) {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    await unmount(at, { lazy: true });
  }
  fs.rmSync(home, { recursive: true });
});

test('shows in the list of mounts under its type and name', async () => {
  expect(await mountAt(at)).toMatchObject({ type: 'fuse.tuskfs', source: 'memory' });
});

test('files, directories, links, times: written, read again from the server', () => {
  const path = join(at, 'd/file');
  fs.mkdirSync(join(at, 'd'));
  const content = Buffer.alloc(3_000_001, 'tusk');
  fs.writeFileSync(path, content);
  fs.appendFileSync(path, 'end');
  fs.renameSync(path, join(at, 'moved'));
  fs.linkSync(join(at, 'moved'), join(at, 'hard'));
  fs.symlinkSync('d/nowhere', join(at, 'soft'));
  fs.utimesSync(join(at, 'moved'), new Date(-5000), new Date(-7000));
  const direct = fs.openSync(join(at, 'hard'), fs.constants.O_RDONLY | fs.constants.O_DIRECT);
  const wanted = Buffer.concat([content, Buffer.from('end')]);
  expect(fs.readFileSync(direct).equals(wanted)).toBe(true);
  fs.closeSync(direct);
  expect(fs.readlinkSync(join(at, 'soft'))).toBe('d/nowhere');
  const stat = fs.statSync(join(at, 'hard'));
  expect([stat.nlink, stat.mtimeMs, stat.size]).toEqual([2, -7000, 3_000_004]);
  expect(fs.readdirSync(at).sort()).toEqual(['d', 'hard', 'moved', 'soft']);
  fs.truncateSync(join(at, 'hard'), 2);
  expect(fs.readFileSync(join(at, 'moved'), 'utf8')).toBe('tu');
});

test('names are bytes', () => {
  const name = Buffer.from([0xff, 0xfe, 0x41, 0x80]);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${at}/`), name]), 'x');
  expect(fs.readdirSync(at, { encoding: 'buffer' })).toEqual([name]);
  expect(() => fs.writeFileSync(join(at, 'n'.repeat(256)), '')).toThrow('ENAMETOOLONG');
});

test('a listing of 10,000 names is stable while names come and go', () => {
  for (let i = 0; i < 10_000; i++) fs.closeSync(fs.openSync(join(at, `f${i}`), 'w'));
  const directory = fs.opendirSync(at, { bufferSize: 32 });
  const seen = new Map<string, number>();
  for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
    seen.set(entry.name, (seen.get(entry.name) ?? 0) + 1);
    if (seen.size % 100 === 0) {
      fs.unlinkSync(join(at, entry.name));
      fs.writeFileSync(join(at, `new${seen.size}`), '');
    }
  }
  directory.closeSync();
  for (let i = 0; i < 10_000; i++) expect(seen.get(`f${i}`)).toBe(1);
  expect(Math.max(...seen.values())).toBe(1);
  expect(fs.readdirSync(at).filter(name => name.startsWith('f'))).toHaveLength(
    10_000 -
      [...seen.keys()].filter(name => name.startsWith('f') && !fs.existsSync(join(at, name)))
        .length,
  );
});

test('the kernel gives back every lookup', async () => {
  for (let i = 0; i < 300; i++) fs.writeFileSync(join(at, `f${i}`), 'x');
  fs.readdirSync(at, { withFileTypes: true });
  for (const name of fs.readdirSync(at)) fs.statSync(join(at, name));
  for (let i = 0; i < 300; i++) fs.unlinkSync(join(at, `f${i}`));
  // A remount drops the names that the kernel keeps of this file system only.
  execFileSync('mount', ['-i', '-o', 'remount', at], {
    env: { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' },
  });
  for (let tries = 0; tries < 50 && (await counters()).nodes > 1; tries++) {
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  expect(await counters()).toMatchObject({ lookups: 0, nodes: 1 });
});

test('opening, closing and asking for what is known cost no requests', async () => {
  fs.writeFileSync(join(at, 'f'), 'x');
  fs.readFileSync(join(at, 'f'));
  expect(fs.existsSync(join(at, 'missing'))).toBe(false);
  const before = (await counters()).requests;
  for (let i = 0; i < 50; i++) {
    fs.readFileSync(join(at, 'f'));
    fs.existsSync(join(at, 'missing'));
  }
  // Under writeback cache the kernel asks for attributes after each close (it does not count blocks).
  const opened = (await counters()).requests;
  const asked = ({ getattr = 0, statx = 0 }: Record<string, number>) => getattr + statx;
  const none = { getattr: 0, statx: 0 };
  expect({ ...opened, ...none }).toEqual({ ...before, ...none });
  expect(asked(opened) - asked(before)).toBeLessThanOrEqual(50);
  fs.statSync(join(at, 'f'));
  const stated = (await counters()).requests;
  for (let i = 0; i < 50; i++) fs.statSync(join(at, 'f'));
  expect((await counters()).requests).toEqual(stated);
});

/** For a page the kernel itself stops waiting; for a request, like a direct read, only when it is answered. */
const READERS = { cached: 'cat "$0"', direct: 'dd if="$0" iflag=direct bs=4096' } as const;

test.each([
  ['hang', 'cached'],
  ['hang', 'direct'],
  ['deaf', 'cached'],
  ['deaf', 'direct'],
] as const)('a reader that waits for ever can be killed (%s, %s)', async (name, how) => {
  fs.closeSync(fs.openSync(join(at, name), 'w'));
  fs.truncateSync(join(at, name), 10_000);
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    const words = ['-c', `exec ${READERS[how]}`, join(at, name)];
    const reader = spawn('sh', words, { stdio: 'ignore' });
    await new Promise(resolve => setTimeout(resolve, 300));
    expect(reader.exitCode).toBe(null);
    const began = Date.now();
    reader.kill(signal);
    const [, by] = await once(reader, 'exit');
    expect(by).toBe(signal);
    expect(Date.now() - began).toBeLessThan(3000);
  }
  fs.writeFileSync(join(at, 'other'), 'still served');
  expect(fs.readFileSync(join(at, 'other'), 'utf8')).toBe('still served');
});

test('offsets up to 2^53−1, EFBIG above', () => {
  const fd = fs.openSync(join(at, 'huge'), 'w+');
  const last = Number.MAX_SAFE_INTEGER - 1;
  fs.writeSync(fd, 'z', last);
  fs.fsyncSync(fd);
  expect(fs.fstatSync(fd, { bigint: true }).size).toBe(2n ** 53n - 1n);
  const back = Buffer.alloc(3);
  expect(fs.readSync(fd, back, 0, 3, last - 2)).toBe(3);
  expect(back.latin1Slice()).toBe('\0\0z');
  expect(() => {
    fs.writeSync(fd, 'z', last + 1);
    fs.fsyncSync(fd);
  }).toThrow('EFBIG');
  fs.closeSync(fd);
});

test('unmounting: refused while busy, detached lazily, quiet when nothing is mounted', async () => {
  const fd = fs.openSync(join(at, 'open'), 'w');
  await expect(unmount(at)).rejects.toMatchObject({ code: 'busy' });
  const inner = join(at, 'inner');
  fs.mkdirSync(inner);
  execFileSync('mount', ['-t', 'tmpfs', 'none', inner]);
  await expect(unmount(at)).rejects.toThrow(`mounted below it, at ${inner}.`);
  execFileSync('umount', [inner]);
  await expect(unmount(at)).rejects.toThrow('close the files');
  fs.writeSync(fd, 'dirty');
  await unmount(at, { lazy: true });
  expect(fs.readdirSync(at)).toEqual([]);
  fs.writeSync(fd, ' and still written');
  fs.fsyncSync(fd);
  const message = once(child, 'message');
  fs.closeSync(fd);
  expect((await message)[0]).toMatchObject({ end: 'unmounted', destroyed: 1 });
  await unmount(at);
});

test('unmounting hands over what was written just before', async () => {
  fs.writeFileSync(join(at, 'f'), Buffer.alloc(20_000_000, 7));
  const message = once(child, 'message');
  const exit = once(child, 'exit');
  await unmount(at);
  expect((await message)[0]).toMatchObject({ end: 'unmounted' });
  expect((await exit)[0]).toBe(0);
});

test('what a killed daemon left behind is detached by the next one', async () => {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  expect(() => fs.statSync(at)).toThrow('ENOTCONN');
  child = await serve();
  fs.writeFileSync(join(at, 'f'), 'again');
});

test('what dies while the next one looks at it is detached, too', async () => {
  child.kill('SIGSTOP');
  const next = serve();
  await sleep(1000);
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  child = await next;
  fs.writeFileSync(join(at, 'f'), 'again');
});

test('what does not answer is not waited for, nor taken for dead', async () => {
  fs.statSync(at);
  child.kill('SIGSTOP');
  try {
    const mounting = mountVolume({ source: 'memory', mountPoint: at });
    await expect(mounting).rejects.toThrow(`memory is already mounted at ${at}`);
  } finally {
    child.kill('SIGCONT');
  }
  fs.writeFileSync(join(at, 'f'), 'served on');
});

test('a connection that is cut ends the session', async () => {
  // Before INIT is answered the kernel does not know that it may tell a cut from an unmount.
  fs.statSync(at);
  const { minor } = (await mountAt(at))!;
  const message = once(child, 'message');
  const control = join(home, 'control');
  fs.mkdirSync(control);
  execFileSync('mount', ['-t', 'fusectl', 'none', control]);
  try {
    fs.writeFileSync(join(control, `${minor}/abort`), '1');
  } finally {
    execFileSync('umount', [control]);
  }
  expect((await message)[0]).toMatchObject({ end: 'aborted', destroyed: 1 });
});

test('mount points that cannot be used are refused with a reason', async () => {
  const volume = (mountPoint: string) => mountVolume({ source: 'memory', mountPoint });
  await expect(volume(at)).rejects.toMatchObject({ code: 'busy' });
  await expect(volume(join(home, 'none'))).rejects.toMatchObject({ code: 'not_found' });
  await expect(volume(home)).rejects.toThrow('not empty');
  fs.writeFileSync(join(home, 'file'), '');
  await expect(volume(join(home, 'file'))).rejects.toThrow('not a directory');
});
