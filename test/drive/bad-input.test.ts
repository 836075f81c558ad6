import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { volumePaths } from '../../src/volume/paths.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { type Ended, freePorts, Sandbox } from '../support/sandbox.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('bad');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
  mkdirSync(sandbox.path('empty'));
});
afterAll(() => sandbox.close());

const command = fileURLToPath(new URL('../../scripts/tuskfs', import.meta.url));

/** One message, no stack trace, the wanted exit code. */
const refused = (ended: Ended, status: number, message: RegExp): void => {
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
  expect(ended.status).toBe(status);
};

describe('bad input gets a clear message and the right exit code', () => {
  it('a wrong passphrase', async () => {
    writeFileSync(sandbox.path('wrong'), 'not it\n');
    refused(
      await sandbox.tuskfs([
        'mount',
        'drive',
        sandbox.path('empty'),
        '--passphrase-file',
        sandbox.path('wrong'),
      ]),
      12,
      /passphrase/,
    );
  });

  it('a passphrase file that is not there, or empty', async () => {
    refused(
      await sandbox.tuskfs([
        'mount',
        'drive',
        sandbox.path('empty'),
        '--passphrase-file',
        sandbox.path('none'),
      ]),
      2,
      /none cannot be read/,
    );
    writeFileSync(sandbox.path('blank'), '\n');
    refused(
      await sandbox.tuskfs([
        'mount',
        'drive',
        sandbox.path('empty'),
        '--passphrase-file',
        sandbox.path('blank'),
      ]),
      2,
      /empty/,
    );
  });

  it('a mount point that is missing, a file, not empty or taken', async () => {
    refused(
      await sandbox.tuskfs(['mount', 'drive', sandbox.path('missing')]),
      3,
      /missing.*Make the directory/s,
    );
    writeFileSync(sandbox.path('file'), '');
    refused(await sandbox.tuskfs(['mount', 'drive', sandbox.path('file')]), 1, /not a directory/);
    mkdirSync(sandbox.path('full'));
    writeFileSync(sandbox.path('full', 'x'), '');
    refused(await sandbox.tuskfs(['mount', 'drive', sandbox.path('full')]), 1, /not empty/);
    const mountPoint = await sandbox.mount('drive');
    refused(await sandbox.tuskfs(['mount', 'drive', sandbox.path('empty')]), 1, /mounted already/);
    await sandbox.create('other');
    refused(await sandbox.tuskfs(['mount', 'other', mountPoint]), 1, /mounted|busy/);
    await sandbox.umount(mountPoint);
  });

  it('a state directory inside the mount point', async () => {
    const ended = await sandbox.tuskfs(['mount', 'drive', sandbox.root]);
    refused(ended, 2, /state directory .* inside the mount point/);
  });

  it('S-38: unmounting while files are open: busy, or lazily with a word on the rest; never by a path that only ends in the name', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo x > ${mountPoint}/open`);
    const holder = sandbox.spawn('bash', ['-c', `exec 3< ${mountPoint}/open; sleep 60`]);
    await sandbox.sh('sleep 0.3');
    refused(await sandbox.tuskfs(['umount', mountPoint]), 1, /busy|open/);
    const elsewhere = await sandbox.tuskfs(['umount', '--lazy', sandbox.path('empty', 'drive')]);
    refused(elsewhere, 3, /no volume is mounted at/);
    const lazily = await sandbox.tuskfs(['umount', '--lazy', mountPoint]);
    expect(lazily.stderr).toMatch(/unmounted/);
    expect(lazily.status).toBe(0);
    holder.kill();
  });

  it('a volume name that is taken, unknown or malformed', async () => {
    refused(
      await sandbox.tuskfs(['create', 'drive', '--network', 'localnet']),
      1,
      /named drive already/,
    );
    refused(
      await sandbox.tuskfs(['mount', 'nobody', sandbox.path('empty')]),
      3,
      /no volume named nobody/,
    );
    refused(await sandbox.tuskfs(['create', '../up', '--network', 'localnet']), 2, /name/);
    refused(
      await sandbox.tuskfs(['create', 'x', '--network', 'marsnet']),
      3,
      /no network named marsnet/,
    );
    refused(await sandbox.tuskfs(['status', 'nobody']), 3, /no volume named nobody/);
    refused(await sandbox.tuskfs(['status', 'constructor']), 3, /no volume named constructor/);
    refused(await sandbox.tuskfs(['sync', 'drive']), 3, /not mounted/);
    refused(await sandbox.tuskfs(['umount', sandbox.path('empty')]), 3, /no volume is mounted at/);
    refused(await sandbox.tuskfs(['umount', '.']), 3, /no volume is mounted at \.$/m);
  });

  it('volumes made at the same moment: all are entered, and one of those with one name', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'same', 'same', 'same'];
    const made = await Promise.all(
      names.map(name => sandbox.tuskfs(['create', name, '--network', 'localnet'])),
    );
    for (const ended of made.slice(0, 5)) expect(ended).toMatchObject({ status: 0 });
    const losers = made.slice(5).filter(({ status }) => status !== 0);
    expect(losers.length).toBe(2);
    for (const loser of losers) refused(loser, 1, /same/);
    const known = JSON.parse(await sandbox.ok(['status', '--json'])) as { volume: string }[];
    expect(known.map(({ volume }) => volume)).toEqual(expect.arrayContaining(names));
    await sandbox.umount(await sandbox.mount('same'));
  });

  it('one name at the same moment with two state directories: the wallet is of the one that was made', async () => {
    const places = ['one', 'two', 'three'].map(state => ({
      TUSKFS_STATE_DIR: sandbox.path(state),
    }));
    const made = await Promise.all(
      places.map(env => sandbox.tuskfs(['create', 'twice', '--network', 'localnet'], { env })),
    );
    const winner = made.findIndex(({ status }) => status === 0);
    const losers = made.filter((_, i) => i !== winner);
    for (const loser of losers) refused(loser, 1, /twice/);
    await sandbox.umount(await sandbox.mount('twice', [], places[winner]!));
  });

  it('directories given relative to where the command runs, or empty', async () => {
    const env = { TUSKFS_STATE_DIR: 'here' };
    await sandbox.ok(['create', 'near', '--network', 'localnet'], env);
    const mountPoint = await sandbox.mount('near', [], env);
    await sandbox.sh(`echo x > ${mountPoint}/file`);
    const elsewhere = await sandbox.run('bash', ['-c', `cd /; ${command} umount near`]);
    expect(elsewhere).toMatchObject({ status: 0 });
    const empty = { TUSKFS_CONFIG_DIR: '', HOME: sandbox.path('home') };
    await sandbox.sh('mkdir empty-config; cp config/settings.json empty-config');
    const there = { env: empty, cwd: sandbox.path('empty-config') };
    refused(await sandbox.run(command, ['status', 'near'], there), 3, /no volume named near/);
  });

  it('a relative directory whose mount is dead: mounted anew there, and nowhere else', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo x > ${mountPoint}/file`);
    await sandbox.kill('drive');
    refused(await sandbox.tuskfs(['umount', 'mnt-drive']), 3, /daemon of drive at .* is gone/);
    const ended = await sandbox.tuskfs(['mount', 'drive', 'mnt-drive']);
    expect(ended).toMatchObject({ stderr: `drive is mounted at ${mountPoint}\n`, status: 0 });
    expect(await sandbox.sh(`cat ${mountPoint}/file`)).toBe('x\n');
    await sandbox.umount(mountPoint);
  });

  it('a volume whose cache holds nothing, or whose paid time has no room to renew it', async () => {
    const create = ['create', 'odd', '--network', 'localnet'];
    refused(await sandbox.tuskfs([...create, '--cache-size', '0']), 2, /must be a size/);
    refused(await sandbox.tuskfs([...create, '--cache-size', '9999999T']), 2, /must be a size/);
    refused(await sandbox.tuskfs([...create, '--epochs', '1']), 2, /from 2 to 53/);
  });

  it('words that no command knows', async () => {
    refused(await sandbox.tuskfs(['mont', 'x']), 2, /unknown command/);
    refused(await sandbox.tuskfs(['sync', '--timeout', 'soon']), 2, /duration/);
    refused(
      await sandbox.tuskfs(['blob-id', sandbox.path('nothing')]),
      3,
      /nothing cannot be read/,
    );
  });

  it('a settings file that is damaged, or of a newer version', async () => {
    const path = sandbox.path('config', 'settings.json');
    const good = readFileSync(path, 'utf8');
    writeFileSync(path, good.slice(0, 40));
    refused(await sandbox.tuskfs(['status']), 6, /settings file .*settings\.json cannot be read/);
    refused(await sandbox.tuskfs(['create', 'new', '--network', 'localnet']), 6, /settings file/);
    expect(readFileSync(path, 'utf8')).toBe(good.slice(0, 40));
    writeFileSync(path, good.replace('"version": 1', '"version": 99'));
    refused(await sandbox.tuskfs(['status']), 1, /version 99.*newer tuskfs/);
    writeFileSync(path, good);
  });

  it('an envelope that is damaged, or of a newer version', async () => {
    const path = `${sandbox.state('drive')}/envelope`;
    const good = readFileSync(path);
    const flipped = Buffer.from(good);
    flipped[good.length - 20]! ^= 1;
    flipped[60]! ^= 1;
    writeFileSync(path, flipped);
    const ended = await sandbox.tuskfs(['mount', 'drive', sandbox.path('empty')]);
    expect([6, 12]).toContain(ended.status);
    writeFileSync(
      path,
      Buffer.concat([good.subarray(0, 8), Buffer.from([0xff, 0x7f]), good.subarray(10)]),
    );
    refused(await sandbox.tuskfs(['mount', 'drive', sandbox.path('empty')]), 1, /newer/);
    writeFileSync(path, good);
  });

  it('a port that is taken', async () => {
    const base = await freePorts(20);
    const server = createServer().listen(base + 3, '127.0.0.1');
    const ended = await sandbox.tuskfs([
      'localnet',
      'start',
      '--dir',
      sandbox.path('second'),
      '--port',
      `${base}`,
    ]);
    refused(ended, 1, new RegExp(`${base + 3}`));
    await new Promise(resolve => server.close(resolve));
  });

  it('no /dev/fuse', async () => {
    const hidden = await sandbox.sh(
      `unshare -m bash -c 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && exec "$@"' - \
        ${process.cwd()}/scripts/tuskfs mount drive ${sandbox.path('empty')} 2>&1 || echo "status $?"`,
    );
    expect(hidden).toMatch(/\/dev\/fuse cannot be opened.*modprobe fuse/);
    expect(hidden).toMatch(/status 1\n$/);
    expect(hidden).not.toMatch(/^\s+at /m);
  });

  it('a state directory that cannot be written', async () => {
    const state = sandbox.path('state');
    const script = `mount --make-rprivate /; mount --bind ${state} ${state}; mount -o remount,bind,ro ${state}
      exec ${command} mount drive ${sandbox.path('empty')}`;
    refused(
      await sandbox.run('unshare', ['-m', 'bash', '-ec', script]),
      1,
      /state directory .*volumes\/drive cannot be used: EROFS.*Nothing was mounted.*safe/,
    );
  });

  it('too few files that a daemon may open: refused with the figure, before anything fails', async () => {
    const mount = `ulimit -n 1000; exec ${command} mount drive ${sandbox.path('empty')}`;
    refused(
      await sandbox.run('bash', ['-c', mount]),
      1,
      /may have 1000 files open, and 1024 is the least.*safe.*ulimit -Hn/,
    );
  });

  it('a state directory that was moved away: nothing is made in its place, and back there the mount goes on', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo kept > ${mountPoint}/kept`);
    const state = sandbox.state('drive');
    const { pid } = await sandbox.where('drive');
    renameSync(state, `${state}.moved`);
    process.kill(pid, 'SIGKILL');
    for (const word of ['umount', 'sync', 'status'])
      refused(await sandbox.tuskfs([word, 'drive']), 3, /state of drive is not in .*put it back/);
    refused(await sandbox.tuskfs(['mount', 'drive', sandbox.path('empty')]), 3, /state of drive/);
    expect(existsSync(state)).toBe(false);
    renameSync(`${state}.moved`, state);
    expect(await sandbox.sh(`cat ${mountPoint}/kept`)).toBe('kept\n');
    expect((await sandbox.where('drive')).pid).not.toBe(pid);
    await sandbox.umount(mountPoint);
  });

  it('a directory above the mount point that is renamed: the volume is found where it went', async () => {
    await sandbox.sh('mkdir -p above/at');
    await sandbox.ok(['mount', 'drive', sandbox.path('above', 'at')]);
    await sandbox.sh('mv above renamed');
    const place = sandbox.path('renamed', 'at');
    expect(await sandbox.ok(['status', 'drive'])).toContain(`mounted at ${place} `);
    const { pid } = await sandbox.where('drive');
    process.kill(pid, 'SIGKILL');
    expect((await sandbox.where('drive')).mountPoint).toBe(place);
    await sandbox.umount(place);
    expect(await sandbox.sh(`grep -c ' ${place} ' /proc/self/mounts || true`)).toBe('0\n');
  });

  it('a daemon that cannot be asked, beside others that can', async () => {
    await sandbox.create('mute');
    const { stateDirectory } = (
      JSON.parse(readFileSync(sandbox.path('config', 'settings.json'), 'utf8')) as {
        volumes: Record<string, { stateDirectory: string }>;
      }
    ).volumes.mute!;
    const { socket } = volumePaths(stateDirectory);
    const error = { code: 'io', kind: 'permanent', message: 'it is busy otherwise' };
    const mute = createServer(client => client.resume().end(`${JSON.stringify({ error })}\n`));
    await new Promise<void>(resolve => mute.listen(socket, resolve));
    const ended = await sandbox.tuskfs(['status']);
    const inJson = await sandbox.tuskfs(['status', '--json']);
    await new Promise(resolve => mute.close(resolve));
    refused(ended, 1, /^tuskfs: it is busy otherwise\n$/);
    refused(inJson, 1, /^tuskfs: it is busy otherwise\n$/);
    expect(JSON.parse(inJson.stdout)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ volume: 'drive', pid: null }),
        {
          ...{ volume: 'mute', network: 'localnet', mountPoint: null, pid: null },
          error: 'it is busy otherwise',
        },
      ]),
    );
    expect(ended.stdout).toMatch(/^drive on /m);
    expect(ended.stdout).not.toMatch(/^mute on /m);
  });

  it.each(['head.json', 'spent.jsonl'])(
    '%s of the journal cannot be read: said by status and sync, which go on once it is put back',
    async name => {
      const mount = await sandbox.mount('drive');
      writeFileSync(`${mount}/before`, name);
      await sandbox.sync('drive');
      await sandbox.umount(mount);
      const path = `${sandbox.state('drive')}/journal/${name}`;
      const good = readFileSync(path);
      writeFileSync(path, '{"se\n');
      await sandbox.mount('drive');
      writeFileSync(`${mount}/after`, name);
      const status = await sandbox.tuskfs(['status', 'drive']);
      expect(status.stdout).toMatch(new RegExp(`DAMAGED: .*journal/${name} cannot be read`));
      expect(status.stdout).toMatch(/nodes: \d+ of \d+ in order/);
      expect(status.status).toBe(6);
      refused(
        await sandbox.tuskfs(['sync', 'drive']),
        6,
        new RegExp(`journal/${name} cannot be read`),
      );
      writeFileSync(path, good);
      expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
      expect((await sandbox.tuskfs(['status', 'drive'])).status).toBe(0);
      await sandbox.umount(mount);
    },
  );

  it('a user without a home', async () => {
    const unset = ['HOME', 'TUSKFS_CONFIG_DIR', 'XDG_CONFIG_HOME'].flatMap(name => ['-u', name]);
    const asStranger = ['--reuid=54321', '--regid=54321', '--clear-groups', 'env', ...unset];
    refused(
      await sandbox.run('setpriv', [...asStranger, command, 'status'], { cwd: '/' }),
      2,
      /no home directory.*TUSKFS_CONFIG_DIR/,
    );
  });

  it('a wallet without WAL: files stay local, sync says why', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo precious > ${mountPoint}/precious`);
    const { wal } = await sandbox.balance('drive');
    await sandbox.ok(['localnet', 'price', `${wal}`, `${wal}`]);
    const ended = await sandbox.tuskfs(['sync', 'drive', '--timeout', '20s']);
    refused(ended, 7, /WAL/);
    expect(await sandbox.sh(`cat ${mountPoint}/precious`)).toBe('precious\n');
    await sandbox.ok(['localnet', 'price', '100', '200']);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '' });
    await sandbox.umount(mountPoint);
  });

  it('a wallet that is gone, or not its own, while the daemon starts anew: files are served, nothing is signed', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo paid > ${mountPoint}/signed`);
    const file = sandbox.path('config', 'wallets', 'drive.key');
    renameSync(file, `${file}.away`);
    const { pid } = JSON.parse(await sandbox.ok(['restart', 'drive', '--json'])) as { pid: number };
    const sync = () => sandbox.tuskfs(['sync', 'drive', '--timeout', '20s']);
    refused(await sync(), 3, /the wallet .*drive\.key cannot be read/);
    writeFileSync(file, `${Wallet.generate().toText()}\n`);
    refused(await sync(), 1, /the wallet .*drive\.key is that of 0x.*nothing was signed/);
    expect(await sandbox.sh(`cat ${mountPoint}/signed`)).toBe('paid\n');
    renameSync(`${file}.away`, file);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '' });
    expect(await sandbox.pid('drive')).toBe(pid);
    await sandbox.umount(mountPoint);
  });

  it('a pack dearer than the limit: sync says what to change, and a change is heeded while mounted', async () => {
    const settingsFile = sandbox.path('config', 'settings.json');
    const text = readFileSync(settingsFile, 'utf8');
    const dear = JSON.parse(text) as { volumes: Record<string, { walMaxPerPack: string }> };
    dear.volumes.drive!.walMaxPerPack = '1';
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo dear > ${mountPoint}/dear`);
    writeFileSync(settingsFile, JSON.stringify(dear));
    const ended = await sandbox.tuskfs(['sync', 'drive', '--timeout', '20s']);
    refused(ended, 7, /above the limit of 0\.000000001 WAL.*raise walMaxPerPack.*settings file/);
    writeFileSync(settingsFile, text);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '' });
    await sandbox.umount(mountPoint);
  });

  it('localnet not running', async () => {
    await sandbox.ok(['localnet', 'stop']);
    refused(
      await sandbox.tuskfs(['create', 'late', '--network', 'localnet']),
      5,
      /localnet.*(not running|start)/s,
    );
    refused(await sandbox.tuskfs(['localnet', 'node', 'stop', '1']), 3, /not running/);
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`echo offline > ${mountPoint}/offline`);
    const ended = await sandbox.tuskfs(['sync', 'drive', '--timeout', '3s']);
    refused(ended, 4, /network|reach|connect/);
    const unmounted = await sandbox.tuskfs(['umount', '--timeout', '2s', mountPoint]);
    refused(unmounted, 4, /not yet on the network/);
    await sandbox.ok(['localnet', 'start']);
    const again = await sandbox.mount('drive');
    expect(await sandbox.sh(`cat ${again}/offline`)).toBe('offline\n');
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '' });
    await sandbox.umount(again);
  });
});

