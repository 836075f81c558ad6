/** The whole drive under its keeper: the daemon is killed, restarted by command, stopped; the key is asked for once. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Sandbox, until } from '../support/sandbox.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('restart');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => sandbox.close());

it('S-43, S-47: killed and restarted under a writer; what was flushed and what was not are there', async () => {
  const mountPoint = await sandbox.mount('drive');
  // Whoever starts daemons from now on has the key, or has not.
  rmSync(sandbox.path('passphrase'));
  const first = await sandbox.where('drive');
  await sandbox.sh(`head -c 3000000 /dev/urandom > kept; cp kept ${mountPoint}/flushed`);
  await sandbox.sync('drive');
  const writing = sandbox.sh(
    `for ((n = 0; ; n++)); do [ ! -e enough ] || break; echo line $n >> ${mountPoint}/lines; done
     cmp kept ${mountPoint}/flushed; seq -f 'line %.0f' 0 $((n - 1)) | cmp - ${mountPoint}/lines`,
  );
  await sandbox.ok(['limit', 'drive', '--download', '7M']);
  process.kill(first.pid, 'SIGKILL');
  // Asked while there is no daemon: the next one answers.
  const second = await sandbox.status('drive');
  expect(second).toMatchObject({ keeper: first.keeper, restarts: 1, lastEnd: 'SIGKILL' });
  const told = JSON.parse(await sandbox.ok(['restart', 'drive', '--json'])) as { pid: number };
  const third = await sandbox.status('drive');
  expect(told.pid).toBe(third.pid);
  expect(third).toMatchObject({ keeper: first.keeper, restarts: 2, lastEnd: 'a restart' });
  // What was told to the first is still so.
  expect(third.limits).toEqual({ upload: 'off', download: '7M' });
  expect(new Set([first.pid, second.pid, third.pid]).size).toBe(3);
  process.kill(first.keeper!, 'SIGHUP');
  await until(
    'SIGHUP has restarted it',
    async () => (await sandbox.status('drive')).restarts === 3,
  );
  process.kill(await sandbox.pid('drive'), 'SIGHUP');
  await until('so has one to it', async () => (await sandbox.status('drive')).restarts === 4);
  await sandbox.sh('touch enough');
  await writing;
  expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
  const { stdout } = await sandbox.tuskfs(['status', 'drive']);
  expect(stdout).toContain('daemon: started anew 4 times, last after a restart');
  await sandbox.umount(mountPoint);
  await until('the keeper is gone', async () => {
    return (await sandbox.run('kill', ['-0', `${first.keeper}`])).status !== 0;
  });
});
