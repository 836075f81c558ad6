import './latin1.ts';

/**
 * Little-endian cursors over bytes, used by every codec of ours (log, meta, format). Integers
 * wider than 32 bits are exact doubles up to 2^53; a reader never reads beyond its buffer: it
 * throws `RangeError`, which each codec turns into its own error.
 */

/** Reads little-endian fields in order. */
export class ByteReader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Bytes left. */
  get left(): number {
    return this.end - this.at;
  }

  #take(n: number): number {
    const at = this.at;
    if (n < 0 || at + n > this.end)
      throw new RangeError(`${n} bytes wanted at ${at} of ${this.end}`);
    this.at = at + n;
    return at;
  }

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }
  u16(): number {
    return this.bytes.readUInt16LE(this.#take(2));
  }
  u32(): number {
    return this.bytes.readUInt32LE(this.#take(4));
  }
  /** Unsigned 64 bits as an exact double; RangeError above 2^53−1. */
  u64(): number {
    const at = this.#take(8);
    const high = this.bytes.readUInt32LE(at + 4);
    if (high > 0x1fffff) throw new RangeError(`integer above 2^53 at ${at}`);
    return high * 2 ** 32 + this.bytes.readUInt32LE(at);
  }
  /** Signed 64 bits as an exact double. */
  i64(): number {
    const at = this.#take(8);
    const value = this.bytes.readInt32LE(at + 4) * 2 ** 32 + this.bytes.readUInt32LE(at);
    if (!Number.isSafeInteger(value)) throw new RangeError(`integer beyond ±2^53 at ${at}`);
    return value;
  }
  /** Unsigned 64 bits, all of them. */
  big64(): bigint {
    return this.bytes.readBigUInt64LE(this.#take(8));
  }
  /** A view (not a copy) of the next `n` bytes. */
  raw(n: number): Buffer {
    const at = this.#take(n);
    return this.bytes.subarray(at, at + n);
  }
  /** Bytes behind a u32 length, as a view. */
  sized(): Buffer {
    return this.raw(this.u32());
  }
  /** Byte string (one char per byte) behind a u16 length. */
  latin1(): string {
    const n = this.u16();
    const at = this.#take(n);
    return this.bytes.latin1Slice(at, at + n);
  }
}

/** Writes little-endian fields in order into a buffer that grows. */
export class ByteWriter {
  bytes: Buffer;
  at = 0;

  constructor(capacity = 256) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  /** Makes room for `n` more bytes and returns where they start. */
  reserve(n: number): number {
    const at = this.at;
    const need = at + n;
    if (need > this.bytes.length) {
      const bigger = Buffer.allocUnsafe(Math.max(need, this.bytes.length * 2));
      this.bytes.copy(bigger, 0, 0, at);
      this.bytes = bigger;
    }
    this.at = need;
    return at;
  }

  u8(value: number): this {
    // `reserve` may replace `bytes`: it must run before `bytes` is looked at.
    const at = this.reserve(1);
    this.bytes[at] = value;
    return this;
  }
  u16(value: number): this {
    const at = this.reserve(2);
    this.bytes.writeUInt16LE(value, at);
    return this;
  }
  u32(value: number): this {
    const at = this.reserve(4);
    this.bytes.writeUInt32LE(value, at);
    return this;
  }
  u64(value: number): this {
    const at = this.reserve(8);
    this.bytes.writeUInt32LE(value % 2 ** 32, at);
    this.bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
    return this;
  }
  i64(value: number): this {
    const at = this.reserve(8);
    const high = Math.floor(value / 2 ** 32);
    this.bytes.writeUInt32LE(value - high * 2 ** 32, at);
    this.bytes.writeInt32LE(high, at + 4);
    return this;
  }
  big64(value: bigint): this {
    const at = this.reserve(8);
    this.bytes.writeBigUInt64LE(value, at);
    return this;
  }
  raw(value: Uint8Array): this {
    const at = this.reserve(value.length);
    this.bytes.set(value, at);
    return this;
  }
  sized(value: Uint8Array): this {
    return this.u32(value.length).raw(value);
  }
  latin1(value: string): this {
    this.u16(value.length);
    const at = this.reserve(value.length);
    this.bytes.latin1Write(value, at, value.length);
    return this;
  }
  /** What was written, as a view; valid until the next write. */
  done(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
  /** What was written, as a copy of its own. */
  copy(): Buffer {
    return Buffer.from(this.done());
  }
  /** Starts again at 0, keeping the memory. */
  reset(): this {
    this.at = 0;
    return this;
  }
}
