/** The bytes are proved: wallet, passphrase and network alone give the tree back. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import {
  envelopeVolumeId,
  openEnvelope,
  walletSecretMessage,
  walletSecretOf,
} from '../../src/format/envelope.ts';
import { aadPrefix, packKey } from '../../src/format/keys.ts';
import { checkIndex } from '../../src/meta/check.ts';
import { openIndex } from '../../src/meta/open.ts';
import { native } from '../../src/native.ts';
import { restoreIndex } from '../../src/volume/checkpoint.ts';
import { type FoundHead, findHead, rangeReader } from '../../src/volume/find-head.ts';
import { loadSettings } from '../../src/volume/settings.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { loadWallet } from '../../src/walrus/wallet.ts';
import { Sandbox } from '../support/sandbox.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('bytes');
  await sandbox.startLocalnet();
});
afterAll(() => sandbox.close());

interface ExtentRow {
  offset: number;
  length: number;
  frame_offset: number;
  slot: number;
  sealed_at: number;
  sealed_bytes: number;
  plain_bytes: number;
  compression: number;
  identity: Buffer;
  pack_id: Buffer;
  salt: Buffer;
  size: number;
  n_shards: number;
  blob_id: Buffer;
}

describe('a checkpoint', () => {
  it('is found from the wallet, opened by the passphrase, and gives back tree and bytes', async () => {
    // One volume with the real cost of stretching the passphrase.
    await sandbox.ok(['create', 'lost', '--network', 'localnet'], { TUSKFS_ARGON_MIB: '' });
    const mountPoint = await sandbox.mount('lost');
    await sandbox.sh(`
      mkdir -p source/deep/er; head -c 9000000 /dev/urandom > source/deep/er/file; echo small > source/small
      truncate -s 50M source/sparse; echo end >> source/sparse
      cp -a source ${mountPoint}/`);
    await sandbox.sync('lost');
    await sandbox.sh(
      `printf changed | dd of=${mountPoint}/source/deep/er/file bs=1 seek=4000000 conv=notrunc status=none; cp ${mountPoint}/source/deep/er/file expected`,
    );
    await sandbox.sync('lost');
    await sandbox.umount(mountPoint);

    const settings = loadSettings(sandbox.path('config', 'settings.json'));
    const networkSettings = settings.networks.localnet!;
    cpSync(settings.volumes.lost!.walletFile, sandbox.path('wallet'));
    rmSync(sandbox.state('lost'), { recursive: true });
    rmSync(sandbox.path('config'), { recursive: true });

    const wallet = loadWallet(sandbox.path('wallet'));
    const network = new RealNetwork({ name: 'localnet', ...networkSettings }, wallet);
    const { signal } = new AbortController();
    const unlock = async (passphrase: string, envelope: Buffer) => {
      const volumeId = envelopeVolumeId(envelope);
      const walletSecret = walletSecretOf(
        await wallet.signPersonal(walletSecretMessage(volumeId)),
        volumeId,
      );
      return openEnvelope(envelope, { passphrase, walletSecret });
    };
    await expect(
      findHead(network, envelope => unlock('guess', envelope), signal),
    ).rejects.toMatchObject({ code: 'wrong_passphrase' });
    const head: FoundHead = await findHead(
      network,
      envelope => unlock('correct horse battery staple', envelope),
      signal,
    );
    expect(head.manifest.sequence).toBe(2);

    mkdirSync(sandbox.path('restored'));
    const readRange = rangeReader(network, signal);
    await restoreIndex(head.blob, head.keys, readRange, sandbox.path('restored', 'index.db'));
    const index = await openIndex({
      directory: sandbox.path('restored'),
      logDirectory: sandbox.path('restored-log'),
    });
    await index.close();
    expect(checkIndex(sandbox.path('restored'))).toEqual([]);

    const db = new Database(sandbox.path('restored', 'index.db'));
    const step = db.prepare<[number, Buffer], { ino: number }>(
      'SELECT ino FROM dentry WHERE parent = ? AND name = ?',
    );
    const extents = db.prepare<[number], ExtentRow>(
      `SELECT e.offset, e.length, e.frame_offset, f.slot, f.offset AS sealed_at, f.sealed_bytes, f.plain_bytes,
              f.compression, f.identity, p.pack_id, p.salt, p.size, p.n_shards, p.blob_id
       FROM extent e JOIN frame f ON f.id = e.frame JOIN pack p ON p.id = f.pack WHERE e.ino = ? ORDER BY e.offset`,
    );
    const readFile = async (path: string): Promise<Buffer> => {
      const ino = path
        .split('/')
        .reduce((parent, name) => step.get(parent, Buffer.from(name))!.ino, 1);
      const { size } = db
        .prepare<[number], { size: number }>('SELECT size FROM inode WHERE ino = ?')
        .get(ino)!;
      const content = Buffer.alloc(size);
      for (const row of extents.all(ino)) {
        const blob = {
          blobId: blobIdFromBytes(row.blob_id),
          size: row.size,
          nShards: row.n_shards,
        };
        const sealed = await readRange(blob, row.sealed_at, row.sealed_bytes);
        const plain = await native.openFrame(
          packKey(head.keys, row.salt),
          aadPrefix(head.keys.volumeId, row.pack_id),
          row.slot,
          row.compression,
          row.plain_bytes,
          sealed,
          head.keys.identity,
          row.identity,
        );
        plain.copy(content, row.offset, row.frame_offset, row.frame_offset + row.length);
      }
      return content;
    };
    expect(
      (await readFile('source/deep/er/file')).equals(readFileSync(sandbox.path('expected'))),
    ).toBe(true);
    expect((await readFile('source/small')).toString()).toBe('small\n');
    expect(
      (await readFile('source/sparse')).equals(readFileSync(sandbox.path('source', 'sparse'))),
    ).toBe(true);
    db.close();
    expect(existsSync(sandbox.state('lost'))).toBe(false);
    await network.close();
  });
});
