import '../base/latin1.ts';

/**
 * The reply buffer: every answer is encoded here and sent before anything else runs. Positions
 * are bytes from the start of the buffer; a body starts behind fuse_out_header.
 */
import type { Ino, Name } from '../base/ids.ts';
import type { Attr, Shown } from './filesystem.ts';
import { BLOCK_BYTES, DIRENT_BYTES, OUT_HEADER_BYTES, STATX_ALL, TRUST_SECONDS } from './wire.ts';

const TWO_32 = 2 ** 32;
const S_IFMT = 0o170000;
/** A name of at most so many bytes is written one by one: a call into Node.js takes longer. */
const SHORT_NAME_BYTES = 32;

/** Writes integers and structures of the protocol. */
export class Reply {
  readonly buffer: Buffer;
  readonly #words: Uint32Array;
  /** Bytes that are sent behind the buffer's instead of being copied into it. */
  views: Buffer[] | undefined;

  readonly #uid: number | undefined;
  readonly #gid: number | undefined;
  /** Permissions of every inode; undefined: its own. */
  readonly #permissions: number | undefined;

  /** `buffer`: the device's reply buffer, aligned to 4 bytes. */
  constructor(buffer: Buffer, shown: Shown = {}) {
    this.buffer = buffer;
    this.#uid = shown.uid;
    this.#gid = shown.gid;
    this.#permissions = shown.umask === undefined ? undefined : 0o777 & ~shown.umask;
    this.#words = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >> 2);
  }

  /** Bytes that a body may have. */
  get room(): number {
    return this.buffer.length - OUT_HEADER_BYTES;
  }

  /** fuse_out_header; `error` is 0 or a negative errno. */
  header(length: number, error: number, uniqueLow: number, uniqueHigh: number): void {
    const words = this.#words;
    words[0] = length;
    words[1] = error;
    words[2] = uniqueLow;
    words[3] = uniqueHigh;
  }

  u32(at: number, value: number): void {
    this.#words[at >> 2] = value;
  }
  /** A safe integer, negative ones in two's complement. */
  u64(at: number, value: number): void {
    const word = at >> 2;
    const high = Math.floor(value / TWO_32);
    this.#words[word] = value - high * TWO_32;
    this.#words[word + 1] = high;
  }
  readU32(at: number): number {
    return this.#words[at >> 2]!;
  }
  readU64(at: number): number {
    return this.#words[(at >> 2) + 1]! * TWO_32 + this.#words[at >> 2]!;
  }
  zero(from: number, to: number): void {
    this.#words.fill(0, from >> 2, to >> 2);
  }

  /** fuse_attr. */
  attr(at: number, attr: Attr): void {
    this.u64(at, attr.ino);
    this.u64(at + 8, attr.size);
    this.u64(at + 16, attr.blocks);
    this.u64(at + 24, attr.atime);
    this.u64(at + 32, attr.mtime);
    this.u64(at + 40, attr.ctime);
    const words = this.#words;
    const word = (at >> 2) + 12;
    words[word] = attr.atimeNs;
    words[word + 1] = attr.mtimeNs;
    words[word + 2] = attr.ctimeNs;
    words[word + 3] = this.#mode(attr.mode);
    words[word + 4] = attr.nlink;
    words[word + 5] = this.#uid ?? attr.uid;
    words[word + 6] = this.#gid ?? attr.gid;
    words[word + 7] = attr.rdev;
    words[word + 8] = BLOCK_BYTES;
    words[word + 9] = 0;
  }

  /** fuse_statx. */
  statx(at: number, attr: Attr): void {
    this.u32(at, STATX_ALL);
    this.u32(at + 4, BLOCK_BYTES);
    this.u64(at + 8, 0);
    this.u32(at + 16, attr.nlink);
    this.u32(at + 20, this.#uid ?? attr.uid);
    this.u32(at + 24, this.#gid ?? attr.gid);
    this.u32(at + 28, this.#mode(attr.mode));
    this.u64(at + 32, attr.ino);
    this.u64(at + 40, attr.size);
    this.u64(at + 48, attr.blocks);
    this.u64(at + 56, 0);
    this.#time(at + 64, attr.atime, attr.atimeNs);
    this.#time(at + 80, attr.btime, attr.btimeNs);
    this.#time(at + 96, attr.ctime, attr.ctimeNs);
    this.#time(at + 112, attr.mtime, attr.mtimeNs);
    this.u32(at + 128, (attr.rdev >>> 8) & 0xfff);
    this.u32(at + 132, (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xf_ff00));
    this.zero(at + 136, at + 256);
  }

  #mode(mode: number): number {
    return this.#permissions === undefined ? mode : (mode & S_IFMT) | this.#permissions;
  }

  /** fuse_sx_time. */
  #time(at: number, seconds: number, nanoseconds: number): void {
    this.u64(at, seconds);
    this.u32(at + 8, nanoseconds);
    this.u32(at + 12, 0);
  }

  /** fuse_entry_out. Inode numbers are never reused, so the generation is always 0. */
  entry(at: number, attr: Attr): void {
    this.u64(at, attr.ino);
    this.u64(at + 8, 0);
    this.u64(at + 16, TRUST_SECONDS);
    this.u64(at + 24, TRUST_SECONDS);
    this.u64(at + 32, 0);
    this.attr(at + 40, attr);
  }

  /** fuse_dirent and its name, padded; returns where the next one starts. */
  dirent(at: number, ino: Ino, cookie: number, type: number, name: Name): number {
    this.u64(at, ino);
    this.u64(at + 8, cookie);
    this.u32(at + 16, name.length);
    this.u32(at + 20, type);
    const end = at + DIRENT_BYTES + name.length;
    const next = (end + 7) & ~7;
    this.#words[(next >> 2) - 2] = 0;
    this.#words[(next >> 2) - 1] = 0;
    this.#name(at + DIRENT_BYTES, name);
    return next;
  }

  #name(at: number, name: Name): void {
    if (name.length > SHORT_NAME_BYTES) this.buffer.latin1Write(name, at, name.length);
    else for (let i = 0; i < name.length; i++) this.buffer[at + i] = name.charCodeAt(i);
  }
}
