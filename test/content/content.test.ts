/** Content over a real directory and a source that misbehaves: bytes are right, or a clean error comes. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { TuskError } from '../../src/base/errors.ts';
import { Content } from '../../src/content/content.ts';
import type { ContentLimits, SliverRequest } from '../../src/content/types.ts';
import type { FramePlace } from '../../src/meta/types.ts';
import { native } from '../../src/native.ts';
import {
  type Fault,
  frameKey,
  IDENTITY_KEY,
  LocalSource,
  type SealedPack,
  sealPack,
} from '../support/packs.ts';

const LIMITS: ContentLimits = {
  memoryBytes: 1 << 20,
  cacheBytes: 64 << 20,
  freeBytesMin: 0,
  readAheadBytes: 0,
  fetchTimeoutMs: 500,
};

let directory: string;
let source: LocalSource;
const running: Content[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'D-content-'));
  source = new LocalSource();
});
afterEach(async () => {
  for (const content of running.splice(0)) await content.close();
  rmSync(directory, { recursive: true, force: true });
});

const openContent = async (limits: Partial<ContentLimits> = {}): Promise<Content> => {
  const content = await Content.open({
    cacheDirectory: directory,
    source,
    packOf: pack => [...source.packs.values()].find(known => known.row.pack === pack)?.row,
    frameKey,
    identityKey: IDENTITY_KEY,
    clock: systemClock,
    limits: { ...LIMITS, ...limits },
  });
  running.push(content);
  return content;
};

const plainsOf = (sizes: number[]) => sizes.map(size => randomBytes(size));
const pathOf = (pack: SealedPack) => join(directory, `${pack.row.packId.toString('hex')}.pack`);
const whole = (content: Content, frame: FramePlace) => content.read(frame, 0, frame.plainBytes);
/** Compared at once: element by element takes seconds. */
const expectSame = (bytes: Buffer, expected: Buffer | undefined): void =>
  expect(expected !== undefined && bytes.equals(expected)).toBe(true);
const allocatedBytes = () =>
  readdirSync(directory)
    .filter(name => name.endsWith('.pack'))
    .reduce((sum, name) => sum + statSync(join(directory, name)).blocks * 512, 0);

test('a frame is fetched once, opened once, and then served at once', async () => {
  const plains = plainsOf([5000, 300_000]);
  const pack = source.add(await sealPack(1, plains));
  const content = await openContent();
  const readings = await Promise.all([0, 1, 2, 3].map(() => whole(content, pack.frames[1]!)));
  for (const bytes of readings) expectSame(bytes, plains[1]);
  expect(source.requests).toHaveLength(1);
  const again = content.read(pack.frames[1]!, 1000, 10);
  expect(again).toEqual(plains[1]!.subarray(1000, 1010));
  // The first frame stands before the second: only slivers that were not there are fetched.
  expectSame(await whole(content, pack.frames[0]!), plains[0]);
  const fetched = source.requests.flatMap(request => request.slivers);
  expect(new Set(fetched).size).toBe(fetched.length);
});

test('small files near each other share slivers', async () => {
  const plains = plainsOf(Array.from({ length: 200 }, () => 4096));
  const pack = source.add(await sealPack(1, plains, 10));
  const content = await openContent();
  for (const frame of pack.frames.slice(0, 40))
    expectSame(await whole(content, frame), plains[frame.slot]);
  expect(content.counters.sliversFetched).toBeLessThanOrEqual(3);
});

test('the cache survives a restart', async () => {
  const pack = source.add(await sealPack(1, plainsOf([100_000, 100_000])));
  const first = await openContent();
  await whole(first, pack.frames[0]!);
  const bytes = first.bytes();
  await first.close();
  const second = await openContent();
  expect(second.bytes()).toBe(bytes);
  await whole(second, pack.frames[0]!);
  expect(second.counters.sliversFetched).toBe(0);
});

test('a pack file without a map is complete; one of the wrong size is thrown away', async () => {
  const plains = plainsOf([100_000]);
  const [good, short] = [
    source.add(await sealPack(1, plains)),
    source.add(await sealPack(2, plains)),
  ];
  const content = await openContent();
  writeFileSync(pathOf(good), good.bytes);
  writeFileSync(pathOf(short), short.bytes.subarray(0, 5000));
  await content.adopt(good.row);
  expectSame(await whole(content, good.frames[0]!), plains[0]);
  expect(source.requests).toHaveLength(0);
  expectSame(await whole(content, short.frames[0]!), plains[0]);
  expect(source.requests).toHaveLength(1);
});

