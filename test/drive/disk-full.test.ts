/** A disk that fills up under the state directory. */
import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandbox } from '../support/sandbox.ts';

const MiB = 2 ** 20;

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('full');
  mkdirSync(sandbox.path('state'));
  await sandbox.sh('mount -t tmpfs -o size=640m tmpfs state');
  await sandbox.startLocalnet(['--dir', sandbox.path('net')]);
  await sandbox.create('drive');
});
afterAll(async () => {
  await sandbox.tuskfs(['localnet', 'stop', '--dir', sandbox.path('net')]);
  await sandbox.sh('umount -l state');
  await sandbox.close();
});

/** Writes files of 8 MiB, each synced, until one fails; how many are whole, and what the failed one said. */
const fill = async (directory: string): Promise<{ whole: number; failure: string }> => {
  const out = await sandbox.sh(`
    mkdir -p ${directory}
    for i in $(seq 1 200); do
      dd if=noise of=${directory}/$i bs=1M count=8 skip=$i iflag=fullblock conv=fsync status=none 2> failure || break
    done
    echo $((i - 1)); cat failure`);
  const [whole, ...failure] = out.split('\n');
  return { whole: Number(whole), failure: failure.join('\n') };
};

const compare = (directory: string, files: number): Promise<string> =>
  sandbox.sh(
    `for i in $(seq 1 ${files}); do cmp -n ${8 * MiB} <(tail -c +$((i * ${MiB} + 1)) noise) ${directory}/$i; done`,
  );

/** A sync that completes, though of pages that the kernel could not hand over syncfs(2) tells once more than dd. */
const drain = async (): Promise<void> => {
  expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
};

const nodes = (act: 'stop' | 'start') =>
  sandbox.ok(
    ['localnet', 'node', act, '--dir', sandbox.path('net'), '0', '1', '2', '3', '4'].flat(),
  );

describe('a full disk', () => {
  it('a disk that is too small for anything: mounting says what is the least', async () => {
    mkdirSync(sandbox.path('tiny'));
    await sandbox.sh('mount -t tmpfs -o size=200m tmpfs tiny');
    try {
      const env = { TUSKFS_STATE_DIR: sandbox.path('tiny') };
      await sandbox.ok(['create', 'tiny', '--network', 'localnet'], env);
      mkdirSync(sandbox.path('mnt-tiny'));
      const ended = await sandbox.tuskfs(['mount', 'tiny', sandbox.path('mnt-tiny')], { env });
      expect(ended.stderr).toMatch(/has 200 MiB, too little .* \d+ MiB is the least/);
      expect(ended.status).toBe(1);
    } finally {
      await sandbox.sh('umount -l tiny');
    }
  });

  it('copying gets ENOSPC, what was local stays, a sync drains, and writing works again', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh('head -c 260M /dev/urandom > noise');
    await nodes('stop');
    // The log lays its first files out; free space is asked for once a second.
    const df = `df --output=avail -B1M ${mountPoint} | tail -1`;
    const shown = Number(
      await sandbox.sh(`sleep 2; ${df}; sleep 0.5; ${df}`.replace(df, `${df} > first`)),
    );
    const { whole, failure } = await fill(`${mountPoint}/a`);
    // A segment is not filled to its end, and one was begun before.
    expect(Math.abs(whole * 8 - shown)).toBeLessThan(2 * 64);
    expect(failure).toMatch(/No space left on device/);
    expect(whole).toBeGreaterThanOrEqual(4);
    await compare(`${mountPoint}/a`, whole);

    // The mount goes on: what needs no new space works, what does is refused, and nothing hangs.
    await sandbox.sh(`ls -l ${mountPoint}/a > /dev/null; chmod 600 ${mountPoint}/a/1`);
    const more = await sandbox.run('dd', [
      'if=/dev/urandom',
      `of=${mountPoint}/more`,
      'bs=1M',
      'count=200',
      'conv=fsync',
    ]);
    expect(more.stderr).toMatch(/No space left on device/);
    await sandbox.sh(`rm -f ${mountPoint}/more ${mountPoint}/a/${whole + 1}`);

    await nodes('start');
    await drain();
    await compare(`${mountPoint}/a`, whole);
    const again = await fill(`${mountPoint}/b`);
    expect(again.whole).toBeGreaterThanOrEqual(4);
    await drain();
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
    const remounted = await sandbox.mount('drive');
    await compare(`${remounted}/a`, whole);
    await compare(`${remounted}/b`, again.whole);
    await sandbox.umount(remounted);
  });

  it('a disk that somebody else filled: sync says so, and goes on when there is room', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(
      `head -c 20M /dev/urandom > fresh; dd if=fresh of=${mountPoint}/c bs=1M conv=fsync status=none`,
    );
    await sandbox.sh('dd if=/dev/zero of=state/filler bs=1M status=none 2> /dev/null || true');
    const ended = await sandbox.tuskfs(['sync', 'drive', '--timeout', '6s']);
    expect(ended.stderr).toMatch(/not yet on the network: the disk of .* is too full/);
    expect(ended.status).toBe(4);
    await sandbox.sh(`cmp fresh ${mountPoint}/c`);
    await sandbox.sh('rm state/filler');
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
  });
});
