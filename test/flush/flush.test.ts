/** The pipeline over a real index and log: what is stored, what is shared, what is read back. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { nameFromText } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { decodeLeaf } from '../../src/format/manifest.ts';
import { type ReadRange, readHead, restoreIndex } from '../../src/volume/checkpoint.ts';
import { envelope, FlushVolume, keys, openFrame } from '../support/flush-volume.ts';
import { MemoryNetwork, SHARDS } from '../support/memory-network.ts';

const MiB = 2 ** 20;
let root: string;
let volume: FlushVolume;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'tuskfs-flush-'));
  volume = await FlushVolume.open(root);
});
afterEach(async () => {
  await volume.close();
  rmSync(root, { recursive: true, force: true });
});

const noise = (bytes: number, seed: number) => {
  const block = seededRandom(seed).bytes(64 * 1024);
  const out = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += block.length) {
    block.copy(out, at);
    out.writeUInt32LE(at, at);
  }
  return out;
};

const readRange: ReadRange = async ({ blobId }, offset, length) =>
  volume.network.blob(blobId).subarray(offset, offset + length);

/** Opens the newest checkpoint from the blobs alone. */
const restored = async (name: string) => {
  const head = volume.network.head()!;
  const path = join(root, `${name}.db`);
  const manifest = await restoreIndex({ ...head, nShards: SHARDS }, keys, readRange, path);
  return { db: new Database(path, { readonly: true }), manifest, head };
};

const fileFrom = async (db: Database.Database, name: string): Promise<Buffer> => {
  const { ino, size } = db
    .prepare('SELECT i.ino, i.size FROM inode i JOIN dentry d ON d.ino = i.ino WHERE d.name = ?')
    .get(Buffer.from(nameFromText(name), 'latin1')) as { ino: number; size: number };
  const out = Buffer.alloc(size);
  const rows = db
    .prepare(
      `SELECT e.offset AS fileOffset, e.length, e.frame_offset AS at, f.slot, f.offset, f.sealed_bytes AS sealedBytes,
       f.plain_bytes AS plainBytes, f.compression, f.identity, p.pack_id AS packId, p.salt, p.blob_id AS blobId
       FROM extent e JOIN frame f ON f.id = e.frame JOIN pack p ON p.id = f.pack WHERE e.ino = ? ORDER BY e.offset`,
    )
    .all(ino) as never as Array<
    { fileOffset: number; length: number; at: number; blobId: Buffer } & Parameters<
      typeof openFrame
    >[1] &
      Parameters<typeof openFrame>[2]
  >;
  for (const row of rows) {
    const bytes = volume.network.blob(row.blobId.toString('base64url'));
    const plain = await openFrame(bytes, row, row);
    plain.copy(out, row.fileOffset, row.at, row.at + row.length);
  }
  return out;
};

test('files are stored once, and read back from blobs alone', async () => {
  const big = noise(9 * MiB, 1);
  volume.write('big', 0, big);
  volume.write('copy', 0, big);
  volume.write('small', 0, Buffer.from('hello'));
  volume.write('sparse', 3 * MiB, Buffer.from('end'));
  const result = await volume.sync();
  expect(result).toMatchObject({ stored: true, packs: 1, bytesShared: 9 * MiB });
  expect(result.bytesStored).toBe(9 * MiB + 5 + 3);
  expect(volume.index.totals().stagedBytes).toBe(0);
  expect((await volume.read('copy')).equals(big)).toBe(true);

  const { db, manifest, head } = await restored('restored');
  expect((await readHead({ ...head, nShards: SHARDS }, readRange)).envelope).toEqual(envelope);
  expect(manifest).toMatchObject({ sequence: 1, previous: undefined });
  expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
  for (const name of ['big', 'copy', 'small', 'sparse'])
    expect((await fileFrom(db, name)).equals(await volume.read(name)), name).toBe(true);
  db.close();

  await volume.flusher.settled();
  for (const name of ['outbox', 'scratch']) expect(readdirSync(join(root, name))).toEqual([]);
  expect(readdirSync(join(root, 'cache'))).toHaveLength(1);
});

