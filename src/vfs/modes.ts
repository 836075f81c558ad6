/**
 * Mode bits and the flags of the file system interface, by value. The room may import types only
 * from fuse, so each flag is typed as the constant there: the compiler keeps them equal.
 */
import type {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../fuse/filesystem.ts';

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_IXGRP = 0o0010;
/** Everything of a mode but the type. */
export const PERMISSIONS = 0o7777;

/** Of open(2); with O_TMPFILE: never to get a name. */
export const O_EXCL = 0o200;

export const CACHED_WRITE: typeof WRITE_CACHE = 1;
export const KILL_SUIDGID: typeof WRITE_KILL_SUIDGID = 4;
export const NOREPLACE: typeof RENAME_NOREPLACE = 1;
export const EXCHANGE: typeof RENAME_EXCHANGE = 2;
export const CREATE_ONLY: typeof XATTR_CREATE = 1;
export const REPLACE_ONLY: typeof XATTR_REPLACE = 2;
export const KEEP_SIZE: typeof FALLOC_KEEP_SIZE = 0x01;
export const PUNCH_HOLE: typeof FALLOC_PUNCH_HOLE = 0x02;
export const ZERO_RANGE: typeof FALLOC_ZERO_RANGE = 0x10;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Is it a directory? */
export const isDir = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR;
/** Is it a regular file? */
export const isFile = (mode: number): boolean => (mode & S_IFMT) === S_IFREG;
/** DT_*: the type as directory entries carry it. */
export const typeOf = (mode: number): number => (mode & S_IFMT) >> 12;

/** The mode without privileges: suid always goes, sgid only where it means one (group-executable). */
export const withoutPrivileges = (mode: number): number =>
  (mode & S_IXGRP) === 0 ? mode & ~S_ISUID : mode & ~(S_ISUID | S_ISGID);
