/**
 * New inodes: files, directories, devices, symbolic links. Owner is the caller, group the caller's
 * or that of a sgid directory, whose sgid subdirectories inherit. The mode is cut by the umask, or
 * by the directory's default access control list. Name, inode and the parent's times are one
 * change.
 */
import { Errno } from '../base/errno.ts';
import type { Ino, Name } from '../base/ids.ts';
import { SYMLINK_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Attr, Caller } from '../fuse/filesystem.ts';
import type { Change, Inode } from '../meta/types.ts';
import { ACL_ACCESS, ACL_DEFAULT, inherited, isExtended, permissionsOf } from './acl.ts';
import {
  isDir,
  O_EXCL,
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
  const permissions = mode & PERMISSIONS;
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return enter(tree, caller, parent, name, { mode: S_IFREG | permissions, umask });
    case S_IFIFO:
    case S_IFSOCK:
      return enter(tree, caller, parent, name, { mode: (mode & S_IFMT) | permissions, umask });
    case S_IFCHR:
    case S_IFBLK:
      return enter(tree, caller, parent, name, {
        ...{ mode: (mode & S_IFMT) | permissions, umask, rdev },
      });
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
): Answer<Attr> =>
  enter(tree, caller, parent, name, { mode: S_IFDIR | (mode & PERMISSIONS), umask });

/** A symbolic link. */
export const symlink = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  target: Buffer,
): Answer<Attr> => {
  if (target.length > SYMLINK_BYTES_MAX) return -Errno.ENAMETOOLONG;
  return enter(tree, caller, parent, name, { mode: S_IFLNK | 0o777, umask: 0, target });
};

/**
 * A regular file without a name (O_TMPFILE): gone with its last lookup, unless `link` gives it a
 * name first, which O_EXCL forbids.
 */
export const tmpfile = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  mode: number,
  flags: number,
  umask: number,
): Answer<Attr> => {
  const directory = tree.writableDirectory(parent, '');
  if (typeof directory === 'number') return directory;
  tree.tick();
  const change = tree.index.change();
  const wanted = { mode: S_IFREG | (mode & PERMISSIONS), umask };
  const ino = createInode(tree, change, caller, directory, wanted, 0);
  const outcome = change.commit();
  if (outcome < 0) return outcome;
  const answer = tree.entered(ino);
  tree.linksDropped(ino);
  if ((flags & O_EXCL) === 0) tree.linkable.add(ino);
  return answer;
};

/** What a new inode shall be. */
interface Wanted {
  readonly mode: number;
  readonly umask: number;
  readonly rdev?: number;
  readonly target?: Buffer;
}

const enter = (
  tree: Tree,
  caller: Caller,
  parent: Ino,
  name: Name,
  wanted: Wanted,
): Inode | number => {
  const directory = tree.writableDirectory(parent, name);
  if (typeof directory === 'number') return directory;
  if (tree.index.lookup(parent, name) !== undefined) return -Errno.EEXIST;
  tree.tick();
  const isDirectory = isDir(wanted.mode);
  const change = tree.index.change();
  const ino = createInode(tree, change, caller, directory, wanted, isDirectory ? 2 : 1);
  if (wanted.target !== undefined) change.setSymlink(ino, wanted.target);
  change.setDentry(parent, name, ino, typeOf(wanted.mode));
  tree.touchDirectory(change, directory, isDirectory ? 1 : 0);
  const outcome = change.commit();
  return outcome < 0 ? outcome : tree.entered(ino);
};

const createInode = (
  tree: Tree,
  change: Change,
  caller: Caller,
  directory: Inode,
  wanted: Wanted,
  nlink: number,
): Ino => {
  const inherits = (directory.mode & S_ISGID) !== 0;
  const isDirectory = isDir(wanted.mode);
  const defaults =
    (wanted.mode & S_IFMT) === S_IFLNK ? undefined : tree.index.xattr(directory.ino, ACL_DEFAULT);
  const access = defaults === undefined ? undefined : inherited(defaults, wanted.mode);
  const mode =
    access === undefined
      ? wanted.mode & ~wanted.umask
      : (wanted.mode & ~0o777) | permissionsOf(access);
  const { nowSec, nowNs } = tree;
  const { ino } = change.createInode({
    mode: inherits && isDirectory ? mode | S_ISGID : mode,
    nlink,
    uid: caller.uid,
    gid: inherits ? directory.gid : caller.gid,
    rdev: wanted.rdev ?? 0,
    size: wanted.target?.length ?? 0,
    ...{ atime: nowSec, atimeNs: nowNs, mtime: nowSec, mtimeNs: nowNs },
    ...{ ctime: nowSec, ctimeNs: nowNs, btime: nowSec, btimeNs: nowNs },
    parent: isDirectory ? directory.ino : 0,
  });
  if (access !== undefined && isExtended(access)) change.setXattr(ino, ACL_ACCESS, access);
  if (defaults !== undefined && isDirectory) change.setXattr(ino, ACL_DEFAULT, defaults);
  return ino;
};
