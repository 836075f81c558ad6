import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLedger } from '../../src/localnet/ledger/server.ts';
import { Follower } from '../../src/localnet/node/follow.ts';
import { nodeKeys } from '../../src/localnet/node/keys.ts';
import { dealtShards } from '../../src/localnet/node/shards.ts';
import { N_SHARDS, NODES, remove, temporary } from './support.ts';

let directory: string;
let ledger: Awaited<ReturnType<typeof startLedger>>;

const genesis = () => ({
  nShards: N_SHARDS,
  nodes: Array.from({ length: NODES }, (_, index) => {
    const keys = nodeKeys(`${directory}/node-${index}`, true);
    return {
      index,
      nodeId: keys.nodeId,
      name: `node-${index}`,
      address: `127.0.0.1:${index + 1}`,
      publicKey: keys.blsPublic96.toString('hex'),
      networkPublicKey: keys.tls!.publicKey.toString('hex'),
      shards: dealtShards(index, NODES, N_SHARDS),
    };
  }),
});

beforeAll(async () => {
  directory = temporary();
  ledger = await startLedger({ directory, port: 0, genesis: genesis() });
});
afterAll(async () => {
  await ledger.close();
  remove(directory);
});

const until = async (condition: () => boolean): Promise<number> => {
  const start = performance.now();
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5));
  return performance.now() - start;
};

test('an event is acted on after the delay, and one that is old enough at once', async () => {
  const slow = await Follower.start(ledger.url, 300);
  const quick = await Follower.start(ledger.url, 0);
  expect(slow.registry.epoch).toBe(1);
  ledger.ledger.advanceEpoch();
  await until(() => quick.registry.epoch === 2);
  expect(slow.registry.epoch).toBe(1);
  expect(await until(() => slow.registry.epoch === 2)).toBeGreaterThan(200);
  const late = await Follower.start(ledger.url, 300);
  expect(late.registry.applied).toBe(slow.registry.applied);
  for (const follower of [slow, quick, late]) await follower.stop();
});

test('a ledger that is away for a moment is followed again', async () => {
  const follower = await Follower.start(ledger.url, 0);
  const { port } = ledger;
  await ledger.close();
  ledger = await startLedger({ directory, port });
  ledger.ledger.advanceEpoch();
  await until(() => follower.registry.epoch === 3);
  await follower.stop();
});
