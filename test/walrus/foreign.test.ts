/** What our client reads of nodes' answers by itself: only whole and right structures count. */
import { bcs } from '@mysten/sui/bcs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import { confirmationMessage, epochOfConfirmation } from '../../src/walrus/certificate.ts';
import { IncomingSliver } from '../../src/walrus/nodes/incoming.ts';
import { wireSliver } from '../../src/walrus/nodes/places.ts';
import { parseSymbols } from '../../src/walrus/nodes/slivers.ts';
import { changes } from '../support/bend.ts';

const Bare = bcs.struct('DecodingSymbol', { index: bcs.u16(), data: bcs.byteVector() });
const Either = bcs.enum('EitherDecodingSymbol', { Primary: Bare, Secondary: Bare });
const Decoding = bcs.map(bcs.u16(), bcs.vector(Either));

const SYMBOL = 4;
const TARGETS = [1, 300, 2];
const OWN = new Set([0, 7, 513]);
const isOwn = (index: number): boolean => OWN.has(index);

const symbolOf = (target: number, source: number): Uint8Array =>
  Buffer.of(target, target >> 8, source, source >> 8);

/** BCS of what each target has from which sources. */
const write = (has: readonly (readonly [number, readonly number[]])[]): Buffer =>
  Buffer.from(
    Decoding.serialize(
      new Map(
        has.map(([target, sources]) => [
          target,
          sources.map(index => ({ Primary: { index, data: symbolOf(target, index) } })),
        ]),
      ),
    ).toBytes(),
  );

const runOf = (source: number): Buffer =>
  Buffer.concat(TARGETS.map(target => symbolOf(target, source)));

test('symbols are turned about; a source counts once it has every target, each once', () => {
  const sources = fc.array(fc.constantFrom(...OWN), { maxLength: 5 });
  fc.assert(
    fc.property(fc.tuple(sources, sources, sources), lists => {
      const bytes = write(TARGETS.map((target, i) => [target, lists[i]!] as const));
      const found = parseSymbols(bytes, TARGETS, SYMBOL, isOwn);
      const twice = lists.some(list => new Set(list).size < list.length);
      if (twice) {
        expect(found).toBeUndefined();
        return;
      }
      const complete = [...OWN].filter(source => lists.every(list => list.includes(source)));
      expect(new Set(found!.keys())).toEqual(new Set(complete));
      for (const [source, run] of found!) expect(run).toEqual(runOf(source));
    }),
  );
});

test('symbols of slivers that the node does not hold take no memory', () => {
  const stranger = write([[TARGETS[0]!, [7, 8]]]);
  expect(parseSymbols(stranger, TARGETS, SYMBOL, isOwn)).toBeUndefined();
});

test('bent symbols throw nothing, and their runs are whole', () => {
  const whole = write(TARGETS.map(target => [target, [...OWN]] as const));
  fc.assert(
    fc.property(changes, change => {
      const found = parseSymbols(change(whole), TARGETS, SYMBOL, isOwn);
      for (const [source, run] of found ?? []) {
        expect(OWN).toContain(source);
        expect(run).toHaveLength(TARGETS.length * SYMBOL);
      }
    }),
    { numRuns: 3000 },
  );
});

test('a sliver is taken off its wire form if it is exactly that, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 2, maxLength: 400 }),
      fc.nat(0xffff),
      fc.nat(0xffff),
      changes,
      fc.integer({ min: 1, max: 450 }),
      (data, symbolBytes, index, change, cut) => {
        const made = wireSliver(data.length, symbolBytes, index);
        made.data.set(data);
        const read = (wire: Buffer): Buffer | undefined => {
          const place = Buffer.alloc(data.length);
          const incoming = new IncomingSliver(place);
          for (let at = 0; at < wire.length; at += cut) incoming.put(wire.subarray(at, at + cut));
          return incoming.is(symbolBytes, index) ? place : undefined;
        };
        expect(read(made.wire)).toEqual(Buffer.from(data));
        const bent = change(made.wire);
        const found = read(bent);
        if (found === undefined) return;
        const again = wireSliver(found.length, symbolBytes, index);
        again.data.set(found);
        expect(again.wire).toEqual(bent);
      },
    ),
    { numRuns: 1000 },
  );
});

test('a confirmation tells its epoch if it is about the same blob', () => {
  const object = { objectId: `0x${'ab'.repeat(32)}`, deletable: true };
  const message = (epoch: number) =>
    confirmationMessage(epoch, blobIdFromBytes(Buffer.alloc(32, 9)), object);
  fc.assert(
    fc.property(fc.nat(), fc.nat(), changes, (ours, theirs, change) => {
      const expected = message(ours);
      expect(epochOfConfirmation(message(theirs), expected)).toBe(theirs);
      const bent = change(message(theirs));
      const epoch = epochOfConfirmation(bent, expected);
      if (epoch !== undefined) expect(message(epoch)).toEqual(bent);
    }),
  );
});
