/** What is asked of slivers between strangers: verify, prove, recover, decode, and refuse. */

import { BlobEncoder } from '@mysten/walrus-wasm';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { EncodedBlob } from '../../src/native.ts';
import { native } from '../../src/native.ts';
import { type OfficialEncoding, officialEncode, seeded, sliverBcs } from './official.ts';

const shards = 13;
const size = 3001;
const data = seeded('slivers', size);
const shape = native.blobShape(size, shards);
const needed = { primary: shape.nPrimary, secondary: shape.nSecondary };
const other = { primary: 'secondary', secondary: 'primary' } as const;
const types = ['primary', 'secondary'] as const;
let blob: OfficialEncoding;
let metadata: EncodedBlob['metadata'];

beforeAll(() => {
  blob = officialEncode(data, shards);
  metadata = blob.metadata;
});

const indexed = (type: 'primary' | 'secondary') =>
  blob[type].map((bytes, index) => ({ index, data: bytes }));
const subset = (count: number) =>
  fc.shuffledSubarray([...Array(shards).keys()], { minLength: count, maxLength: shards });

describe.each(types)('%s slivers', type => {
  test('any subset that is large enough decodes', async () => {
    await fc.assert(
      fc.asyncProperty(subset(needed[type]), async chosen => {
        const slivers = chosen.map(index => indexed(type)[index]!);
        expect(await native.decode(size, shards, type, slivers)).toEqual(data);
      }),
      { numRuns: 30 },
    );
  });

  test('each verifies in its own place only, and with one bit wrong nowhere', async () => {
    for (const { index, data: bytes } of indexed(type)) {
      const verify = (at: number, sliver: Uint8Array) =>
        native.verifySliver(metadata, shards, type, at, sliver);
      expect(await verify(index, bytes)).toBe(true);
      expect(await verify((index + 1) % shards, bytes)).toBe(false);
      const wrong = Buffer.from(bytes);
      wrong[(index * 41) % wrong.length]! ^= 1 << (index % 8);
      expect(await verify(index, wrong)).toBe(false);
      expect(await verify(index, bytes.subarray(2))).toBe(false);
    }
  });

  test('each is recovered from symbols that the others answer', async () => {
    const from = other[type];
    for (let target = 0; target < shards; target++) {
      const symbols = [];
      for (const { index, data: bytes } of indexed(from).slice(-needed[from])) {
        const [symbol] = await native.sliverSymbols(from, shards, bytes, [target]);
        symbols.push({ index, data: symbol! });
      }
      expect(await native.recoverSliver(type, shards, symbols)).toEqual(blob[type][target]);
      await expect(native.recoverSliver(type, shards, symbols.slice(1))).rejects.toThrow('needed');
    }
  });

  test('several are recovered at once from runs of symbols', async () => {
    const from = other[type];
    const targets = [shards - 1, 0, 1];
    const runs = await Promise.all(
      indexed(from)
        .slice(-needed[from])
        .map(async ({ index, data: bytes }) => {
          const symbols = await native.sliverSymbols(from, shards, bytes, targets);
          return { index, data: Buffer.concat(symbols), symbolBytes: symbols[0]!.length };
        }),
    );
    const { symbolBytes } = runs[0]!;
    const recovered = await native.recoverSlivers(type, shards, symbolBytes, runs);
    expect(recovered).toEqual(targets.map(target => blob[type][target]));
    const uneven = native.recoverSlivers(type, shards, symbolBytes + 2, runs);
    await expect(uneven).rejects.toThrow('are no symbols');
  });

  test('a symbol comes with a proof as long as the tree is high', async () => {
    const sliver = blob[type][2]!;
    const all = await native.sliverSymbols(type, shards, sliver, [...Array(shards).keys()]);
    for (let target = 0; target < shards; target++) {
      const { symbol, proof } = await native.recoverySymbol(type, shards, sliver, target);
      expect(symbol).toEqual(all[target]);
      expect(proof.map(node => node.length)).toEqual([32, 32, 32, 32]);
    }
  });
});

const placesOf = (indices: readonly number[]) =>
  indices.map(index => ({ index, data: Buffer.alloc(shape.primaryBytes) }));

