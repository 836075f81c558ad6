import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blobIdToBytes } from '../../src/base/ids.ts';
import type { Registry } from '../../src/localnet/node/registry.ts';
import { native } from '../../src/native.ts';
import { keptSlivers, overwriteSliver } from '../support/sliver-files.ts';
import {
  ask,
  makeBlob,
  makeNode,
  makeRegistry,
  N_SHARDS,
  OBJECT_ID,
  pairsOf,
  registered,
  remove,
  type TestBlob,
  temporary,
  upload,
} from './support.ts';

let directory: string;
let blob: TestBlob;
beforeAll(async () => {
  directory = temporary();
  blob = await makeBlob(directory, 'one');
});
afterAll(() => remove(directory));

const openNode = async (name: string, registry = makeRegistry()) => {
  const made = makeNode(join(directory, name), 1, registry);
  await made.node.start();
  const pairs = pairsOf(made.shards, blob.id);
  return { ...made, registry, pairs, port: made.node.port, home: join(directory, name) };
};

describe('storing', () => {
  test('nothing is taken before the registration is known, nothing confirmed before all is there', async () => {
    const { node, registry, pairs, port, keys } = await openNode('order');
    const put = () => ask(port, 'PUT', `blobs/${blob.id}/metadata`, blob.encoded.metadata);
    const confirm = () => ask(port, 'GET', `blobs/${blob.id}/confirmation/deletable/${OBJECT_ID}`);
    expect(await put()).toMatchObject({ status: 400, reason: 'NOT_REGISTERED' });
    expect(await confirm()).toMatchObject({ status: 400, reason: 'NOT_REGISTERED' });
    registry.apply(registered(blob.id, 1));
    const first = `blobs/${blob.id}/slivers/${pairs[0]}/primary`;
    expect(await ask(port, 'PUT', first, blob.body(pairs[0]!, 'primary'))).toMatchObject({
      status: 400,
      reason: 'METADATA_NOT_FOUND',
    });
    expect((await put()).status).toBe(201);
    expect((await put()).status).toBe(200);
    expect(await confirm()).toMatchObject({ status: 400, reason: 'MISSING_SLIVERS' });
    await upload(port, blob, pairs);
    expect((await ask(port, 'PUT', first, blob.body(pairs[0]!, 'primary'))).status).toBe(200);
    const { json } = await confirm();
    const message = Buffer.from(json.success.data.signed.serializedMessage, 'base64');
    expect(message).toEqual(
      Buffer.concat([
        Buffer.from([1, 0, 3, 1, 0, 0, 0]),
        blobIdToBytes(blob.id),
        Buffer.from([1]),
        Buffer.alloc(32, 0xab),
      ]),
    );
    const signature = Buffer.from(json.success.data.signed.signature, 'base64');
    expect(native.blsVerify(keys.blsPublic96, message, signature)).toBe(true);
    await node.stop();
  });

  test('a waiting confirmation is answered when the registration arrives', async () => {
    const { node, registry, port } = await openNode('wait');
    const path = `blobs/${blob.id}/confirmation/permanent?wait_for_registration=true&wait_millis=5000`;
    const asked = ask(port, 'GET', path);
    setTimeout(() => registry.apply(registered(blob.id, 1, { deletable: false })), 50);
    expect(await asked).toMatchObject({ reason: 'MISSING_SLIVERS' });
    await node.stop();
  });

  test('metadata and slivers that are not the blob’s are refused', async () => {
    const { node, registry, pairs, port } = await openNode('refuse');
    registry.apply(registered(blob.id, 1));
    const bad = Buffer.from(blob.encoded.metadata);
    bad[bad.length - 1]! ^= 1;
    const metadata = `blobs/${blob.id}/metadata`;
    expect(await ask(port, 'PUT', metadata, bad)).toMatchObject({ reason: 'INVALID_METADATA' });
    const big = Buffer.alloc(1 << 20);
    expect((await ask(port, 'PUT', metadata, big)).status).toBe(413);
    await ask(port, 'PUT', metadata, blob.encoded.metadata);
    const pair = pairs[0]!;
    const sliver = `blobs/${blob.id}/slivers/${pair}/secondary`;
    const flipped = Buffer.from(blob.body(pair, 'secondary'));
    flipped[10]! ^= 1;
    expect(await ask(port, 'PUT', sliver, flipped)).toMatchObject({ reason: 'INVALID_SLIVER' });
    expect(await ask(port, 'PUT', sliver, blob.body(pairs[1]!, 'secondary'))).toMatchObject({
      reason: 'SLIVER_INDEX_MISMATCH',
    });
    const foreign = [...Array(N_SHARDS).keys()].find(i => !pairs.includes(i))!;
    const elsewhere = `blobs/${blob.id}/slivers/${foreign}/primary`;
    expect(await ask(port, 'PUT', elsewhere, blob.body(foreign, 'primary'))).toMatchObject({
      reason: 'SHARD_NOT_ASSIGNED',
    });
    expect(await ask(port, 'GET', `${sliver}/status`)).toMatchObject({
      json: { success: { data: 'nonexistent' } },
    });
    await node.stop();
  });
});