describe('bytes of the log that the disk has altered', () => {
  it('are named and not uploaded; the rest is, once the file is written anew', async () => {
    const mountPoint = await sandbox.mount('drive');
    await sandbox.sh(
      `cd ${mountPoint}; echo 'a secret of mine' > altered; echo whole > other; sync altered`,
    );
    const log = volumePaths(sandbox.state('drive')).log;
    await sandbox.sh(`
      cd ${log}; segment=$(grep -l 'a secret of mine' *.seg); at=$(grep -abo 'a secret of mine' $segment | head -1)
      printf X | dd of=$segment bs=1 seek=\${at%%:*} conv=notrunc status=none`);
    const before = await sandbox.status('drive');
    refused(
      await sandbox.tuskfs(['sync', 'drive']),
      6,
      /of \/altered were altered on the disk .*\.seg.*not uploaded.*everything else is safe/,
    );
    expect((await sandbox.status('drive')).cost).toEqual(before.cost);
    await sandbox.sh(`echo anew > ${mountPoint}/altered`);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '', pendingBytes: 0 });
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);
    await sandbox.mount('drive');
    expect(await sandbox.sh(`cat ${mountPoint}/altered ${mountPoint}/other`)).toBe('anew\nwhole\n');
    await sandbox.umount(mountPoint);
  });
});
