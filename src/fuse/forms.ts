/**
 * How each kind of answer looks on the wire. A form encodes behind fuse_out_header and returns
 * the body's length, or a negative errno; an answer that counted a lookup takes it back if the
 * kernel did not receive it.
 */
import { Errno } from '../base/errno.ts';
import type { Name } from '../base/ids.ts';
import type { Attr, Filesystem, StatFs } from './filesystem.ts';
import type { Reply } from './reply.ts';
import {
  ATTR_BYTES,
  ATTR_OUT_BYTES,
  OUT_HEADER_BYTES as BODY,
  ENTRY_BYTES,
  OPEN_KEEP_CACHE,
  OPEN_OUT_BYTES,
  STATX_AT,
  STATX_OUT_BYTES,
  TRUST_SECONDS,
} from './wire.ts';

/** Encoding of answers of type T; `arg` is what the request said about it (mostly a size). */
export interface Form<T> {
  /** Body bytes, or a negative errno. */
  encode(reply: Reply, value: T, arg: number): number;
  /** Takes back what the answer counted; `reply` still holds it if it was sent. */
  undo?(fs: Filesystem, value: T, reply: Reply): void;
  /** ENOENT becomes an entry without inode, which the kernel remembers. */
  readonly negative?: true;
}

/** Bytes up to which a READ is copied into the reply instead of being sent as views. */
const COPY_BYTES_MAX = 32 * 1024;
/** Views that one reply may have (the device's limit). */
const VIEWS_MAX = 1000;

/** 0: nothing but the header. */
export const EMPTY: Form<number> = { encode: () => 0 };

/** fuse_entry_out. */
export const ENTRY: Form<Attr> = {
  encode(reply, attr) {
    reply.entry(BODY, attr);
    return ENTRY_BYTES;
  },
  undo: (fs, attr) => fs.forget(attr.ino, 1),
};

/** fuse_entry_out of a LOOKUP: names that do not exist are cached, too. */
export const LOOKED_UP: Form<Attr> = { ...ENTRY, negative: true };

/** The entry of a name that does not exist. */
export const encodeNegative = (reply: Reply): number => {
  reply.zero(BODY, BODY + ENTRY_BYTES);
  reply.u64(BODY + 16, TRUST_SECONDS);
  return ENTRY_BYTES;
};

/** fuse_entry_out and fuse_open_out. */
export const CREATED: Form<Attr> = {
  encode(reply, attr) {
    reply.entry(BODY, attr);
    reply.zero(BODY + ENTRY_BYTES, BODY + ENTRY_BYTES + OPEN_OUT_BYTES);
    reply.u32(BODY + ENTRY_BYTES + 8, OPEN_KEEP_CACHE);
    return ENTRY_BYTES + OPEN_OUT_BYTES;
  },
  undo: (fs, attr) => fs.forget(attr.ino, 1),
};

/** fuse_attr_out. */
export const ATTR: Form<Attr> = {
  encode(reply, attr) {
    reply.u64(BODY, TRUST_SECONDS);
    reply.u64(BODY + 8, 0);
    reply.attr(BODY + ATTR_OUT_BYTES - ATTR_BYTES, attr);
    return ATTR_OUT_BYTES;
  },
};

/** fuse_statx_out: the attributes, and the time of birth. */
export const STATX: Form<Attr> = {
  encode(reply, attr) {
    reply.u64(BODY, TRUST_SECONDS);
    reply.zero(BODY + 8, BODY + STATX_AT);
    reply.statx(BODY + STATX_AT, attr);
    return STATX_OUT_BYTES;
  },
};

/** Bytes as they are (READLINK). */
export const BYTES: Form<Buffer> = {
  encode(reply, value) {
    if (value.length > reply.room) return -Errno.EIO;
    reply.buffer.set(value, BODY);
    return value.length;
  },
};

/** Content of a READ, at most `arg` bytes: small ones copied, large ones sent from where they are. */
export const CONTENT: Form<Buffer[]> = {
  encode(reply, views, size) {
    let total = 0;
    for (const view of views) total += view.length;
    if (total > size || total > reply.room) return -Errno.EIO;
    if (total > COPY_BYTES_MAX && views.length <= VIEWS_MAX) {
      reply.views = views;
      return total;
    }
    let at = BODY;
    for (const view of views) {
      reply.buffer.set(view, at);
      at += view.length;
    }
    return total;
  },
};

/** fuse_write_out. */
export const WRITTEN: Form<number> = {
  encode(reply, bytes) {
    reply.u64(BODY, bytes);
    return 8;
  },
};

/** One integer of 64 bits: fuse_lseek_out, fuse_copy_file_range_out. */
export const NUMBER: Form<number> = WRITTEN;

/** fuse_statfs_out. */
export const STATFS: Form<StatFs> = {
  encode(reply, value) {
    reply.u64(BODY, value.blocks);
    reply.u64(BODY + 8, value.bfree);
    reply.u64(BODY + 16, value.bavail);
    reply.u64(BODY + 24, value.files);
    reply.u64(BODY + 32, value.ffree);
    reply.u32(BODY + 40, value.bsize);
    reply.u32(BODY + 44, value.namelen);
    reply.u32(BODY + 48, value.bsize);
    reply.zero(BODY + 52, BODY + 80);
    return 80;
  },
};

/** `bytes` written behind the header, or only their number if the caller offered no room. */
const sized = (reply: Reply, bytes: number, room: number, write: () => void): number => {
  if (room === 0) {
    reply.u64(BODY, bytes);
    return 8;
  }
  if (bytes > room) return -Errno.ERANGE;
  if (bytes > reply.room) return -Errno.E2BIG;
  write();
  return bytes;
};

/** Value of an extended attribute for a caller with room for `arg` bytes. */
export const XATTR: Form<Buffer> = {
  encode: (reply, value, room) =>
    sized(reply, value.length, room, () => reply.buffer.set(value, BODY)),
};

/** Names of extended attributes, each with a NUL, for a caller with room for `arg` bytes. */
export const XATTR_NAMES: Form<Name[]> = {
  encode(reply, names, room) {
    let bytes = 0;
    for (const name of names) bytes += name.length + 1;
    return sized(reply, bytes, room, () => {
      let at = BODY;
      for (const name of names) {
        reply.buffer.latin1Write(name, at, name.length);
        at += name.length;
        reply.buffer[at++] = 0;
      }
    });
  },
};
