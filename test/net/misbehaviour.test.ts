/**
 * Nodes that misbehave, in any way and mixture: while they hold up to f shards, what is written is
 * stored and what is read is right; when they hold more, there is a right answer or a clean error in
 * time, and never a wrong byte. A failing run prints seed and path; `TUSK_SEED=…` starts from a seed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { type LocalnetHandle, startLocalnet } from '../../src/localnet/handle.ts';
import { MODES } from '../../src/localnet/node/misbehave.ts';
import { native } from '../../src/native.ts';
import type { EncodedFile } from '../../src/walrus/network.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { Wallet } from '../../src/walrus/wallet.ts';
import { bytesOf, encode, publish, register } from '../support/blobs.ts';
import { settingsOf } from '../support/settings.ts';

const NODES = 13;
const SHARDS = 40;
/** Shards that may fail. */
const F = Math.floor((SHARDS - 1) / 3);
const DEADLINE_MS = 5_000;
/** What may come late on a busy machine. */
const SLACK_MS = 5_000;
const MEMORY_BYTES_MAX = 300 * 2 ** 20;

let directory: string;
let localnet: LocalnetHandle;
const wallet = Wallet.generate();
/** Blobs that were stored while all nodes behaved. */
const stored: { bytes: Buffer; file: EncodedFile }[] = [];

const open = () => new RealNetwork(settingsOf(localnet), wallet);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-misbehaviour-'));
  localnet = await startLocalnet({
    directory: join(directory, 'net'),
    nodes: NODES,
    shards: SHARDS,
    delayMs: 50,
  });
  await localnet.faucet(wallet.address);
  const network = open();
  for (const size of [1, 40_000, 600_000]) {
    const bytes = bytesOf(size, size);
    const file = await encode(directory, bytes, SHARDS);
    await publish(network, file);
    stored.push({ bytes, file });
  }
  await network.close();
});
afterAll(async () => {
  await localnet?.close();
  rmSync(directory, { recursive: true, force: true });
});
const behave = () => localnet.misbehave(Array.from({ length: NODES }, (_, index) => index));
afterEach(behave);

const mode = fc
  .constantFrom(...Object.keys(MODES))
  .chain(name =>
    name === 'slow'
      ? fc.integer({ min: 1, max: 1_500 }).map(ms => `slow=${ms}`)
      : fc.constant(name),
  );
/** Nodes in the order in which they go bad, each with one or two ways to misbehave. */
const culprits = fc.tuple(
  fc.shuffledSubarray([...Array(NODES).keys()], { minLength: NODES, maxLength: NODES }),
  fc.array(fc.uniqueArray(mode, { minLength: 1, maxLength: 2 }), {
    minLength: NODES,
    maxLength: NODES,
  }),
);
type Culprits = [number[], string[][]];

/** Lets nodes misbehave, in order, as long as `holds` of their shards in all. */
const letMisbehave = async (
  [order, modes]: Culprits,
  holds: (shards: number, nodes: number) => boolean,
): Promise<void> => {
  await behave();
  let shards = 0;
  let nodes = 0;
  for (const index of order) {
    const more = shards + localnet.nodes[index]!.shards.length;
    if (!holds(more, nodes + 1)) continue;
    shards = more;
    await localnet.misbehave(index, ...modes[nodes++]!);
  }
};

const seed = process.env.TUSK_SEED;
const runs = (numRuns: number) => ({
  numRuns,
  endOnFailure: true,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
});

/** Systematic primary slivers as they ought to be. */
const sliversOf = (bytes: Buffer) => {
  const { nPrimary, primaryBytes } = native.blobShape(bytes.length, SHARDS);
  const whole = Buffer.alloc(nPrimary * primaryBytes);
  bytes.copy(whole);
  return (index: number) => whole.subarray(index * primaryBytes, (index + 1) * primaryBytes);
};

/** Reads a blob in both ways, with a client that knows nothing yet; every byte that comes must be right. */
const readBothWays = async (
  { bytes, file }: (typeof stored)[number],
  indices: number[],
  timeoutMs: number,
) => {
  const network = open();
  try {
    const right = sliversOf(bytes);
    const given = new Set<number>();
    await network.readPrimaries(file, indices, {
      verify: true,
      signal: AbortSignal.timeout(timeoutMs),
      onSliver: (index, data) => {
        if (Buffer.compare(data, right(index)) !== 0) throw new Error(`sliver ${index} is wrong`);
        given.add(index);
      },
    });
    expect([...given].sort((a, b) => a - b)).toEqual([...indices].sort((a, b) => a - b));
    const whole = await network.readBlob(file.blobId, AbortSignal.timeout(timeoutMs));
    if (Buffer.compare(whole, bytes) !== 0) throw new Error('the blob is wrong');
  } finally {
    await network.close();
  }
};

const store = async (size: number, timeoutMs: number) => {
  const network = open();
  try {
    const file = await encode(directory, bytesOf(size, size), SHARDS);
    const objectId = await register(network, file);
    const run = network.store(
      file,
      { objectId, deletable: true },
      { signal: AbortSignal.timeout(timeoutMs), tailMs: 200 },
    );
    const certificate = await run.certificate;
    await run.tail();
    const result = await network.submit(
      await network.signCertify({ blobObjectId: objectId, certificate }),
    );
    expect(result).toMatchObject({ ok: true, error: '' });
    return { bytes: bytesOf(size, size), file };
  } finally {
    await network.close();
  }
};

const blob = fc.nat({ max: 2 });
const indices = fc.uniqueArray(fc.nat({ max: SHARDS - 2 * F - 1 }), { minLength: 1, maxLength: 8 });
const size = fc.integer({ min: 1, max: 150_000 });

test('up to f shards misbehave: every write and every read ends right', async () => {
  const before = process.resourceUsage().maxRSS * 1024;
  await fc.assert(
    fc.asyncProperty(culprits, blob, indices, size, async (nodes, which, wanted, bytes) => {
      await letMisbehave(nodes, shards => shards <= F);
      await readBothWays(stored[which]!, wanted, 30_000);
      const written = await store(bytes, 30_000);
      await readBothWays(written, wanted, 30_000);
    }),
    runs(10),
  );
  expect(process.resourceUsage().maxRSS * 1024 - before).toBeLessThan(MEMORY_BYTES_MAX);
});

test('more shards misbehave: right bytes or a clean error in time, in bounded memory', async () => {
  const before = process.resourceUsage().maxRSS * 1024;
  const cleanly = async (work: Promise<unknown>) => {
    const startMs = performance.now();
    const error = await work.then(
      () => undefined,
      reason => reason as unknown,
    );
    if (error !== undefined) {
      expect(error).toBeInstanceOf(TuskError);
      expect((error as TuskError).kind).not.toBe('bug');
    }
    return performance.now() - startMs;
  };
  await fc.assert(
    fc.asyncProperty(
      culprits,
      fc.integer({ min: 6, max: NODES }),
      blob,
      indices,
      size,
      async (nodes, count, which, wanted, bytes) => {
        await letMisbehave(nodes, (_, bad) => bad <= count);
        const readMs = await cleanly(readBothWays(stored[which]!, wanted, DEADLINE_MS));
        expect(readMs).toBeLessThan(2 * DEADLINE_MS + SLACK_MS);
        const storeMs = await cleanly(store(bytes, DEADLINE_MS));
        expect(storeMs).toBeLessThan(DEADLINE_MS + 2 * SLACK_MS);
      },
    ),
    runs(4),
  );
  expect(process.resourceUsage().maxRSS * 1024 - before).toBeLessThan(MEMORY_BYTES_MAX);
});