test('the official decoder reads what we encode', async () => {
  const places = placesOf([...Array(needed.primary).keys()]);
  await native.recoverPrimaries(size, shards, indexed('primary').slice(-needed.primary), places);
  const recovered = places.map(({ data }) => data);
  const encoder = new BlobEncoder(shards);
  const out = new Uint8Array(size);
  const slivers = recovered.map((bytes, index) => sliverBcs(bytes, shape.symbolBytes, index));
  encoder.decode(Array.from(blob.blobId), BigInt(size), slivers, out);
  expect(Buffer.from(out)).toEqual(data);
});

test('wanted primaries come to their places, present or not', async () => {
  const slivers = indexed('primary').slice(2);
  const wanted = [3, 0, 1, 2];
  const recover = (places: typeof slivers) =>
    native.recoverPrimaries(size, shards, slivers, places);
  const places = placesOf(wanted);
  await recover(places);
  expect(places.map(({ data }) => data)).toEqual(wanted.map(index => blob.primary[index]));
  await expect(recover(placesOf([5]))).rejects.toThrow('systematic');
  await expect(recover(placesOf([1, 1]))).rejects.toThrow('twice');
  await expect(recover([{ index: 0, data: Buffer.alloc(2) }])).rejects.toThrow('its place has not');
});

test('places share no bytes, neither with each other nor with what is read', async () => {
  const slivers = indexed('primary').slice(2);
  const { length } = slivers[0]!.data;
  const both = Buffer.alloc(2 * length - 1);
  const ends = [both.subarray(0, length), both.subarray(length - 1)];
  const overlapping = ends.map((data, index) => ({ index, data }));
  const recover = (places: { index: number; data: Buffer }[]) =>
    native.recoverPrimaries(size, shards, slivers, places);
  await expect(recover(overlapping)).rejects.toThrow('shares bytes');
  await expect(recover([{ index: 0, data: slivers[1]!.data }])).rejects.toThrow('shares bytes');
});

test('what cannot be is refused', async () => {
  const good = indexed('primary');
  const refuse = (slivers: typeof good) =>
    expect(native.decode(size, shards, 'primary', slivers)).rejects.toThrow();
  const wrongAt = (index: number) => [{ index, data: good[0]!.data }, ...good.slice(1, 5)];
  await refuse([]);
  await refuse(good.slice(1, needed.primary));
  await refuse([good[0]!, good[0]!, good[0]!, good[0]!, good[0]!]);
  for (const index of [-1, 13, 1.5, Number.NaN, 2 ** 32, 2 ** 60]) await refuse(wrongAt(index));
  await refuse([{ index: 0, data: good[0]!.data.subarray(1) }, ...good.slice(1, 5)]);
  await expect(native.decode(2 ** 52, shards, 'primary', good)).rejects.toThrow('too large');
  await expect(native.decode(-1, shards, 'primary', good)).rejects.toThrow('whole');
  for (const n of [0, 3, 4097, 2 ** 40]) expect(() => native.blobShape(1, n)).toThrow('shards');
  const sliver = good[0]!.data;
  await expect(native.sliverSymbols('primary', shards, sliver, [13])).rejects.toThrow('range');
  await expect(native.sliverSymbols('primary', shards, sliver.subarray(1), [0])).rejects.toThrow(
    'not a sliver',
  );
  await expect(native.recoverySymbol('primary', shards, sliver, 13)).rejects.toThrow('range');
  await expect(native.verifySliver(metadata, shards, 'primary', 13, sliver)).rejects.toThrow();
  await expect(native.encodeFile('/nowhere', shards, '/nowhere')).rejects.toThrow('/nowhere');
});

test('metadata with any byte changed, or cut, is refused', () => {
  expect(native.verifyMetadata(metadata, shards, blob.blobId)).toBe(true);
  for (let at = 0; at < metadata.length; at++) {
    const wrong = Buffer.from(metadata);
    wrong[at]! ^= 1 << (at % 8);
    expect(native.verifyMetadata(wrong, shards, blob.blobId)).toBe(false);
    expect(native.verifyMetadata(metadata.subarray(0, at), shards, blob.blobId)).toBe(false);
  }
  const longer = Buffer.concat([metadata, Buffer.alloc(1)]);
  expect(native.verifyMetadata(longer, shards, blob.blobId)).toBe(false);
  expect(native.verifyMetadata(metadata, shards - 1, blob.blobId)).toBe(false);
  expect(native.verifyMetadata(metadata, shards, blob.rootHash)).toBe(false);
});
