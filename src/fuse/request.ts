import '../base/latin1.ts';

/**
 * The request in the device's buffer, decoded in place. Positions are bytes from its start and
 * multiples of 4 for integers. Integers of 64 bits are exact doubles, or Infinity where they are
 * not, so that every comparison with a limit refuses them. Nothing here reads beyond `length`.
 */
import { Errno } from '../base/errno.ts';
import { type Ino, type Name, ROOT_INO } from '../base/ids.ts';
import { NAME_BYTES_MAX } from '../base/limits.ts';
import { IN_HEADER_BYTES } from './wire.ts';

const TWO_32 = 2 ** 32;
/** High half of the first integer that is no exact double. */
const HIGH_END = 0x20_0000;

/** A request that is answered with an errno before the file system is asked: cut off, senseless, too large. */
export class Refused extends Error {
  readonly errno: number;

  constructor(errno: number = Errno.EINVAL) {
    super();
    this.errno = errno;
  }
}

/** A cursor-free view of one request. */
export class Request {
  readonly buffer: Buffer;
  readonly #words: Uint32Array;
  length = 0;

  /** `buffer`: the device's request buffer, aligned to 4 bytes. */
  constructor(buffer: Buffer) {
    this.buffer = buffer;
    this.#words = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >> 2);
  }

  /** Takes the request of `length` bytes that was just read. */
  load(length: number): void {
    this.length = length;
  }

  get op(): number {
    return this.#words[1]!;
  }
  get uniqueLow(): number {
    return this.#words[2]!;
  }
  get uniqueHigh(): number {
    return this.#words[3]!;
  }
  /** Inode that the request is about; Infinity if it is none of ours. */
  get ino(): Ino {
    return this.u64(16);
  }
  get uid(): number {
    return this.#words[6]!;
  }
  get gid(): number {
    return this.#words[7]!;
  }
  get pid(): number {
    return this.#words[8]!;
  }

  /** Throws unless the request has at least `bytes` behind its header. */
  need(bytes: number): void {
    if (this.length < IN_HEADER_BYTES + bytes) throw new Refused();
  }

  u32(at: number): number {
    return this.#words[at >> 2]!;
  }
  /** Unsigned; Infinity above 2^53−1. */
  u64(at: number): number {
    const high = this.#words[(at >> 2) + 1]!;
    if (high >= HIGH_END) return Number.POSITIVE_INFINITY;
    return high * TWO_32 + this.#words[at >> 2]!;
  }
  /** Signed seconds; what no double holds exactly becomes the nearest that one does. */
  seconds(at: number): number {
    const value = (this.#words[(at >> 2) + 1]! | 0) * TWO_32 + this.#words[at >> 2]!;
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
  }

  /** Position of the NUL that ends the string at `at`. */
  end(at: number): number {
    const end = at < this.length ? this.buffer.indexOf(0, at) : -1;
    if (end < 0 || end >= this.length) throw new Refused();
    return end;
  }
  /** The string that ends the request, for names of files. */
  lastName(at: number): Name {
    const end = this.length - 1;
    if (this.buffer[end] !== 0) throw new Refused();
    return this.name(at, end);
  }
  /** A string that more follows, NUL at `end`. */
  name(at: number, end: number): Name {
    if (end <= at) throw new Refused();
    if (end - at > NAME_BYTES_MAX) throw new Refused(Errno.ENAMETOOLONG);
    return this.buffer.latin1Slice(at, end);
  }
  /** A view of `bytes` bytes, valid until the next request. */
  view(at: number, bytes: number): Buffer {
    if (!(at + bytes <= this.length)) throw new Refused();
    return this.buffer.subarray(at, at + bytes);
  }
}

/** True for inode numbers that the kernel can have from us. */
export const isIno = (ino: number): boolean => ino >= ROOT_INO && ino <= Number.MAX_SAFE_INTEGER;
