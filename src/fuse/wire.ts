/**
 * Numbers of the kernel's FUSE protocol, version 7 (linux/fuse.h of Linux 6.18, minor 45):
 * operations, flags and sizes of structures. Integers are in the machine's own byte order.
 */

/** Operations; a name is also the key under which `status` counts it. */
export const Op = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** Operations are below this number; anything else is counted together at 0. */
export const OPS_END = 64;

/** Flags of INIT, bits 0–31. */
export const Init = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** Flags of INIT, bits 32–63. */
export const Init2 = { HAS_RESEND: 1 << 7 } as const;

/** Bit of the high half of a request's number: it was sent before, to a daemon that gave no answer. */
export const RESENT = 0x8000_0000;

/** Fields that a SETATTR sets. */
export const Fattr = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** Codes of notifications. */
export const Notify = { INVAL_INODE: 2, INVAL_ENTRY: 3, RESEND: 7 } as const;

/** FOPEN_KEEP_CACHE: opening does not drop cached pages. */
export const OPEN_KEEP_CACHE = 2;
/** FUSE_FSYNC_FDATASYNC. */
export const FSYNC_DATA_ONLY = 1;

/** FUSE_SETXATTR_ACL_KILL_SGID. */
export const SETXATTR_ACL_KILL_SGID = 1;

/** Bytes of fuse_in_header and fuse_out_header. */
export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;
/** Bytes of fuse_attr, fuse_entry_out, fuse_attr_out, fuse_open_out, fuse_dirent without its name. */
export const ATTR_BYTES = 88;
export const ENTRY_BYTES = 40 + ATTR_BYTES;
export const ATTR_OUT_BYTES = 16 + ATTR_BYTES;
export const OPEN_OUT_BYTES = 16;
export const DIRENT_BYTES = 24;
/** Bytes of fuse_statx_out, and where fuse_statx starts in it. */
export const STATX_OUT_BYTES = 288;
export const STATX_AT = 32;
/** STATX_BASIC_STATS | STATX_BTIME. */
export const STATX_ALL = 0xfff;

/** Seconds for which the kernel may trust names and attributes: this daemon is the only writer. */
export const TRUST_SECONDS = 86_400;
/** Block size that stat(2) reports. */
export const BLOCK_BYTES = 4096;