test('what has no name any more is not stored, though somebody holds it', async () => {
  const { index } = volume;
  const held = volume.write('held', 0, noise(MiB, 1));
  volume.write('named', 0, Buffer.from('hello'));
  const change = index.change();
  change.removeDentry(1, nameFromText('held'));
  change.setInode(held, { nlink: 0 });
  expect(change.commit()).toBe(0);
  expect(await volume.sync()).toMatchObject({ stored: true, bytesStored: 5 });
  expect(index.totals()).toMatchObject({ stagedBytes: MiB });
});

test('nothing changed: nothing is paid; a name alone: a small checkpoint', async () => {
  expect((await volume.sync()).stored).toBe(false);
  volume.write('file', 0, noise(MiB, 2));
  expect((await volume.sync()).stored).toBe(true);
  const paid = volume.network.entries().length;
  expect((await volume.sync()).stored).toBe(false);
  expect((await volume.sync()).stored).toBe(false);
  expect(volume.network.entries()).toHaveLength(paid);

  const change = volume.index.change();
  const ino = volume.index.lookup(1, 'file')!.ino;
  change.setDentry(1, 'again', ino, 8);
  change.setInode(ino, { nlink: 2 });
  change.commit();
  expect(await volume.sync()).toMatchObject({ stored: true, packs: 1, bytesStored: 0 });
  const { db, manifest } = await restored('renamed');
  expect(manifest.sequence).toBe(2);
  expect((await fileFrom(db, 'again')).equals(await volume.read('file'))).toBe(true);
  db.close();
});

test('an edit of 4 KiB stores one frame anew', async () => {
  const content = noise(12 * MiB, 3);
  volume.write('file', 0, content);
  await volume.sync();
  const frames = volume.index.extents(volume.index.lookup(1, 'file')!.ino, 0, content.length);
  const edit = Buffer.alloc(4096, 5);
  const middle = frames[Math.floor(frames.length / 2)]!;
  volume.write('file', middle.offset + 8192, edit);
  edit.copy(content, middle.offset + 8192);
  const result = await volume.sync();
  expect(result.bytesStored).toBe(middle.length);
  expect((await volume.read('file')).equals(content)).toBe(true);
  const { db } = await restored('edited');
  expect((await fileFrom(db, 'file')).equals(content)).toBe(true);
  db.close();
});

test('what a checkpoint stores of the index follows what is new, not what is there', async () => {
  const files = 12_000;
  const content = Buffer.alloc(16);
  const add = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) {
      content.writeUInt32LE(i);
      volume.write(`file-${i}`, 0, content);
    }
  };
  add(0, files);
  await volume.sync();
  add(files, 50);
  expect(await volume.sync()).toMatchObject({ bytesStored: 50 * content.length });
  const path = join(root, 'journal', 'groups.json');
  const { leaves } = JSON.parse(readFileSync(path, 'utf8')) as { leaves: string[] };
  const groups = leaves.flatMap(leaf => decodeLeaf(Buffer.from(leaf, 'base64')));
  const stored = groups.filter(({ pack }) => pack.blobId === undefined);
  expect(stored.length).toBeLessThan(groups.length / 3);
});

test('on a machine that has nothing but the index, too, the same bytes are stored once', async () => {
  const content = noise(2 * MiB, 4);
  volume.write('file', 0, content);
  await volume.sync();
  await volume.close();
  rmSync(join(root, 'log'), { recursive: true });
  for (const name of readdirSync(join(root, 'index')))
    if (name !== 'index.db') rmSync(join(root, 'index', name));
  volume = await FlushVolume.open(root);
  volume.write('again', 0, content);
  expect(await volume.sync()).toMatchObject({ bytesStored: 0, bytesShared: 2 * MiB });
  expect((await volume.read('again')).equals(content)).toBe(true);
});

test('more than a pack: data goes first, the last pack carries the checkpoint', async () => {
  await volume.close();
  volume = await FlushVolume.open(root, 16 * MiB);
  const content = noise(30 * MiB, 4);
  volume.write('file', 0, content);
  const result = await volume.sync();
  expect(result.packs).toBeGreaterThan(2);
  const { db } = await restored('large');
  expect((await fileFrom(db, 'file')).equals(content)).toBe(true);
  db.close();
  await volume.flusher.settled();
  expect(readdirSync(join(root, 'scratch'))).toEqual([]);
});

