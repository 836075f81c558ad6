/** A volume under a service manager: the shipped unit's own command line, told and telling as systemd does it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sandbox, until } from '../support/sandbox.ts';

const tuskfs = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));
const unit = readFileSync(new URL('../../src/cli/tuskfs@.service', import.meta.url), 'utf8');
const setting = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)![1]!;
const box = new Sandbox('service');
const mountPoint = box.path('mnt');
const socket = box.path('notify');
let manager: ChildProcess;
let told = '';

beforeAll(async () => {
  await box.startLocalnet();
  await box.create('main');
  mkdirSync(mountPoint);
  const listen = `import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(${JSON.stringify(socket)})
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1); print("listening", flush=True)
while True:
    text, [(_, _, sender)], _, _ = s.recvmsg(65536, socket.CMSG_SPACE(12))
    print(text.decode(), "from %d" % int.from_bytes(sender[:4], "little"), sep="\\n", flush=True)`;
  manager = spawn('python3', ['-c', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  manager.stdout!.on('data', text => (told += text));
  await until('the manager listens', () => told.includes('listening'));
});
afterAll(async () => {
  manager.kill();
  spawn('umount', ['-l', mountPoint], { stdio: 'ignore', cwd: '/' });
  await box.close();
});

/** The unit's ExecStart with this test's paths, HOME unset, started as systemd does. */
const start = (stopTimeout = '60s'): { child: ChildProcess; said: () => string } => {
  const words = setting('ExecStart')
    .replaceAll('/mnt/%I', mountPoint)
    .replaceAll('%I', 'main')
    .replaceAll(`\${CREDENTIALS_DIRECTORY}/passphrase`, box.path('passphrase'))
    .replace('--stop-timeout 60s', `--stop-timeout ${stopTimeout}`)
    .split(' ');
  expect(words[0]).toBe('/usr/bin/tuskfs');
  const { HOME, TUSKFS_PASSPHRASE_FILE, ...env } = box.env;
  const child = spawn(tuskfs, words.slice(1), {
    env: { ...env, NOTIFY_SOCKET: socket },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let said = '';
  child.stderr!.on('data', text => (said += text));
  told = '';
  return { child, said: () => said };
};

test('S-41: READY=1 once the mount is usable, STOPPING=1 on SIGTERM, exit after the last flush', async () => {
  const { child, said } = start();
  await until('READY=1', () => told.includes('READY=1'), 60_000);
  await box.sh(`echo kept > ${mountPoint}/f`);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await exit, said()).toEqual([0, null]);
  await until('the farewell', () => told.includes('everything is on the network'));
  // systemd listens to the main process alone.
  const from = `from ${child.pid}\n`;
  expect(told).toMatch(
    new RegExp(`^READY=1\nSTATUS=mounted at .*\n${from}STOPPING=1\nSTATUS=.*\n${from}STATUS=`),
  );
  expect(told.match(/from .*\n/g)!.every(sender => sender === from)).toBe(true);
});

test('S-41: the unit waits for READY, and gives the last flush its time', () => {
  expect([setting('Type'), setting('KillMode')]).toEqual(['notify', 'mixed']);
  const [, limitS] = /--stop-timeout (\d+)s/.exec(setting('ExecStart'))!;
  expect(Number(setting('TimeoutStopSec'))).toBeGreaterThan(Number(limitS));
  expect(setting('Environment')).toMatch(/TUSKFS_CONFIG_DIR=\/.* TUSKFS_STATE_DIR=\//);
});

test('S-41: without a network the limit holds, and what is left is said', async () => {
  await box.ok(['localnet', 'stop']);
  const { child, said } = start('3s');
  await until('READY=1', () => told.includes('READY=1'), 60_000);
  await box.sh(`head -c 100000 /dev/zero > ${mountPoint}/g; cat ${mountPoint}/f`);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const askedMs = performance.now();
  const [status] = await exit;
  // Far less than without a limit.
  expect(performance.now() - askedMs).toBeLessThan(30_000);
  expect([String(status), said()]).toEqual([setting('SuccessExitStatus'), expect.anything()]);
  expect(said()).toMatch(/not yet on the network.*safe on this machine/);
  await until('the farewell', () => /STATUS=.*not yet on the network/.test(told));
});

test('S-41: a mount that fails says why and is never READY', async () => {
  mkdirSync(box.path('mnt', 'full'));
  const { child, said } = start();
  const [status] = await once(child, 'exit');
  expect([status, told]).toEqual([1, '']);
  expect(said()).toContain('not empty');
});
