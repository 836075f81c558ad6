/**
 * INIT: what this file system wants of the kernel. Each feature stands by itself; a kernel that
 * lacks one gets the rest. ATOMIC_O_TRUNC is never asked for (without OPEN, O_TRUNC would be
 * lost), nor locks (the kernel's own do). The umask is the file system's to apply, since a directory's
 * default access control list stands in its place.
 */
import { FUSE_IO_BYTES_MAX, PAGE_BYTES } from '../base/limits.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';
import { OUT_HEADER_BYTES as BODY, Init, Init2 } from './wire.ts';

const MAJOR = 7;
/** Linux 5.4. */
const MINOR_MIN = 31;
/** What wire.ts describes. */
const MINOR_MAX = 45;
/** Requests that the kernel may have under way on its own account (read-ahead, write-back). */
const BACKGROUND_MAX = 64;
const BACKGROUND_CONGESTED = 48;
const INIT_OUT_BYTES = 64;
/** A request this long has flags2. */
const EXTENDED_BYTES = 60;

/** Without ASYNC_DIO: a direct write of libaio or io_uring would leave what a reader beside it had put into the page cache. */
const WANTED =
  Init.ASYNC_READ |
  Init.BIG_WRITES |
  Init.DONT_MASK |
  Init.DO_READDIRPLUS |
  Init.READDIRPLUS_AUTO |
  Init.WRITEBACK_CACHE |
  Init.PARALLEL_DIROPS |
  Init.POSIX_ACL |
  Init.ABORT_ERROR |
  Init.MAX_PAGES |
  Init.CACHE_SYMLINKS |
  Init.EXPLICIT_INVAL_DATA |
  Init.HANDLE_KILLPRIV_V2 |
  Init.SETXATTR_EXT |
  Init.INIT_EXT;

/** What was agreed on: the same for every daemon of a mount, since the kernel asks only once. */
export interface Agreement {
  readonly minor: number;
  readonly flags: number;
  /** Flags of Init2. */
  readonly flags2: number;
}

/** Before INIT. */
export const NOTHING_AGREED: Agreement = { minor: 0, flags: 0, flags2: 0 };

/** Can the kernel give the requests of a daemon that died to the next one (Linux 6.9)? */
export const canResend = ({ flags2 }: Agreement): boolean => (flags2 & Init2.HAS_RESEND) !== 0;

/** Reads fuse_init_in and encodes the answer; undefined if the kernel is too old. `without`: features that this mount does not want. */
export const agree = (
  request: Request,
  reply: Reply,
  without = 0,
): { agreement: Agreement; bytes: number } | undefined => {
  const major = request.u32(40);
  const minor = Math.min(request.u32(44), MINOR_MAX);
  if (major < MAJOR || (major === MAJOR && minor < MINOR_MIN)) return undefined;
  reply.zero(BODY, BODY + INIT_OUT_BYTES);
  reply.u32(BODY, MAJOR);
  // A newer major version asks again once it has seen ours.
  if (major > MAJOR) return { agreement: NOTHING_AGREED, bytes: INIT_OUT_BYTES };
  const flags = request.u32(52) & WANTED & ~without;
  const isExtended = (flags & Init.INIT_EXT) !== 0 && request.length >= EXTENDED_BYTES;
  const flags2 = isExtended ? request.u32(56) & Init2.HAS_RESEND : 0;
  reply.u32(BODY + 4, minor);
  reply.u32(BODY + 8, request.u32(48));
  reply.u32(BODY + 12, flags);
  reply.u32(BODY + 16, BACKGROUND_MAX | (BACKGROUND_CONGESTED << 16));
  reply.u32(BODY + 20, FUSE_IO_BYTES_MAX);
  reply.u32(BODY + 24, 1);
  reply.u32(BODY + 28, FUSE_IO_BYTES_MAX / PAGE_BYTES);
  reply.u32(BODY + 32, flags2);
  return { agreement: { minor, flags, flags2 }, bytes: INIT_OUT_BYTES };
};
