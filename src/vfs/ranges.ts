/**
 * Ranges of a file as a whole: preallocation, holes, sharing. No operation here moves bytes: holes
 * are missing extents, copies point to the same bytes.
 */
import { Errno } from '../base/errno.ts';
import type { Ino } from '../base/ids.ts';
import { FILE_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Caller, Outcome } from '../fuse/filesystem.ts';
import type { Change, Inode, InodeFields } from '../meta/types.ts';
import { dropPrivileges } from './inodes.ts';
import { isDir, isFile, KEEP_SIZE, PUNCH_HOLE, SEEK_DATA, SEEK_HOLE, ZERO_RANGE } from './modes.ts';
import type { Mutable, Tree } from './tree.ts';

/** Most bytes that one copy_file_range answers for: the answer has 32 bits, and a turn must stay short. */
const COPY_BYTES_MAX = 1024 ** 3;

/** Extends a file, punches a hole or zeroes a range; nothing is reserved, but what there is no room for is refused. */
export const fallocate = (
  tree: Tree,
  roomBytes: () => number,
  caller: Caller,
  ino: Ino,
  offset: number,
  length: number,
  mode: number,
): Outcome => {
  if (tree.readOnly) return -Errno.EROFS;
  const keepsSize = (mode & KEEP_SIZE) !== 0;
  const what = mode & ~KEEP_SIZE;
  if (what !== 0 && what !== PUNCH_HOLE && what !== ZERO_RANGE) return -Errno.ENOTSUP;
  if (what === PUNCH_HOLE && !keepsSize) return -Errno.ENOTSUP;
  const inode = tree.index.inode(ino);
  const refusal = fileRefusal(inode);
  if (refusal < 0) return refusal;
  if (offset < 0 || length <= 0) return -Errno.EINVAL;
  const end = offset + length;
  if (end > FILE_BYTES_MAX) return -Errno.EFBIG;
  if (what !== PUNCH_HOLE && exceeds(tree, ino, offset, length, roomBytes())) return -Errno.ENOSPC;
  return apply(tree, caller, inode!, offset, end, what !== 0, keepsSize);
};

/** True if a range lacks more bytes than `roomBytes`. */
const exceeds = (
  tree: Tree,
  ino: Ino,
  offset: number,
  length: number,
  roomBytes: number,
): boolean => {
  if (length <= roomBytes) return false;
  const there = tree.index.extents(ino, offset, length);
  return length - there.reduce((sum, extent) => sum + extent.length, 0) > roomBytes;
};

const apply = (
  tree: Tree,
  caller: Caller,
  inode: Inode,
  from: number,
  to: number,
  zeroes: boolean,
  keepsSize: boolean,
): number => {
  const grows = !keepsSize && to > inode.size;
  const cutTo = Math.min(to, inode.size);
  const change = tree.index.change();
  if (zeroes && from < cutTo) change.cut(inode.ino, from, cutTo);
  setContentChanged(tree, caller, change, inode, grows ? to : inode.size);
  return change.commit(!grows);
};

/**
 * The next data or hole at or behind an offset. The kernel asks although it holds written pages
 * that were not handed over yet: wherever they could change the answer, they are asked for first.
 */
export const lseek = (
  tree: Tree,
  writeBack: (ino: Ino) => Promise<void>,
  ino: Ino,
  offset: number,
  whence: number,
): Answer<number> => {
  const inode = tree.index.inode(ino);
  const refusal = fileRefusal(inode);
  if (refusal < 0) return refusal;
  if (offset < 0) return -Errno.ENXIO;
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -Errno.EINVAL;
  const at = seek(tree, ino, offset, whence);
  if (tree.readOnly || (whence === SEEK_DATA && at === offset)) return at;
  return writeBack(ino).then(() => seek(tree, ino, offset, whence));
};

const seek = (tree: Tree, ino: Ino, offset: number, whence: number): number => {
  const size = tree.index.inode(ino)?.size ?? 0;
  if (offset >= size) return -Errno.ENXIO;
  const at = tree.index.seek(ino, offset, whence === SEEK_DATA ? 'data' : 'hole');
  if (whence === SEEK_DATA) return at < 0 || at >= size ? -Errno.ENXIO : at;
  return at < 0 || at > size ? size : at;
};

/** Lets a range of one file show the bytes of another's; short at the source's end. */
export const copyFileRange = (
  tree: Tree,
  caller: Caller,
  from: Ino,
  fromOffset: number,
  to: Ino,
  toOffset: number,
  length: number,
): Answer<number> => {
  if (tree.readOnly) return -Errno.EROFS;
  const source = tree.index.inode(from);
  const target = tree.index.inode(to);
  const refusal = fileRefusal(source) || fileRefusal(target);
  if (refusal < 0) return refusal;
  const bytes = Math.min(length, source!.size - fromOffset, COPY_BYTES_MAX);
  if (bytes <= 0) return 0;
  const end = toOffset + bytes;
  if (end > FILE_BYTES_MAX) return -Errno.EFBIG;
  if (from === to && fromOffset < end && toOffset < fromOffset + bytes) return -Errno.EINVAL;
  const change = tree.index.change();
  change.share(from, fromOffset, bytes, to, toOffset);
  setContentChanged(tree, caller, change, target!, Math.max(end, target!.size));
  const outcome = change.commit();
  return outcome < 0 ? outcome : bytes;
};

/** New size and times; privileges go unless root asked (these requests carry no flag for it). */
const setContentChanged = (
  tree: Tree,
  caller: Caller,
  change: Change,
  inode: Inode,
  size: number,
): void => {
  tree.tick();
  const fields: Mutable<InodeFields> = {
    mtime: tree.nowSec,
    mtimeNs: tree.nowNs,
    ctime: tree.nowSec,
    ctimeNs: tree.nowNs,
  };
  if (size !== inode.size) fields.size = size;
  if (caller.uid !== 0) dropPrivileges(tree, change, inode, fields);
  change.setInode(inode.ino, fields);
};

const fileRefusal = (inode: Inode | undefined): number => {
  if (inode === undefined) return -Errno.ESTALE;
  if (isFile(inode.mode)) return 0;
  return isDir(inode.mode) ? -Errno.EISDIR : -Errno.ENODEV;
};