test('a damaged map or file is thrown away at the next start, and the bytes come anew', async () => {
  const plains = plainsOf([100_000]);
  const packs = [1, 2, 3].map(n => sealPack(n, plains));
  const [torn, short, flipped] = (await Promise.all(packs)).map(pack => source.add(pack));
  const first = await openContent();
  for (const pack of [torn, short, flipped]) await whole(first, pack!.frames[0]!);
  await first.close();
  const map = pathOf(torn!).replace('.pack', '.map');
  const bytes = readFileSync(map);
  bytes[bytes.length - 6]! ^= 1;
  writeFileSync(map, bytes);
  truncateSync(pathOf(short!), 1000);
  writeFileSync(pathOf(flipped!), Buffer.alloc(flipped!.bytes.length));
  const second = await openContent();
  for (const pack of [torn, short, flipped])
    expectSame(await whole(second, pack!.frames[0]!), plains[0]);
  expect(second.counters.tagFailures).toBe(1);
  expect(source.requests.at(-1)!.verify).toBe(true);
});

test('a cache file that could not be opened once is opened the next time', async () => {
  const plains = plainsOf([100_000]);
  const pack = source.add(await sealPack(1, plains));
  const first = await openContent();
  await whole(first, pack.frames[0]!);
  await first.close();
  const content = await openContent();
  const aside = `${pathOf(pack)}.aside`;
  renameSync(pathOf(pack), aside);
  mkdirSync(pathOf(pack));
  await expect(whole(content, pack.frames[0]!)).rejects.toThrow('EISDIR');
  rmdirSync(pathOf(pack));
  renameSync(aside, pathOf(pack));
  expectSame(await whole(content, pack.frames[0]!), plains[0]);
});

test('a pack file that a flush still names is never punched', async () => {
  const plains = plainsOf([100_000, 100_000]);
  const pack = source.add(await sealPack(1, plains));
  const other = join(directory, 'of-the-flush');
  const bad = Buffer.from(pack.bytes);
  bad.fill(0, 150_000, 160_000);
  writeFileSync(other, bad);
  linkSync(other, pathOf(pack));
  const content = await openContent();
  expectSame(await whole(content, pack.frames[0]!), plains[0]);
  await content.drop();
  expectSame(readFileSync(other), bad);
  expectSame(await whole(content, pack.frames[1]!), plains[1]);
  expect(content.counters.tagFailures).toBe(1);
  expectSame(readFileSync(other), bad);
});

test('what a reader uses is not emptied under it, however far that has got', async () => {
  const plains = plainsOf([100_000, 200_000]);
  const pack = source.add(await sealPack(1, plains));
  source.fault = () => 'slow';
  const content = await openContent();
  await whole(content, pack.frames[0]!);
  // The second frame begins in the last sliver of the first, and waits for others.
  const dropping = content.drop();
  const reading = whole(content, pack.frames[1]!);
  await dropping;
  expectSame(await reading, plains[1]);
  expect(content.counters.tagFailures).toBe(0);
});

test('wrong bytes are fetched again with proof, once; what stays wrong is called unverified', async () => {
  const plains = plainsOf([50_000]);
  const pack = source.add(await sealPack(1, plains));
  const content = await openContent({ memoryBytes: 1 });
  for (const fault of ['corrupt', 'zeros', 'half', 'cut'] as const) {
    await content.drop();
    source.fault = () => fault;
    source.requests.length = 0;
    expectSame(await whole(content, pack.frames[0]!), plains[0]);
    expect(source.requests.map(request => request.verify)).toEqual([false, true]);
  }
  source.liar = true;
  source.fault = () => 'corrupt';
  await content.drop();
  await expect(whole(content, pack.frames[0]!)).rejects.toMatchObject({ code: 'unverified' });
  source.fault = () => 'none';
  expectSame(await whole(content, pack.frames[0]!), plains[0]);
});

test('a frame with another identity than the index names is not served', async () => {
  const pack = source.add(await sealPack(1, plainsOf([1000])));
  const content = await openContent();
  const frame = { ...pack.frames[0]!, identity: Buffer.alloc(32) };
  await expect(whole(content, frame)).rejects.toMatchObject({ code: 'unverified' });
});