describe('keeping', () => {
  test('what was confirmed is served after a restart, altered bytes as they are', async () => {
    const { node, registry, pairs, port, home } = await openNode('keep');
    registry.apply(registered(blob.id, 1));
    await upload(port, blob, pairs);
    await node.stop();
    await expect(ask(port, 'GET', 'health')).rejects.toThrow();
    const name = `${pairs[1]}.primary`;
    const altered = keptSlivers(home, blob.id).get(name)!;
    altered[20]! ^= 0xff;
    overwriteSliver(home, blob.id, name, altered);

    const again = await openNode('keep', registry);
    const read = (path: string) => ask(again.port, 'GET', `blobs/${blob.id}/${path}`);
    expect((await read('metadata')).bytes).toEqual(
      Buffer.concat([blobIdToBytes(blob.id), blob.encoded.metadata]),
    );
    expect((await read(`slivers/${pairs[0]}/primary`)).bytes).toEqual(
      blob.body(pairs[0]!, 'primary'),
    );
    expect((await read(`slivers/${pairs[1]}/primary`)).bytes).toEqual(altered);
    expect((await read(`confirmation/deletable/${OBJECT_ID}`)).status).toBe(200);
    await again.node.stop();
  });

  test('slivers in files of their own, as earlier versions kept them, are served', async () => {
    const { node, registry, pairs, port, home } = await openNode('old');
    registry.apply(registered(blob.id, 1));
    await upload(port, blob, pairs);
    await node.stop();
    const kept = join(home, 'blobs', blob.id);
    rmSync(join(kept, 'slivers'));
    const old = pairs.flatMap(pair => [`${pair}.primary`, `${pair}.secondary`]);
    for (const name of old) {
      const [pair, type] = name.split('.') as [string, 'primary' | 'secondary'];
      writeFileSync(join(kept, name), blob.body(Number(pair), type));
    }
    for (let start = 0; start < 2; start++) {
      const again = await openNode('old', registry);
      const last = await ask(again.port, 'GET', `blobs/${blob.id}/slivers/${pairs[1]}/secondary`);
      expect(last.bytes).toEqual(blob.body(pairs[1]!, 'secondary'));
      const confirmed = `blobs/${blob.id}/confirmation/deletable/${OBJECT_ID}`;
      expect((await ask(again.port, 'GET', confirmed)).status).toBe(200);
      await again.node.stop();
      expect(readdirSync(kept).sort()).toEqual(['metadata', 'slivers']);
    }
  });

  test.each([
    ['deleted', { kind: 'deleted', objectId: OBJECT_ID }],
    ['expired', { kind: 'epoch', epoch: 3 }],
  ])('a blob that was %s is gone at once, also for a node that was stopped', async (name, end) => {
    const { node, registry, pairs, port } = await openNode(name);
    const stopped = await openNode(`${name}-stopped`, registry);
    registry.apply(registered(blob.id, 1));
    await upload(port, blob, pairs);
    await upload(stopped.port, blob, stopped.pairs);
    await stopped.node.stop();
    const event = { ...registered(blob.id, 2), ...end } as Parameters<Registry['apply']>[0];
    registry.apply(event);
    const sliver = `blobs/${blob.id}/slivers/${pairs[0]}/primary`;
    expect(await ask(port, 'GET', sliver)).toMatchObject({
      status: 404,
      reason: 'SLIVER_NOT_FOUND',
    });
    expect(await ask(port, 'GET', `blobs/${blob.id}/status`)).toMatchObject({
      json: { success: { data: 'nonexistent' } },
    });
    const again = await openNode(`${name}-stopped`, registry);
    registry.apply(registered(blob.id, 3, { endEpoch: 9 }));
    for (const { port } of [node, again.node]) {
      expect(await ask(port, 'GET', sliver)).toMatchObject({ status: 404 });
    }
    await node.stop();
    await again.node.stop();
  });

  test('the status counts objects and prefers the longest certified permanent one', async () => {
    const { node, registry, port } = await openNode('status');
    const object = (byte: string) => ({ objectId: `0x${byte.repeat(32)}`, deletable: false });
    registry.apply(registered(blob.id, 1));
    registry.apply(registered(blob.id, 2, { ...object('01'), endEpoch: 9 }));
    registry.apply(registered(blob.id, 3, { ...object('02'), endEpoch: 5 }));
    registry.apply(
      registered(blob.id, 4, { ...object('02'), kind: 'certified', endEpoch: 5, epoch: 2 }),
    );
    expect((await ask(port, 'GET', `blobs/${blob.id}/status`)).json.success.data).toEqual({
      permanent: {
        endEpoch: 5,
        isCertified: true,
        statusEvent: { txDigest: '11111111111111111111111111111111', eventSeq: '0' },
        deletableCounts: { count_deletable_total: 1, count_deletable_certified: 0 },
        initialCertifiedEpoch: 2,
      },
    });
    await node.stop();
  });
});
