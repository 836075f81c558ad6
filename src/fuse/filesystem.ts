/**
 * What a file system answers to the kernel, in terms of inodes. The session decodes requests,
 * calls these, and encodes the answers. A result is a value, a negative errno (expected outcomes
 * are returned, not thrown), or a promise of either; the hot path returns synchronously. Views of
 * the request (`data`) are valid only until the call returns.
 *
 * Protocol facts this interface relies on (DESIGN §4): writeback cache is on; OPEN, OPENDIR and
 * FLUSH are answered ENOSYS by the session, so there are no handles and no RELEASE.
 */
import type { Ino, Name } from '../base/ids.ts';

/** Attributes of an inode as the kernel wants them; the index's inode objects fit this shape. */
export interface Attr {
  readonly ino: Ino;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Device number of a device node, Linux' 32-bit encoding; else 0. */
  readonly rdev: number;
  readonly size: number;
  /** Number of 512-byte units in use. */
  readonly blocks: number;
  /** Seconds since 1970 (may be negative) and nanoseconds, for each time. */
  readonly atime: number;
  readonly atimeNs: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  readonly ctime: number;
  readonly ctimeNs: number;
  readonly btime: number;
  readonly btimeNs: number;
}

/** What a mount shows in the place of what is stored: of every inode the same. */
export interface Shown {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Permissions are all but these bits. */
  readonly umask?: number | undefined;
}

/** One name of a directory listing. */
export interface DirEntry {
  readonly name: Name;
  readonly ino: Ino;
  /** S_IFMT bits of the mode, shifted right by 12 (DT_*). */
  readonly type: number;
  /** Position after this entry: what the next readdir passes as `cookie`. */
  readonly cookie: number;
}

/** Who asks, and how to learn that it no longer wants the answer. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** A descriptor that can be read while others wait to be served; −1: unknown. */
  readonly company: number;
  /** The kernel's number of the request, for logs. */
  readonly unique: bigint;
  /** Aborted when the kernel interrupts the request (FUSE_INTERRUPT); made on first use. */
  readonly signal: AbortSignal;
}

/** The fields of a SETATTR that are to be set; times as seconds and nanoseconds, or 'now'. */
export interface SetAttr {
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  atime?: number | 'now';
  atimeNs?: number;
  mtime?: number | 'now';
  mtimeNs?: number;
  ctime?: number;
  ctimeNs?: number;
  /** Drop suid, sgid (group-executable) and security.capability (HANDLE_KILLPRIV_V2). */
  killPriv?: boolean;
}

/** Answer to STATFS; sizes in units of `bsize`. */
export interface StatFs {
  bsize: number;
  blocks: number;
  bfree: number;
  bavail: number;
  files: number;
  ffree: number;
  namelen: number;
}

/** A value or a negative errno, now or later. */
export type Answer<T> = T | number | Promise<T | number>;
/** 0 or a negative errno, now or later. */
export type Outcome = number | Promise<number>;

/** Flags of FUSE_WRITE. */
export const WRITE_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
/** Flags of RENAME. */
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
/** Flags of setxattr. */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
/** Modes of fallocate. */
export const FALLOC_KEEP_SIZE = 0x01;
export const FALLOC_PUNCH_HOLE = 0x02;
export const FALLOC_ZERO_RANGE = 0x10;

/** A file system. Every entry returned by lookup, mknod, mkdir, symlink, link, create, tmpfile and readdirplus counts one lookup, which `forget` gives back. */
export interface Filesystem {
  lookup(caller: Caller, parent: Ino, name: Name): Answer<Attr>;
  forget(ino: Ino, lookups: number): void;
  getattr(caller: Caller, ino: Ino): Answer<Attr>;
  setattr(caller: Caller, ino: Ino, changes: SetAttr): Answer<Attr>;
  readlink(caller: Caller, ino: Ino): Answer<Buffer>;
  mknod(
    caller: Caller,
    parent: Ino,
    name: Name,
    mode: number,
    rdev: number,
    umask: number,
  ): Answer<Attr>;
  mkdir(caller: Caller, parent: Ino, name: Name, mode: number, umask: number): Answer<Attr>;
  symlink(caller: Caller, parent: Ino, name: Name, target: Buffer): Answer<Attr>;
  link(caller: Caller, ino: Ino, parent: Ino, name: Name): Answer<Attr>;
  unlink(caller: Caller, parent: Ino, name: Name): Outcome;
  rmdir(caller: Caller, parent: Ino, name: Name): Outcome;
  rename(
    caller: Caller,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Outcome;
  /** A regular file, made and opened; `flags` as of open(2). */
  create(
    caller: Caller,
    parent: Ino,
    name: Name,
    mode: number,
    flags: number,
    umask: number,
  ): Answer<Attr>;
  /** A regular file without a name, opened (O_TMPFILE); `flags` as of open(2). */
  tmpfile(caller: Caller, parent: Ino, mode: number, flags: number, umask: number): Answer<Attr>;
  /** Up to `size` bytes as views that are sent before anything else runs; short at end of file. */
  read(caller: Caller, ino: Ino, offset: number, size: number): Answer<Buffer[]>;
  /** Bytes written (all of them) or a negative errno. */
  write(caller: Caller, ino: Ino, offset: number, data: Buffer, flags: number): Answer<number>;
  fsync(caller: Caller, ino: Ino, dataOnly: boolean): Outcome;
  fsyncdir(caller: Caller, ino: Ino): Outcome;
  /** Entries behind `cookie` (0 = from the start), `.` and `..` not among them, at most about `limit`. */
  readdir(caller: Caller, ino: Ino, cookie: number, limit: number): Answer<DirEntry[]>;
  /** Attributes for readdirplus; counts one lookup. undefined if the inode is gone. */
  readdirAttr(ino: Ino): Attr | undefined;
  /** Parent of a directory, for `..`. */
  parentOf(ino: Ino): Ino;
  statfs(caller: Caller): Answer<StatFs>;
  getxattr(caller: Caller, ino: Ino, name: Name): Answer<Buffer>;
  /** `dropsSgid`: setting this access control list takes the inode's sgid bit. */
  setxattr(
    caller: Caller,
    ino: Ino,
    name: Name,
    value: Buffer,
    flags: number,
    dropsSgid?: boolean,
  ): Outcome;
  listxattr(caller: Caller, ino: Ino): Answer<Name[]>;
  removexattr(caller: Caller, ino: Ino, name: Name): Outcome;
  fallocate(caller: Caller, ino: Ino, offset: number, length: number, mode: number): Outcome;
  /** Position, or a negative errno; whence is SEEK_DATA (3) or SEEK_HOLE (4). */
  lseek(caller: Caller, ino: Ino, offset: number, whence: number): Answer<number>;
  copyFileRange(
    caller: Caller,
    from: Ino,
    fromOffset: number,
    to: Ino,
    toOffset: number,
    length: number,
  ): Answer<number>;
  /** The kernel unmounted (DESTROY) or the connection ended. */
  destroy(): void;
}

/** The operations that change something: each leaves one record in the log, or none. */
export type Changes = Pick<
  Filesystem,
  | 'setattr'
  | 'mknod'
  | 'mkdir'
  | 'symlink'
  | 'link'
  | 'unlink'
  | 'rmdir'
  | 'rename'
  | 'create'
  | 'tmpfile'
  | 'write'
  | 'setxattr'
  | 'removexattr'
  | 'fallocate'
  | 'copyFileRange'
>;
