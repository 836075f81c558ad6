/**
 * One function an operation: takes its fields out of the request, asks the file system, and
 * hands the answer on with its form. Fields stand behind the header of 40 bytes; `need` is the
 * fixed part of each, checked before the function runs.
 */
import { Errno } from '../base/errno.ts';
import { failpoint } from '../base/failpoints.ts';
import { FILE_BYTES_MAX, FUSE_IO_BYTES_MAX } from '../base/limits.ts';
import type { RequestCaller } from './caller.ts';
import type { Answer, Changes, Filesystem, SetAttr } from './filesystem.ts';
import {
  ATTR,
  BYTES,
  CONTENT,
  CREATED,
  EMPTY,
  ENTRY,
  type Form,
  LOOKED_UP,
  NUMBER,
  STATFS,
  STATX,
  WRITTEN,
  XATTR,
  XATTR_NAMES,
} from './forms.ts';
import type { Agreement } from './init.ts';
import { Listing } from './listing.ts';
import { isIno, Refused, type Request } from './request.ts';
import { Fattr, FSYNC_DATA_ONLY, Init, OPS_END, Op, SETXATTR_ACL_KILL_SGID } from './wire.ts';

/** What an operation sees of the session. */
export interface Exchange {
  readonly fs: Filesystem;
  /** Who makes the changes that the request at hand asks for. */
  readonly changes: Changes;
  readonly request: Request;
  readonly caller: RequestCaller;
  readonly agreement: Agreement;
  /** Answers the request, now or when the promise settles. */
  answer<T>(answer: Answer<T>, form: Form<T>, arg?: number): void;
  /** INIT. */
  agree(): void;
  /** INTERRUPT of the request with this number. */
  interrupt(uniqueLow: number, uniqueHigh: number): void;
}

/** An operation and the bytes that it needs behind the header. */
export interface Operation {
  readonly need: number;
  readonly run: (x: Exchange) => void;
}

const fail =
  (errno: number): ((x: Exchange) => void) =>
  x =>
    x.answer(-errno, EMPTY);

/** A chown(2) that names neither owner nor group, of which the kernel passes on the time at most: it drops privileges nevertheless. */
const isBareChown = (valid: number): boolean => (valid & ~(Fattr.FH | Fattr.CTIME)) === 0;

const setattr = (x: Exchange): void => {
  const { request, caller } = x;
  const valid = request.u32(40);
  const changes: SetAttr = {};
  if (valid & Fattr.MODE) changes.mode = request.u32(108);
  if (valid & Fattr.UID) changes.uid = request.u32(116);
  if (valid & Fattr.GID) changes.gid = request.u32(120);
  if (valid & Fattr.SIZE) {
    changes.size = request.u64(56);
    if (changes.size > FILE_BYTES_MAX) throw new Refused(Errno.EFBIG);
  }
  if (valid & Fattr.ATIME_NOW) changes.atime = 'now';
  else if (valid & Fattr.ATIME) {
    changes.atime = request.seconds(72);
    changes.atimeNs = request.u32(96);
  }
  if (valid & Fattr.MTIME_NOW) changes.mtime = 'now';
  else if (valid & Fattr.MTIME) {
    changes.mtime = request.seconds(80);
    changes.mtimeNs = request.u32(100);
  }
  if (valid & Fattr.CTIME) {
    changes.ctime = request.seconds(88);
    changes.ctimeNs = request.u32(104);
  }
  if (valid & Fattr.KILL_SUIDGID || isBareChown(valid)) changes.killPriv = true;
  x.answer(x.changes.setattr(caller, request.ino, changes), ATTR);
};

const symlink = (x: Exchange): void => {
  const { request } = x;
  const end = request.end(40);
  const targetEnd = request.end(end + 1);
  const target = request.view(end + 1, targetEnd - end - 1);
  x.answer(x.changes.symlink(x.caller, request.ino, request.name(40, end), target), ENTRY);
};

const rename = (x: Exchange, at: number, flags: number): void => {
  const { request } = x;
  const newParent = request.u64(40);
  if (!isIno(newParent)) throw new Refused(Errno.EINVAL);
  const end = request.end(at);
  const name = request.name(at, end);
  const newName = request.lastName(end + 1);
  x.answer(x.changes.rename(x.caller, request.ino, name, newParent, newName, flags), EMPTY);
};

