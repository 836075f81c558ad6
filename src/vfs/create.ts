/**
 * New inodes: files, directories, devices, symbolic links. Owner is the caller, group the caller's
 * or that of a sgid directory, whose sgid subdirectories inherit. Name, inode and the parent's
 * times are one change.
 */
import { Errno } from '../base/errno.ts';
import type { Ino, Name } from '../base/ids.ts';
import { SYMLINK_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Attr, Caller } from '../fuse/filesystem.ts';
import type { Inode } from '../meta/types.ts';
import {
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  typeOf,
} from './modes.ts';
import type { Tree } from './tree.ts';

/** A regular file, fifo, socket or device node. */
export const mknod = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  mode: number,
  rdev: number,
  umask: number,
): Answer<Attr> => {
  const permissions = mode & PERMISSIONS & ~umask;
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return enter(tree, caller, parent, name, S_IFREG | permissions, 0);
    case S_IFIFO:
    case S_IFSOCK:
      return enter(tree, caller, parent, name, (mode & S_IFMT) | permissions, 0);
    case S_IFCHR:
    case S_IFBLK:
      return enter(tree, caller, parent, name, (mode & S_IFMT) | permissions, rdev);
    default:
      return -Errno.EINVAL;
  }
};

/** A directory. */
export const mkdir = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  mode: number,
  umask: number,
): Answer<Attr> => enter(tree, caller, parent, name, S_IFDIR | (mode & PERMISSIONS & ~umask), 0);

/** A symbolic link. */
export const symlink = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  target: Buffer,
): Answer<Attr> => {
  if (target.length > SYMLINK_BYTES_MAX) return -Errno.ENAMETOOLONG;
  return enter(tree, caller, parent, name, S_IFLNK | 0o777, 0, target);
};

const enter = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  mode: number,
  rdev: number,
  target?: Buffer,
): Inode | number => {
  const directory = tree.writableDirectory(parent, name);
  if (typeof directory === 'number') return directory;
  if (tree.index.lookup(parent, name) !== undefined) return -Errno.EEXIST;
  tree.tick();
  const inherits = (directory.mode & S_ISGID) !== 0;
  const isDirectory = (mode & S_IFMT) === S_IFDIR;
  const change = tree.index.change();
  const { ino } = change.createInode({
    mode: inherits && isDirectory ? mode | S_ISGID : mode,
    nlink: isDirectory ? 2 : 1,
    uid: caller.uid,
    gid: inherits ? directory.gid : caller.gid,
    rdev,
    size: target === undefined ? 0 : target.length,
    atime: tree.nowSec,
    atimeNs: tree.nowNs,
    mtime: tree.nowSec,
    mtimeNs: tree.nowNs,
    ctime: tree.nowSec,
    ctimeNs: tree.nowNs,
    btime: tree.nowSec,
    btimeNs: tree.nowNs,
    parent: isDirectory ? parent : 0,
  });
  if (target !== undefined) change.setSymlink(ino, target);
  change.setDentry(parent, name, ino, typeOf(mode));
  tree.touchDirectory(change, directory, isDirectory ? 1 : 0);
  const outcome = change.commit();
  return outcome < 0 ? outcome : tree.entered(ino);
};
