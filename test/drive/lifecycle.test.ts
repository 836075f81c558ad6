/** How a mount begins and ends: by command, by the system's own tools, by signals, by two at once. */
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandbox, until } from '../support/sandbox.ts';

const tuskfs = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('life');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => sandbox.close());

/** Waits until the daemon is gone with all that it made. */
const ended = async (pid: number, mountPoint: string): Promise<void> => {
  await until('the daemon ends', () => !existsSync(`/proc/${pid}`), 30_000);
  expect(existsSync(`${sandbox.state('drive')}/control.sock`)).toBe(false);
  expect(await sandbox.run('grep', [` ${mountPoint} `, '/proc/self/mounts'])).toMatchObject({
    status: 1,
  });
};

describe('the life of a mount', () => {
  it('umount(8), fusermount3 and signals: the last flush is done, nothing stays behind', async () => {
    const ways = ['umount DIR', 'fusermount3 -u DIR', 'kill -TERM PID', 'kill -INT PID'];
    const mountPoint = await sandbox.mount('drive');
    for (const way of ways) {
      await sandbox.sh(`echo '${way}' > ${mountPoint}/file`);
      const before = await sandbox.status('drive');
      await sandbox.sh(way.replace('DIR', mountPoint).replace('PID', `${before.pid}`));
      await ended(before.pid, mountPoint);
      await sandbox.mount('drive');
      const after = await sandbox.status('drive');
      expect(after.checkpoint, way).toBe(before.checkpoint + 1);
      expect(after.durability.received.files + after.durability.local.files, way).toBe(0);
      expect(await sandbox.sh(`cat ${mountPoint}/file`)).toBe(`${way}\n`);
    }
    await sandbox.umount(mountPoint);
  });

  it('in the foreground, a signal to the command ends it in good order', async () => {
    const mountPoint = sandbox.path('mnt-drive');
    const command = sandbox.spawn(tuskfs, ['mount', '--foreground', 'drive', mountPoint]);
    const exit = new Promise(resolve => command.on('exit', (...how) => resolve(how)));
    await until('it is mounted', async () => {
      return (await sandbox.run('mountpoint', ['-q', mountPoint])).status === 0;
    });
    const { pid } = await sandbox.status('drive');
    await sandbox.sh(`echo x > ${mountPoint}/foreground`);
    command.kill('SIGINT');
    expect(await exit).toEqual([0, null]);
    await ended(pid, mountPoint);
  });

  it('S-41: a signal takes over what programs have written to files that they keep open', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.where('drive');
    const holder = sandbox.spawn('python3', [
      '-c',
      `import os, time; f = os.open('${mountPoint}/held', os.O_CREAT | os.O_WRONLY)
os.write(f, b'written'); os.open('written', os.O_CREAT); time.sleep(100)`,
    ]);
    await until('the file is written', () => existsSync(sandbox.path('written')));
    process.kill(pid, 'SIGTERM');
    await ended(pid, mountPoint);
    holder.kill();
    await sandbox.mount('drive');
    expect(await sandbox.sh(`cat ${mountPoint}/held`)).toBe('written');
    await sandbox.umount(mountPoint);
  });

  it('a second signal leaves the rest staged', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.status('drive');
    await sandbox.ok(['localnet', 'node', 'stop', '0', '1', '2', '3', '4']);
    await sandbox.sh(`head -c 1000000 /dev/urandom > kept; cp kept ${mountPoint}/kept`);
    process.kill(pid, 'SIGTERM');
    await until('it is unmounted', async () => {
      return (await sandbox.run('mountpoint', ['-q', mountPoint])).status !== 0;
    });
    process.kill(pid, 'SIGTERM');
    await ended(pid, mountPoint);
    await sandbox.ok(['localnet', 'node', 'start', '0', '1', '2', '3', '4']);
    await sandbox.mount('drive');
    await sandbox.sh(`cmp kept ${mountPoint}/kept`);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
  });

  it('mounted again while the last files are still on their way: the next daemon sends them', async () => {
    const mountPoint = await sandbox.mount('drive', ['--limit-upload', '100K']);
    await sandbox.sh(
      `head -c 3000000 /dev/urandom > sent; cp sent ${mountPoint}/sent; umount ${mountPoint}`,
    );
    await sandbox.mount('drive');
    await sandbox.sh(`cmp sent ${mountPoint}/sent`);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
  });

  it('lazily: what is written until the last file closes is flushed, then the daemon ends', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.status('drive');
    const holder = sandbox.spawn('bash', [
      '-c',
      `exec 3> ${mountPoint}/late; echo one >&3; touch open; while [ ! -e go ]; do sleep 0.05; done; echo two >&3`,
    ]);
    await until('the file is open', () => existsSync(sandbox.path('open')));
    const lazily = await sandbox.tuskfs(['umount', '--lazy', mountPoint]);
    expect(lazily).toMatchObject({ status: 0 });
    expect(lazily.stderr).toMatch(/unmounted.*still have files open.*sent when the last/);
    const soon = await sandbox.tuskfs(['mount', 'drive', mountPoint]);
    expect(soon.stderr).toMatch(/files open there/);
    expect(soon.status).toBe(5);
    const closed = new Promise(resolve => holder.on('exit', resolve));
    await sandbox.sh('touch go');
    await closed;
    await ended(pid, mountPoint);
    await sandbox.mount('drive');
    const { durability } = await sandbox.status('drive');
    expect(durability.received.files + durability.local.files).toBe(0);
    expect(await sandbox.sh(`cat ${mountPoint}/late`)).toBe('one\ntwo\n');
    await sandbox.umount(mountPoint);
  });

  it('a container that still shows it does not hold umount up: the daemon works until it is gone', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.status('drive');
    const wait = 'touch shown; while [ ! -e leave ]; do sleep 0.05; done';
    const container = sandbox.spawn('unshare', [
      '-m',
      '--propagation',
      'private',
      'bash',
      '-c',
      wait,
    ]);
    await until('the container runs', () => existsSync(sandbox.path('shown')));
    await sandbox.sh(`echo last > ${mountPoint}/last`);
    const left = await sandbox.tuskfs(['umount', 'drive']);
    expect(left).toMatchObject({ status: 0 });
    expect(left.stderr).toMatch(
      /unmounted.*a container .* still shows it.*everything is on the network/,
    );
    expect((await sandbox.status('drive')).pid).toBe(pid);
    const gone = new Promise(resolve => container.on('exit', resolve));
    await sandbox.sh('touch leave');
    await gone;
    await ended(pid, mountPoint);
  });

  it('two mounts at the same moment: one wins, the other is told', async () => {
    const places = [sandbox.path('left'), sandbox.path('right')];
    for (const place of places) mkdirSync(place);
    const both = await Promise.all(places.map(place => sandbox.tuskfs(['mount', 'drive', place])));
    expect(both.map(({ status }) => status).sort()).toEqual([0, 1]);
    const loser = both.find(({ status }) => status === 1)!;
    expect(loser.stderr).toMatch(/mounted already/);
    expect(loser.stderr).not.toMatch(/^\s+at /m);
    await sandbox.ok(['umount', 'drive']);
  });

  it('at rest the daemon sleeps', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo rest > ${mountPoint}/rest`);
    await sandbox.sync('drive');
    const { pid } = await sandbox.where('drive');
    const wakes = (): number => {
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      return Number(/^voluntary_ctxt_switches:\t(\d+)/m.exec(status)![1]);
    };
    await until(
      'the thread that serves rests',
      async () => {
        const before = wakes();
        await sleep(5000);
        return wakes() - before < 4;
      },
      60_000,
    );
    await sandbox.umount(mountPoint);
  });

  it('status answers within 3 s when the network does not', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.localnet();
    const asked = performance.now();
    await sandbox.status('drive');
    // What it takes by itself on this machine.
    const usualMs = performance.now() - asked;
    process.kill(pid, 'SIGSTOP');
    try {
      const start = performance.now();
      const status = await sandbox.status('drive');
      expect(performance.now() - start - usualMs).toBeLessThan(3500);
      expect(status.networkError).not.toBe('');
      expect(status.epoch).toBe(null);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await sandbox.umount(mountPoint);
  });

  it('a stopped daemon: commands that name its mount point, or run there, say so in 30 s', async () => {
    const mountPoint = await sandbox.mount('drive');
    const { pid } = await sandbox.where('drive');
    symlinkSync(sandbox.root, sandbox.path('link'));
    const commands = [
      `status ${mountPoint}`,
      `umount ${sandbox.path('link', basename(mountPoint))}`,
      `mount drive ${mountPoint}`,
      'status drive',
    ];
    // So that the kernel knows what it needs for a program to start there.
    await sandbox.sh(`cd ${mountPoint} && ls nothing || true`);
    process.kill(pid, 'SIGSTOP');
    try {
      const options = { cwd: mountPoint, timeoutMs: 60_000 };
      const ended = await Promise.all(
        commands.map(command => sandbox.run(tuskfs, command.split(' '), options)),
      );
      for (const [i, { stderr }] of ended.entries())
        expect(stderr, commands[i]).toMatch(/is stopped, or hangs/);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await sandbox.umount(mountPoint);
  });
});
