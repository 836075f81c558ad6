/** Storage nodes whose disks hold other bytes than they were given. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandbox } from '../support/sandbox.ts';
import { keptSlivers, overwriteSliver } from '../support/sliver-files.ts';

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

const directoryOf = (node: number): string =>
  sandbox.path('state', 'localnet', 'nodes', String(node));
const blobsOf = (node: number): string[] => readdirSync(join(directoryOf(node), 'blobs'));

/** Some bytes of it are others. */
const flipped = (given: Buffer): Buffer => {
  const bytes = Buffer.from(given);
  for (let i = 1; i < 8; i++) bytes[Math.floor((bytes.length * i) / 8)]! ^= 0x55;
  return bytes;
};

/** Flips bytes of every sliver that `node` keeps; how many slivers. */
const flipSlivers = (node: number): number => {
  let slivers = 0;
  for (const blob of blobsOf(node)) {
    for (const [name, bytes] of keptSlivers(directoryOf(node), blob)) {
      overwriteSliver(directoryOf(node), blob, name, flipped(bytes));
      slivers++;
    }
  }
  return slivers;
};

/** Flips bytes of all metadata that `node` keeps; of how many blobs. */
const flipMetadata = (node: number): number => {
  const blobs = blobsOf(node);
  for (const blob of blobs) {
    const path = join(directoryOf(node), 'blobs', blob, 'metadata');
    writeFileSync(path, flipped(readFileSync(path)));
  }
  return blobs.length;
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
    for (const node of LIARS) expect(flipSlivers(node)).toBeGreaterThanOrEqual(2 * 7);
    for (const node of METADATA_LIARS) expect(flipMetadata(node)).toBeGreaterThanOrEqual(1);

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
