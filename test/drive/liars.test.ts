/** Storage nodes whose disks hold other bytes than they were given. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandbox } from '../support/sandbox.ts';

/** Together they hold at most 33 of 100 shards. */
const LIARS = [2, 5, 6, 11];
/** Those among them that lie about metadata, too. */
const METADATA_LIARS = [2, 6];

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = new Sandbox('liars');
  await sandbox.startLocalnet();
  await sandbox.create('drive');
});
afterAll(() => sandbox.close());

/** Flips some bytes of every file that `node` keeps and `isMeant` picks; how many files. */
const flip = (node: number, isMeant: (name: string) => boolean): number => {
  const blobs = sandbox.path('state', 'localnet', 'nodes', String(node), 'blobs');
  let files = 0;
  for (const blob of readdirSync(blobs)) {
    for (const name of readdirSync(join(blobs, blob)).filter(isMeant)) {
      const path = join(blobs, blob, name);
      const bytes = readFileSync(path);
      for (let i = 1; i < 8; i++) bytes[Math.floor((bytes.length * i) / 8)]! ^= 0x55;
      writeFileSync(path, bytes);
      files++;
    }
  }
  return files;
};

describe('nodes with flipped bytes', () => {
  it('every read is right, and the nodes are named', async () => {
    let mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`
      mkdir source && cp -a ${process.cwd()}/node_modules/commander source/package
      head -c 9000000 /dev/urandom > source/noise
      cp -a source ${mountPoint}/copy`);
    expect(await sandbox.sync('drive')).toMatchObject({ pending: '' });
    await sandbox.umount(mountPoint);
    await sandbox.ok(['cache', 'drop', 'drive']);

    const { nodes } = await sandbox.localnet();
    const shards = nodes.filter(node => LIARS.includes(node.index)).flatMap(node => node.shards);
    expect(shards.length).toBeLessThanOrEqual(33);
    for (const node of LIARS)
      expect(flip(node, name => /\.(primary|secondary)$/.test(name))).toBeGreaterThanOrEqual(2 * 7);
    for (const node of METADATA_LIARS)
      expect(flip(node, name => name === 'metadata')).toBeGreaterThanOrEqual(1);

    mountPoint = await sandbox.mount('drive');
    await sandbox.sh(`diff -r source ${mountPoint}/copy`);
    const status = await sandbox.status('drive');
    const named = status.nodes.filter(node => node.state === 'liar').map(node => node.name);
    expect(named.sort()).toEqual(
      nodes
        .filter(node => LIARS.includes(node.index))
        .map(node => node.name)
        .sort(),
    );
    const text = await sandbox.ok(['status', 'drive']);
    for (const name of named) expect(text).toMatch(new RegExp(`${name} .*liar: .+`));

    // What was repaired while reading stays: once more without asking the liars for anything new.
    await sandbox.sh(`diff -r source ${mountPoint}/copy`);
    await sandbox.umount(mountPoint);
  });
});