const link = (x: Exchange): void => {
  const { request } = x;
  const ino = request.u64(40);
  if (!isIno(ino)) throw new Refused(Errno.EINVAL);
  x.answer(x.changes.link(x.caller, ino, request.ino, request.lastName(48)), ENTRY);
};

const read = (x: Exchange): void => {
  const { request } = x;
  const offset = request.u64(48);
  const size = Math.min(request.u32(56), FUSE_IO_BYTES_MAX);
  const isBehindAnyEnd = offset > FILE_BYTES_MAX;
  x.answer(isBehindAnyEnd ? [] : x.fs.read(x.caller, request.ino, offset, size), CONTENT, size);
};

const write = (x: Exchange): void => {
  const { request } = x;
  const offset = request.u64(48);
  const size = request.u32(56);
  if (offset + size > FILE_BYTES_MAX) throw new Refused(Errno.EFBIG);
  const data = request.view(80, size);
  x.answer(x.changes.write(x.caller, request.ino, offset, data, request.u32(60)), WRITTEN);
};

const setxattr = (x: Exchange): void => {
  const { request } = x;
  const isExtended = (x.agreement.flags & Init.SETXATTR_EXT) !== 0;
  const at = isExtended ? 56 : 48;
  const size = request.u32(40);
  const flags = request.u32(44);
  const end = request.end(at);
  const value = request.view(end + 1, size);
  const dropsSgid = isExtended && (request.u32(48) & SETXATTR_ACL_KILL_SGID) !== 0;
  const name = request.name(at, end);
  x.answer(x.changes.setxattr(x.caller, request.ino, name, value, flags, dropsSgid), EMPTY);
};

const readdir = (x: Exchange, plus: boolean): void => {
  const { request, fs } = x;
  const cookie = request.u64(48);
  if (cookie > Number.MAX_SAFE_INTEGER) throw new Refused(Errno.EINVAL);
  const listing = new Listing(fs, request.ino, cookie, request.u32(56), plus);
  x.answer(fs.readdir(x.caller, request.ino, listing.cookie, listing.limit), listing);
};

const batchForget = (x: Exchange): void => {
  const { request, fs } = x;
  const count = request.u32(40);
  request.need(8 + count * 16);
  for (let i = 0, at = 48; i < count; i++, at += 16) {
    const ino = request.u64(at);
    if (isIno(ino)) fs.forget(ino, request.u64(at + 8));
  }
};

const fallocate = (x: Exchange): void => {
  const { request } = x;
  const offset = request.u64(48);
  const length = request.u64(56);
  if (offset + length > FILE_BYTES_MAX) throw new Refused(Errno.EFBIG);
  x.answer(x.changes.fallocate(x.caller, request.ino, offset, length, request.u32(64)), EMPTY);
};

const lseek = (x: Exchange): void => {
  const { request } = x;
  const offset = request.u64(48);
  if (offset > FILE_BYTES_MAX) throw new Refused(Errno.ENXIO);
  x.answer(x.fs.lseek(x.caller, request.ino, offset, request.u32(56)), NUMBER);
};

const copyFileRange = (x: Exchange): void => {
  const { request } = x;
  const from = request.u64(48);
  const to = request.u64(56);
  const toOffset = request.u64(72);
  if (!isIno(to) || request.u64(88) !== 0) throw new Refused(Errno.EINVAL);
  if (toOffset >= FILE_BYTES_MAX) throw new Refused(Errno.EFBIG);
  const length = Math.min(request.u64(80), FILE_BYTES_MAX - toOffset);
  const isBehindAnyEnd = from > FILE_BYTES_MAX;
  x.answer(
    isBehindAnyEnd ? 0 : x.changes.copyFileRange(x.caller, request.ino, from, to, toOffset, length),
    NUMBER,
  );
};

const table: Operation[] = Array.from({ length: OPS_END }, () => ({
  need: 0,
  run: fail(Errno.ENOSYS),
}));
const on = (op: number, need: number, run: (x: Exchange) => void): void => {
  table[op] = { need, run };
};

