/** Every kind of misbehaviour does what it says, and behaving again ends it. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { blobIdToBytes } from '../../src/base/ids.ts';
import {
  readDecodingSymbols,
  readRecoverySymbols,
  readSliver,
} from '../../src/localnet/node/bcs.ts';
import { Misbehaviour } from '../../src/localnet/node/misbehave.ts';
import { native } from '../../src/native.ts';
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
let later: TestBlob;
let made: ReturnType<typeof makeNode>;
let pairs: number[];
let path: string;

beforeAll(async () => {
  directory = temporary();
  blob = await makeBlob(directory, 'one');
  later = await makeBlob(directory, 'two');
  const registry = makeRegistry();
  registry.apply(registered(blob.id, 1));
  registry.apply(registered(later.id, 2));
  made = makeNode(join(directory, 'node'), 1, registry);
  await made.node.start();
  pairs = pairsOf(made.shards, blob.id);
  path = `blobs/${blob.id}`;
  await upload(made.node.port, blob, pairs);
});
afterAll(async () => {
  await made.node.stop();
  remove(directory);
});
beforeEach(() => made.node.misbehave(new Misbehaviour()));

const tell = (...modes: string[]) => made.node.misbehave(new Misbehaviour(modes));
const get = (rest: string) => ask(made.node.port, 'GET', `${path}/${rest}`);
const sliver = () => get(`slivers/${pairs[0]}/primary`);
const confirmation = async () => {
  const { json } = await get(`confirmation/deletable/${OBJECT_ID}`);
  const { serializedMessage, signature } = json.success.data.signed;
  const message = Buffer.from(serializedMessage, 'base64');
  const isValid = native.blsVerify(
    made.keys.blsPublic96,
    message,
    Buffer.from(signature, 'base64'),
  );
  return { epoch: message.readUInt32LE(3), isValid };
};
/** Is this the sliver that the metadata commits to? */
const holds = (bytes: Buffer) => {
  const { index, data } = readSliver(bytes)!;
  return native.verifySliver(blob.encoded.metadata, N_SHARDS, 'primary', index, data);
};

/** Bytes that arrive until the connection ends, or `bytesMax` have. */
const received = (bytesMax: number) =>
  new Promise<{ bytes: number; whole: boolean }>((resolve, reject) => {
    const options = { port: made.node.port, path: `/v1/${path}/slivers/${pairs[0]}/primary` };
    request(options, response => {
      let bytes = 0;
      response.on('data', chunk => {
        bytes += chunk.length;
        if (bytes > bytesMax) response.destroy();
      });
      response.on('error', () => undefined);
      response.on('close', () => resolve({ bytes, whole: response.complete }));
    })
      .on('error', reject)
      .end();
  });

test('silent: no answer for as long as one waits', async () => {
  tell('silent');
  const url = `http://127.0.0.1:${made.node.port}/v1/${path}/metadata`;
  await expect(fetch(url, { signal: AbortSignal.timeout(300) })).rejects.toThrow(/timeout/);
});

test('slow: the right answer, late', async () => {
  tell('slow=250');
  const startMs = performance.now();
  expect((await sliver()).bytes).toEqual(blob.body(pairs[0]!, 'primary'));
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(240);
});

test('refuses: the connection ends without an answer', async () => {
  tell('refuses');
  await expect(sliver()).rejects.toThrow();
});

test.each(['429', '451', '503'])('%s: that status, as the official JSON', async status => {
  tell(status);
  const answer = await sliver();
  expect(answer.status).toBe(Number(status));
  expect(answer.json.error.code).toBe(Number(status));
});

test('wrong-bytes: nothing that comes verifies, all of it has its form', async () => {
  const primary = readSliver(blob.body(pairs[0]!, 'primary'))!;
  const symbolAt = (bytes: Buffer) => readDecodingSymbols(bytes)!.get(2)![0]!.data;
  const honest = await get('decodingSymbols?targetSlivers=2&targetType=secondary');
  tell('wrong-bytes');
  const lie = readSliver((await sliver()).bytes)!;
  expect({ ...lie, data: lie.data.length }).toEqual({ ...primary, data: primary.data.length });
  expect(await holds((await sliver()).bytes)).toBe(false);
  const metadata = (await get('metadata')).bytes.subarray(32);
  expect(native.verifyMetadata(metadata, N_SHARDS, blobIdToBytes(blob.id))).toBe(false);
  const symbols = await get('decodingSymbols?targetSlivers=2&targetType=secondary');
  expect(symbols.bytes.length).toBe(honest.bytes.length);
  expect(symbolAt(symbols.bytes)).not.toEqual(symbolAt(honest.bytes));
});

test('wrong-index: a true sliver under an index that is not its own', async () => {
  tell('wrong-index');
  const lie = readSliver((await sliver()).bytes)!;
  expect(lie.index).toBe(pairs[0]);
  expect(lie.data).toEqual(blob.sliver(pairs[1]!, 'primary'));
});

test('bad-proof: recovery symbols are right, their proofs are not', async () => {
  const query = `recoverySymbols?id=${pairs[0]}-3&proofAxis=primary`;
  const [honest] = readRecoverySymbols((await get(query)).bytes)!;
  tell('bad-proof');
  const [lie] = readRecoverySymbols((await get(query)).bytes)!;
  expect({ ...lie, proof: 0 }).toEqual({ ...honest, proof: 0 });
  expect(lie!.proof.length).toBe(honest!.proof.length);
  expect(lie!.proof[0]).not.toEqual(honest!.proof[0]);
});

test('bad-signature and wrong-epoch: confirmations that do not count', async () => {
  expect(await confirmation()).toEqual({ epoch: 1, isValid: true });
  tell('bad-signature');
  expect(await confirmation()).toEqual({ epoch: 1, isValid: false });
  tell('wrong-epoch');
  expect(await confirmation()).toEqual({ epoch: 2, isValid: true });
});

test('truncated: half of what was announced', async () => {
  tell('truncated');
  const { length } = blob.body(pairs[0]!, 'primary');
  expect(await received(1e9)).toEqual({ bytes: length >> 1, whole: false });
});

test('endless: more than anybody asked for', async () => {
  tell('endless');
  expect((await received(20_000_000)).bytes).toBeGreaterThan(20_000_000);
});

test('forgets: confirms what it never kept', async () => {
  tell('forgets');
  const mine = pairsOf(made.shards, later.id);
  await upload(made.node.port, later, mine);
  const confirmed = `blobs/${later.id}/confirmation/deletable/${OBJECT_ID}`;
  expect((await ask(made.node.port, 'GET', confirmed)).status).toBe(200);
  const read = await ask(made.node.port, 'GET', `blobs/${later.id}/slivers/${mine[0]}/primary`);
  expect(read).toMatchObject({ status: 404, reason: 'SLIVER_NOT_FOUND' });
});

test('several at once, and words that are no mode', async () => {
  tell('slow=100', 'wrong-bytes');
  expect(await holds((await sliver()).bytes)).toBe(false);
  for (const wrong of ['slow', 'silent=3', 'rude']) {
    expect(() => new Misbehaviour([wrong])).toThrow(/silent, slow=MS, refuses/);
  }
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  tell();
  expect(digest((await sliver()).bytes)).toBe(digest(blob.body(pairs[0]!, 'primary')));
});
