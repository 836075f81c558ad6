/**
 * Reading and writing content. A read is a list of views: log bytes, opened frames, zeros for
 * holes; it waits only where a frame is not in memory. A write is one change: the bytes, and what
 * they mean for size, times and privileges.
 */
import { Errno } from '../base/errno.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import type { FrameId, Ino } from '../base/ids.ts';
import { FILE_BYTES_MAX, FUSE_IO_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Caller, Outcome } from '../fuse/filesystem.ts';
import { lastPageOf } from '../meta/tails.ts';
import type { Extent, FramePlace, Inode, InodeFields } from '../meta/types.ts';
import { dropPrivileges } from './inodes.ts';
import { CACHED_WRITE, isDir, isFile, KILL_SUIDGID } from './modes.ts';
import type { Mutable, Tree } from './tree.ts';

/** Where certified bytes come from (content's `Content`). */
export interface FrameReader {
  /** Plain bytes of a frame: at once when it is open in memory, or `kept` has them. The waiter's signal ends a wait. */
  read(
    frame: FramePlace,
    at: number,
    length: number,
    waiter: { readonly signal: AbortSignal },
    kept?: () => Buffer | undefined,
  ): Buffer | Promise<Buffer>;
}

const ZEROS = Buffer.alloc(FUSE_IO_BYTES_MAX);
const done = (): number => 0;

/** Bytes of a file. */
export const read = (
  tree: Tree,
  frames: FrameReader,
  caller: Caller,
  ino: Ino,
  offset: number,
  size: number,
): Answer<Buffer[]> => {
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  if (!isFile(inode.mode)) return isDir(inode.mode) ? -Errno.EISDIR : -Errno.EINVAL;
  const end = Math.min(offset + size, inode.size);
  if (end <= offset) return [];
  const parts: (Buffer | Promise<Buffer>)[] = [];
  let waits = false;
  let at = offset;
  for (const extent of tree.index.extents(ino, offset, end - offset)) {
    pushZeros(parts, extent.offset - at);
    at = extent.offset + extent.length;
    if (extent.addr >= 0) {
      const bytes = readStaged(tree, extent, ino);
      if (!Buffer.isBuffer(bytes))
        return bytes.then(() => read(tree, frames, caller, ino, offset, size));
      parts.push(bytes);
    } else {
      const part = readFrame(tree, frames, caller, extent, inode);
      if (!Buffer.isBuffer(part)) waits = true;
      parts.push(part);
    }
  }
  pushZeros(parts, end - at);
  return waits ? settled(parts) : (parts as Buffer[]);
};

/** Waits for frames. Views into the log do not outlive this turn of the event loop: they are copied. */
const settled = (parts: (Buffer | Promise<Buffer>)[]): Promise<Buffer[]> =>
  Promise.all(
    parts.map(part =>
      Buffer.isBuffer(part) && part.buffer !== ZEROS.buffer ? Buffer.from(part) : part,
    ),
  );

const pushZeros = (parts: (Buffer | Promise<Buffer>)[], length: number): void => {
  for (let left = length; left > 0; left -= ZEROS.length)
    parts.push(left >= ZEROS.length ? ZEROS : ZEROS.subarray(0, left));
};

const readStaged = (tree: Tree, extent: Extent, ino: Ino): Buffer | Promise<void> => {
  try {
    return tree.index.stagedBytes(extent.addr, extent.length);
  } catch (cause) {
    throw unreadable(tree, ino, extent, cause);
  }
};

const readFrame = (
  tree: Tree,
  frames: FrameReader,
  caller: Caller,
  extent: Extent,
  { ino, size }: Inode,
): Buffer | Promise<Buffer> => {
  const frame = tree.index.frame(extent.frame);
  if (frame === undefined) throw lostFrame(tree, extent.frame, ino);
  const { at, length } = extent;
  // The last, partial page may be here, so that appending needs no network.
  const part =
    extent.offset < lastPageOf(size)
      ? frames.read(frame, at, length, caller)
      : frames.read(frame, at, length, caller, () => tree.index.tail(ino, frame, at, length));
  if (Buffer.isBuffer(part)) return part;
  const read = part.catch((cause: unknown) => {
    throw unreadable(tree, ino, extent, cause);
  });
  // Nobody waits for it if another part makes the read fail, or begin again.
  read.catch(() => {});
  return read;
};

/** The error for a part of a file, of the kind that its cause has. */
const unreadable = (
  tree: Tree,
  ino: Ino,
  { offset, length }: Extent,
  cause: unknown,
): TuskError => {
  const { code, kind } =
    cause instanceof TuskError ? cause : ({ code: 'internal', kind: 'bug' } as const);
  return new TuskError(
    code,
    `${tree.index.pathOf(ino)} cannot be read from ${offset} to ${offset + length}: ${messageOf(cause)}`,
    { cause, kind, details: { ino } },
  );
};

const lostFrame = (tree: Tree, frame: FrameId, ino: Ino): TuskError =>
  new TuskError(
    'damaged',
    `the index of ${tree.index.pathOf(ino)} names frame ${frame}, which it does not hold: this part of the file cannot be read; everything else is safe; check the volume`,
    { details: { ino, frame } },
  );

/**
 * Writes bytes. A cached write comes out of the kernel's page cache: it was answered long ago, so
 * it may use the reserve, and its times follow in a SETATTR; any other write sets times itself.
 */
export const write = (
  tree: Tree,
  ino: Ino,
  offset: number,
  data: Buffer,
  flags: number,
): Answer<number> => {
  if (tree.readOnly) return -Errno.EROFS;
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  if (!isFile(inode.mode)) return isDir(inode.mode) ? -Errno.EISDIR : -Errno.EINVAL;
  const end = offset + data.length;
  if (end > FILE_BYTES_MAX) return -Errno.EFBIG;
  if (data.length === 0) return 0;
  const change = tree.index.change();
  change.stage(ino, offset, data);
  const cached = (flags & CACHED_WRITE) !== 0;
  if (!cached || end > inode.size || (flags & KILL_SUIDGID) !== 0) {
    const fields: Mutable<InodeFields> = {};
    if (end > inode.size) fields.size = end;
    if (!cached) {
      tree.tick();
      fields.mtime = fields.ctime = tree.nowSec;
      fields.mtimeNs = fields.ctimeNs = tree.nowNs;
    }
    if ((flags & KILL_SUIDGID) !== 0) dropPrivileges(tree, change, inode, fields);
    change.setInode(ino, fields);
  }
  const outcome = change.commit(cached);
  return outcome < 0 ? outcome : data.length;
};

/** Everything answered so far survives power loss when this answers. */
export const fsync = (tree: Tree, caller: Caller): Outcome =>
  tree.index.syncNow(caller.company) ? done() : tree.index.sync().then(done);