on(Op.LOOKUP, 2, x =>
  x.answer(x.fs.lookup(x.caller, x.request.ino, x.request.lastName(40)), LOOKED_UP),
);
on(Op.FORGET, 8, x => {
  failpoint('fuse.forget');
  x.fs.forget(x.request.ino, x.request.u64(40));
});
on(Op.BATCH_FORGET, 8, x => {
  failpoint('fuse.forget');
  batchForget(x);
});
on(Op.GETATTR, 0, x => x.answer(x.fs.getattr(x.caller, x.request.ino), ATTR));
// Linux 6.6 and newer ask so for times of birth, once for each inode that they hold.
on(Op.STATX, 24, x => x.answer(x.fs.getattr(x.caller, x.request.ino), STATX));
on(Op.SETATTR, 88, setattr);
on(Op.READLINK, 0, x => x.answer(x.fs.readlink(x.caller, x.request.ino), BYTES));
on(Op.SYMLINK, 4, symlink);
on(Op.MKNOD, 18, x => {
  const r = x.request;
  const name = r.lastName(56);
  x.answer(x.changes.mknod(x.caller, r.ino, name, r.u32(40), r.u32(44), r.u32(48)), ENTRY);
});
on(Op.MKDIR, 10, x => {
  const r = x.request;
  x.answer(x.changes.mkdir(x.caller, r.ino, r.lastName(48), r.u32(40), r.u32(44)), ENTRY);
});
on(Op.CREATE, 18, x => {
  const r = x.request;
  const name = r.lastName(56);
  x.answer(x.changes.create(x.caller, r.ino, name, r.u32(44), r.u32(40), r.u32(48)), CREATED);
});
// The name that follows is that of no file.
on(Op.TMPFILE, 16, x => {
  const r = x.request;
  x.answer(x.changes.tmpfile(x.caller, r.ino, r.u32(44), r.u32(40), r.u32(48)), CREATED);
});
on(Op.UNLINK, 2, x =>
  x.answer(x.changes.unlink(x.caller, x.request.ino, x.request.lastName(40)), EMPTY),
);
on(Op.RMDIR, 2, x =>
  x.answer(x.changes.rmdir(x.caller, x.request.ino, x.request.lastName(40)), EMPTY),
);
on(Op.RENAME, 12, x => rename(x, 48, 0));
on(Op.RENAME2, 20, x => rename(x, 56, x.request.u32(48)));
on(Op.LINK, 10, link);
on(Op.READ, 40, read);
on(Op.WRITE, 40, write);
on(Op.STATFS, 0, x => x.answer(x.fs.statfs(x.caller), STATFS));
on(Op.FSYNC, 16, x => {
  const dataOnly = (x.request.u32(48) & FSYNC_DATA_ONLY) !== 0;
  x.answer(x.fs.fsync(x.caller, x.request.ino, dataOnly), EMPTY);
});
on(Op.FSYNCDIR, 16, x => x.answer(x.fs.fsyncdir(x.caller, x.request.ino), EMPTY));
on(Op.SETXATTR, 10, setxattr);
on(Op.GETXATTR, 10, x => {
  const r = x.request;
  x.answer(x.fs.getxattr(x.caller, r.ino, r.lastName(48)), XATTR, r.u32(40));
});
on(Op.LISTXATTR, 8, x =>
  x.answer(x.fs.listxattr(x.caller, x.request.ino), XATTR_NAMES, x.request.u32(40)),
);
on(Op.REMOVEXATTR, 2, x =>
  x.answer(x.changes.removexattr(x.caller, x.request.ino, x.request.lastName(40)), EMPTY),
);
on(Op.READDIR, 40, x => readdir(x, false));
on(Op.READDIRPLUS, 40, x => readdir(x, true));
on(Op.FALLOCATE, 32, fallocate);
on(Op.LSEEK, 24, lseek);
on(Op.COPY_FILE_RANGE_64, 56, copyFileRange);
on(Op.COPY_FILE_RANGE, 56, copyFileRange);
on(Op.IOCTL, 0, fail(Errno.ENOTTY));
// A file created before the first OPEN was refused is released once.
on(Op.RELEASE, 0, x => x.answer(0, EMPTY));
on(Op.RELEASEDIR, 0, x => x.answer(0, EMPTY));
on(Op.INIT, 16, x => x.agree());
on(Op.INTERRUPT, 8, x => x.interrupt(x.request.u32(40), x.request.u32(44)));
on(Op.DESTROY, 0, x => x.answer(0, EMPTY));

/** By number; what is not listed here is answered ENOSYS, which the kernel remembers. */
export const OPERATIONS: readonly Operation[] = table;
