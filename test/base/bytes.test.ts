/** The byte writer: what is written is there, wherever the buffer has to grow. */
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';

test('every field survives growth at its own place', () => {
  for (let before = 0; before < 40; before++) {
    const writer = new ByteWriter(16);
    writer.raw(Buffer.alloc(before, 0x55));
    for (let i = 0; i < 20; i++) writer.u8(0xa0 + i);
    writer
      .u16(0x1234)
      .u32(0x89abcdef)
      .u64(2 ** 52 + 1)
      .i64(-5)
      .big64(7n)
      .sized(Buffer.of(1, 2));
    const reader = new ByteReader(writer.done());
    expect(reader.raw(before).every(byte => byte === 0x55)).toBe(true);
    for (let i = 0; i < 20; i++) expect(reader.u8()).toBe(0xa0 + i);
    expect([reader.u16(), reader.u32(), reader.u64(), reader.i64(), reader.big64()]).toEqual([
      0x1234,
      0x89abcdef,
      2 ** 52 + 1,
      -5,
      7n,
    ]);
    expect(reader.sized().toString('hex')).toBe('0102');
    expect(reader.left).toBe(0);
  }
});
