/** Bytes that are nearly right: what a stranger sends who knows the structure. */
import fc from 'fast-check';

type Change = (bytes: Buffer) => Buffer;

const at = (bytes: Buffer, place: number): number => place % (bytes.length + 1);
const place = fc.nat(1 << 16);
const short = fc.uint8Array({ minLength: 1, maxLength: 8 });

/** Another byte, a cut, bytes left out, repeated, put in, or one byte made the end of a number. */
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, short).map(
    ([from, other]): Change =>
      bytes => {
        const bent = Buffer.from(bytes);
        bent.set(other.subarray(0, bent.length - at(bytes, from)), at(bytes, from));
        return bent;
      },
  ),
  place.map(
    (from): Change =>
      bytes =>
        bytes.subarray(0, at(bytes, from)),
  ),
  fc.tuple(place, fc.nat(80)).map(
    ([from, count]): Change =>
      bytes => {
        const start = at(bytes, from);
        return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + count)]);
      },
  ),
  fc.tuple(place, fc.nat(80)).map(
    ([from, count]): Change =>
      bytes => {
        const start = at(bytes, from);
        return Buffer.concat([bytes.subarray(0, start + count), bytes.subarray(start)]);
      },
  ),
  fc.tuple(place, short).map(
    ([from, more]): Change =>
      bytes => {
        const start = at(bytes, from);
        return Buffer.concat([bytes.subarray(0, start), more, bytes.subarray(start)]);
      },
  ),
  fc.tuple(place, fc.constantFrom(0x00, 0x7f, 0x80, 0xff)).map(
    ([from, byte]): Change =>
      bytes => {
        const bent = Buffer.from(bytes);
        if (bent.length > 0) bent[from % bent.length] = byte;
        return bent;
      },
  ),
);

/** One to four changes to the bytes of a valid structure. */
export const changes: fc.Arbitrary<Change> = fc
  .array(change, { minLength: 1, maxLength: 4 })
  .map(all => bytes => all.reduce((bent, one) => one(bent), bytes));
