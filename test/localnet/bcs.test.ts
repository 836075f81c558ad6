/** The nodes' BCS: what was written reads back; what a stranger bends is refused or reads as BCS. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DecodingSymbol,
  type RecoverySymbol,
  readDecodingSymbols,
  readMetadataHead,
  readRecoverySymbols,
  readSliver,
  sliverBytes,
  writeDecodingSymbols,
  writeRecoverySymbols,
  writeSliver,
} from '../../src/localnet/node/bcs.ts';
import { changes } from '../support/bend.ts';

const bytes = (constraints: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(constraints).map(array => Buffer.from(array));
const u16 = fc.nat(0xffff);
const symbol: fc.Arbitrary<DecodingSymbol> = fc.record({
  type: fc.constantFrom('primary', 'secondary'),
  index: u16,
  data: bytes({ maxLength: 200 }),
});
const sliver = fc.record({ data: bytes({ maxLength: 400 }), symbolBytes: u16, index: u16 });
const symbols = fc
  .uniqueArray(fc.tuple(u16, fc.array(symbol, { maxLength: 4 })), {
    maxLength: 5,
    selector: ([target]) => target,
  })
  .map(entries => new Map(entries));
const node = fc.oneof(fc.constant(Buffer.alloc(32)), bytes({ minLength: 32, maxLength: 32 }));
const recovery: fc.Arbitrary<RecoverySymbol[]> = fc.array(
  fc
    .tuple(symbol, u16, fc.array(node, { maxLength: 4 }))
    .map(([from, targetIndex, proof]) => ({ ...from, targetIndex, proof })),
  { maxLength: 4 },
);

const structures = [
  { name: 'sliver', values: sliver, write: writeSliver, read: readSliver },
  {
    name: 'decoding symbols',
    values: symbols,
    write: writeDecodingSymbols,
    read: readDecodingSymbols,
  },
  {
    name: 'recovery symbols',
    values: recovery,
    write: writeRecoverySymbols,
    read: readRecoverySymbols,
  },
];

describe.each(structures)('$name', structure => {
  const values = structure.values as fc.Arbitrary<never>;
  const write = structure.write as (value: unknown) => Buffer;
  const read: (bytes: Buffer) => unknown = structure.read;

  test('reads back as it was written', () => {
    fc.assert(
      fc.property(values, value => {
        expect(read(write(value))).toEqual(value);
      }),
    );
  });

  test('bent bytes throw nothing, and what reads is written alike', () => {
    fc.assert(
      fc.property(values, changes, (value, change) => {
        const bent = change(Buffer.from(write(value)));
        const found = read(bent);
        if (found === undefined) return;
        expect(write(found).length).toBeLessThanOrEqual(bent.length);
        expect(read(Buffer.from(write(found)))).toEqual(found);
        // A digest of zeros and an empty subtree are one thing in memory.
        if (structure.name !== 'recovery symbols') expect(write(found)).toEqual(bent);
      }),
      { numRuns: 2000 },
    );
  });
});

test('a sliver takes as many bytes as foretold', () => {
  fc.assert(
    fc.property(sliver, value => {
      expect(writeSliver(value)).toHaveLength(sliverBytes(value.data.length));
    }),
  );
});

test('the head of metadata is read from any bytes, or not at all', () => {
  fc.assert(
    fc.property(fc.nat(127), fc.nat(), changes, (encodingType, size, change) => {
      const head = Buffer.alloc(10);
      head[1] = encodingType;
      head.writeUInt32LE(size, 2);
      expect(readMetadataHead(head)).toEqual({ encodingType, size });
      const bent = readMetadataHead(change(head));
      if (bent !== undefined) expect(Number.isSafeInteger(bent.size)).toBe(true);
    }),
  );
});