test('a wait ends at its deadline, by an interrupt, and at close', async () => {
  const pack = source.add(await sealPack(1, plainsOf([1000, 90_000, 1000])));
  const content = await openContent({ fetchTimeoutMs: 30 });
  source.fault = () => 'hang';
  const interrupt = new AbortController();
  const interrupted = content.read(pack.frames[2]!, 0, 10, { signal: interrupt.signal });
  interrupt.abort();
  await expect(interrupted).rejects.toMatchObject({ code: 'aborted' });
  await expect(whole(content, pack.frames[0]!)).rejects.toMatchObject({ code: 'timeout' });
  const pending = Promise.resolve(whole(content, pack.frames[1]!));
  pending.catch(() => {});
  await content.close();
  await expect(pending).rejects.toMatchObject({ code: 'aborted' });
});

test('who asks again at once for what did not come in time does not wait again', async () => {
  const pack = source.add(await sealPack(1, plainsOf([90_000])));
  const content = await openContent({ fetchTimeoutMs: 1500 });
  source.fault = () => 'hang';
  await expect(whole(content, pack.frames[0]!)).rejects.toMatchObject({ code: 'timeout' });
  source.fault = () => 'none';
  const start = performance.now();
  await expect(whole(content, pack.frames[0]!)).rejects.toMatchObject({ code: 'timeout' });
  expect(performance.now() - start).toBeLessThan(500);
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(await whole(content, pack.frames[0]!)).toHaveLength(90_000);
});

test('a reader that goes straight finds the next slivers under way; a random one fetches nothing more', async () => {
  const plains = plainsOf(Array.from({ length: 60 }, () => 60_000));
  const pack = source.add(await sealPack(1, plains));
  const content = await openContent({ readAheadBytes: 1 << 20 });
  const { primaryBytes } = native.blobShape(pack.row.size, pack.row.nShards);
  for (const slot of [50, 10, 40, 20, 30]) await whole(content, pack.frames[slot]!);
  expect(content.counters.bytesFetched).toBeLessThanOrEqual(5 * 2 * primaryBytes);
  await content.drop();
  const before = content.counters.sliverHits;
  for (const frame of pack.frames) await whole(content, frame);
  expect(content.counters.sliverHits - before).toBeGreaterThan(40);
  expect(content.bytes()).toBe(pack.row.size);
});

test('a range fetches little more than the slivers that cover it, once for all who wait', async () => {
  const plains = plainsOf(Array.from({ length: 40 }, () => 250_000));
  const pack = source.add(await sealPack(1, plains));
  const content = await openContent({ readAheadBytes: 1 << 20 });
  const { primaryBytes } = native.blobShape(pack.row.size, pack.row.nShards);
  const slots = [30, 4, 17, 9];
  const covering = new Set<number>();
  for (const slot of slots) {
    const { offset, sealedBytes } = pack.frames[slot]!;
    for (let at = offset; at < offset + sealedBytes; at++)
      covering.add(Math.floor(at / primaryBytes));
    const readings = await Promise.all([1, 2, 3].map(() => whole(content, pack.frames[slot]!)));
    for (const bytes of readings) expectSame(bytes, plains[slot]);
  }
  const { bytesFetched, sliversFetched } = content.counters;
  expect(bytesFetched).toBeLessThanOrEqual(1.25 * covering.size * primaryBytes);
  expect(sliversFetched).toBe(covering.size);
  expect(source.requests).toHaveLength(slots.length);
});

test('a sequential pass is made of few fetches of several slivers, each sliver once', async () => {
  const plains = plainsOf(Array.from({ length: 160 }, () => 60_000));
  const pack = source.add(await sealPack(1, plains, 1000));
  const content = await openContent({ readAheadBytes: 4 << 20 });
  const { primaryBytes } = native.blobShape(pack.row.size, pack.row.nShards);
  for (const frame of pack.frames) expectSame(await whole(content, frame), plains[frame.slot]);
  const fetched = source.requests.flatMap(request => request.slivers);
  expect(fetched).toHaveLength(Math.ceil(pack.row.size / primaryBytes));
  expect(new Set(fetched).size).toBe(fetched.length);
  expect(source.requests.length).toBeLessThan(fetched.length / 3);
});