test('a pack is sealed and registered while the one before waits for its certificate', async () => {
  await volume.close();
  const second = Promise.withResolvers<void>();
  /** The first certificate is there only when the second registration has been signed. */
  class Waiting extends MemoryNetwork {
    #signed = 0;
    #stored = 0;
    override signRegister(request: Parameters<MemoryNetwork['signRegister']>[0]) {
      if (++this.#signed === 2) second.resolve();
      return super.signRegister(request);
    }
    override store(...args: Parameters<MemoryNetwork['store']>) {
      const run = super.store(...args);
      if (++this.#stored > 1) return run;
      return { ...run, certificate: second.promise.then(() => run.certificate) };
    }
  }
  volume = await FlushVolume.open(root, 16 * MiB, new Waiting(join(root, 'network')));
  const content = noise(30 * MiB, 8);
  volume.write('file', 0, content);
  const result = await volume.sync();
  expect(result.packs).toBeGreaterThan(2);
  const { db } = await restored('overlapped');
  expect((await fileFrom(db, 'file')).equals(content)).toBe(true);
  db.close();
});

test('bytes written during the flush stay staged', async () => {
  volume.write('file', 0, noise(MiB, 5));
  const running = volume.sync();
  await new Promise(resolve => setTimeout(resolve, 20));
  volume.write('file', 0, Buffer.alloc(5000, 1));
  await running;
  expect((await volume.read('file')).subarray(0, 5000)).toEqual(Buffer.alloc(5000, 1));
  const expected = noise(MiB, 5).fill(1, 0, 5000);
  await volume.sync();
  expect((await volume.read('file')).equals(expected)).toBe(true);
});

test('waits while the network is down, says why, and goes on by itself with what is there by then', async () => {
  volume.network.down = new TuskError('network', 'no route');
  volume.write('file', 0, noise(MiB, 6));
  const reasons: string[] = [];
  const running = volume.flusher.run({
    signal: AbortSignal.timeout(20_000),
    onProgress: ({ pending }) => reasons.push(pending),
  });
  await expect.poll(() => reasons.includes('no route'), { timeout: 5000 }).toBe(true);
  volume.write('file', 0, Buffer.alloc(MiB, 1));
  volume.network.down = undefined;
  expect((await running).stored).toBe(true);
  const { db } = await restored('first');
  expect((await fileFrom(db, 'file')).equals(Buffer.alloc(MiB, 1))).toBe(true);
  db.close();
});

test('failed and expired transactions are built anew, one blob is registered', async () => {
  volume.network.failures.push({ code: 'price_changed', error: 'price' });
  volume.network.expiries = 1;
  volume.write('file', 0, noise(MiB, 7));
  await volume.sync();
  const ok = volume.network.entries().filter(({ result }) => result.ok);
  expect(ok.map(({ request }) => request.kind)).toEqual(['register', 'certify']);
});

test('a head moved by another machine stops the flush', async () => {
  volume.write('file', 0, Buffer.from('one'));
  await volume.sync();
  const head = volume.network.head()!;
  const thief = await volume.network.signRegister({
    blobId: head.blobId,
    rootHash: Buffer.alloc(32),
    size: 1,
    epochsAhead: 1,
    deletable: true,
    attributes: {},
    walMax: 1n,
  });
  const { blobObjectId } = await volume.network.submit(thief);
  const move = { key: 'tuskfs-head', value: '2', previous: head.objectId };
  await volume.network.submit(
    await volume.network.signCertify({
      blobObjectId: blobObjectId!,
      certificate: undefined as never,
      head: move,
    }),
  );
  volume.write('file', 0, Buffer.from('two'));
  await expect(volume.sync()).rejects.toMatchObject({ code: 'conflicting_head' });
  await expect(volume.sync()).rejects.toMatchObject({ code: 'conflicting_head' });
  expect(await volume.read('file')).toEqual(Buffer.from('two'));
});