test('ahead of a reader that waits for a source far away more and more is fetched, up to the limit', async () => {
  const readAheadBytes = 4 << 20;
  let [position, most] = [0, 0];
  class FarSource extends LocalSource {
    override async fetch(request: SliverRequest, signal?: AbortSignal): Promise<void> {
      const { primaryBytes } = native.blobShape(request.size, request.nShards);
      most = Math.max(most, (request.slivers.at(-1)! + 1) * primaryBytes - position);
      await systemClock.sleep(100);
      return super.fetch(request, signal);
    }
  }
  source = new FarSource();
  const plains = plainsOf(Array.from({ length: 160 }, () => 60_000));
  const pack = source.add(await sealPack(1, plains, 1000));
  const content = await openContent({ readAheadBytes, fetchTimeoutMs: 60_000 });
  for (const frame of pack.frames) {
    position = frame.offset + frame.sealedBytes;
    expectSame(await whole(content, frame), plains[frame.slot]);
  }
  expect(most).toBeGreaterThan(1 << 20);
  expect(most).toBeLessThan(readAheadBytes + 100_000);
});

/** Behind a line that all fetches share, and that brings so many bytes a tick of 10 ms. */
class LineSource extends LocalSource {
  readonly #bytesPerTick: number;
  readonly #running = new Set<{ leftBytes: number }>();

  constructor(bytesPerTick: number) {
    super();
    this.#bytesPerTick = bytesPerTick;
  }

  override async fetch(request: SliverRequest, signal?: AbortSignal): Promise<void> {
    const { primaryBytes } = native.blobShape(request.size, request.nShards);
    const mine = { leftBytes: request.slivers.length * primaryBytes };
    this.#running.add(mine);
    const lastTick = request.timeoutMs / 10;
    for (let tick = 0; mine.leftBytes > 0; tick++) {
      if (tick >= lastTick) this.#running.delete(mine);
      if (tick >= lastTick) throw new TuskError('timeout', `blob ${request.blobId} is late`);
      await new Promise(resolve => setTimeout(resolve, 10));
      mine.leftBytes -= this.#bytesPerTick / this.#running.size;
    }
    this.#running.delete(mine);
    return super.fetch(request, signal);
  }
}

test('on a slow line no more is fetched ahead than comes in time', async () => {
  const plains = plainsOf(Array.from({ length: 120 }, () => 60_000));
  source = new LineSource(40_000);
  const pack = source.add(await sealPack(1, plains, 1000));
  const content = await openContent({ readAheadBytes: 4 << 20 });
  for (const frame of pack.frames) expectSame(await whole(content, frame), plains[frame.slot]);
  expect(content.counters.fetchFailures).toBe(0);
});

test('a frame that a slow line does not bring in time comes in several tries, and nothing twice', async () => {
  const plains = plainsOf([2_000_000]);
  // Three quarters of the frame come in the time of a fetch.
  source = new LineSource(30_000);
  const pack = source.add(await sealPack(1, plains, 100));
  const content = await openContent();
  const attempt = async () => whole(content, pack.frames[0]!);
  let bytes: Buffer | undefined;
  let failures = 0;
  while (failures < 20) {
    bytes = await attempt().catch(() => undefined);
    if (bytes !== undefined) break;
    failures++;
    // Who asks at once hears of the same failure.
    await systemClock.sleep(1_000);
  }
  expect(failures).toBeGreaterThan(0);
  expectSame(bytes!, plains[0]);
  const came = source.requests.flatMap(request => request.slivers);
  expect(new Set(came).size).toBe(came.length);
});

test('the cache keeps within its limit, giving up what was used longest ago', async () => {
  const plains = plainsOf(Array.from({ length: 20 }, () => 100_000));
  const packs = await Promise.all([1, 2, 3].map(n => sealPack(n, plains)));
  for (const pack of packs) source.add(pack);
  const limits = { cacheBytes: 2_500_000, memoryBytes: 1 };
  const content = await openContent(limits);
  for (const pack of packs)
    for (const frame of pack.frames) {
      expectSame(await whole(content, frame), plains[frame.slot]);
      expect(content.bytes()).toBeLessThanOrEqual(limits.cacheBytes);
    }
  expect(allocatedBytes()).toBeLessThan(limits.cacheBytes * 1.1);
  source.requests.length = 0;
  await whole(content, packs[2]!.frames.at(-1)!);
  expect(source.requests).toHaveLength(0);
  await content.drop();
  expect(content.bytes()).toBe(0);
  await content.close();
  expect(readdirSync(directory)).toEqual([]);
});

test('on a full disk the cache gives its space back', async () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', directory]);
  try {
    const pack = source.add(await sealPack(1, plainsOf([1_000_000])));
    const content = await openContent();
    await whole(content, pack.frames[0]!);
    const filler = join(directory, 'filler');
    const fd = openSync(filler, 'w');
    expect(() => {
      for (;;) writeSync(fd, Buffer.alloc(4096));
    }).toThrow('ENOSPC');
    closeSync(fd);
    await content.drop();
    expect(content.bytes()).toBe(0);
    await content.close();
    const { bavail, bsize } = statfsSync(directory);
    expect(bavail * bsize).toBeGreaterThan(900_000);
  } finally {
    execFileSync('umount', ['-l', directory]);
  }
});

test('opened frames in memory keep within their limit, giving up what was used longest ago', async () => {
  const plains = plainsOf([100_000, 100_000, 100_000]);
  const pack = source.add(await sealPack(1, plains));
  const content = await openContent({ memoryBytes: 250_000 });
  const [first, second, third] = pack.frames as [FramePlace, FramePlace, FramePlace];
  await whole(content, first);
  await whole(content, second);
  expect(content.read(first, 0, 10)).toEqual(plains[0]!.subarray(0, 10));
  await whole(content, third);
  expect(content.read(first, 0, 10)).toBeInstanceOf(Buffer);
  expect(content.read(third, 0, 10)).toBeInstanceOf(Buffer);
  const again = content.read(second, 0, 10);
  expect(again).toBeInstanceOf(Promise);
  expect(await again).toEqual(plains[1]!.subarray(0, 10));
});

test('whatever the source does, bytes are right or the error is clean', async () => {
  const plains = plainsOf([3000, 70_000, 200_000, 10, 40_000, 120_000, 5000, 90_000]);
  const packs = await Promise.all([1, 2].map(n => sealPack(n, plains)));
  for (const pack of packs) source.add(pack);
  const faults = fc.constantFrom<Fault>('none', 'none', 'corrupt', 'zeros', 'fail', 'slow', 'half');
  const reading = fc.record({
    pack: fc.nat(1),
    slot: fc.nat(7),
    at: fc.nat(1000),
    length: fc.nat(50_000),
    together: fc.boolean(),
  });
  const plan = fc.array(fc.oneof(reading, fc.constant('drop'), fc.constant('restart')), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(
      plan,
      fc.array(faults, { minLength: 1 }),
      fc.boolean(),
      async (steps, drawn, liar) => {
        let fetches = 0;
        source.fault = () => drawn[fetches++ % drawn.length]!;
        source.liar = liar;
        const limits = {
          ...{ cacheBytes: 600_000, memoryBytes: 150_000, readAheadBytes: 200_000 },
          // None of these faults is silence: no fetch is given up, however busy the machine is.
          fetchTimeoutMs: 60_000,
        };
        let content = await openContent(limits);
        const pending: Promise<void>[] = [];
        for (const step of steps) {
          if (step === 'drop') await content.drop();
          else if (step === 'restart') {
            await Promise.all(pending);
            await content.close();
            content = await openContent(limits);
          } else if (typeof step === 'object') {
            const frame = packs[step.pack]!.frames[step.slot]!;
            const at = Math.min(step.at, frame.plainBytes - 1);
            const length = Math.min(step.length, frame.plainBytes - at);
            const expected = plains[step.slot]!.subarray(at, at + length);
            const judged = judge(content.read(frame, at, length), expected, liar);
            pending.push(judged);
            if (!step.together) await judged;
          }
        }
        await Promise.all(pending);
        await content.drop();
        await content.close();
      },
    ),
    { numRuns: 60, timeout: 5000, endOnFailure: true },
  );
});

/** Right bytes; or a TuskError that the injected faults explain. */
const judge = async (
  reading: Buffer | Promise<Buffer>,
  expected: Buffer,
  liar: boolean,
): Promise<void> => {
  try {
    expect((await reading).equals(expected)).toBe(true);
  } catch (error) {
    if (!(error instanceof TuskError)) throw error;
    expect(liar ? ['too_few_shards', 'unverified'] : ['too_few_shards']).toContain(error.code);
  }
};
