/**
 * Names: finding, adding and removing them, and listing a directory. Names are byte strings;
 * permission and sticky bits were checked by the kernel.
 */
import { Errno } from '../base/errno.ts';
import type { Ino, Name } from '../base/ids.ts';
import { LINKS_MAX } from '../base/limits.ts';
import type { Answer, Attr, DirEntry, Outcome } from '../fuse/filesystem.ts';
import { isDir, typeOf } from './modes.ts';
import type { Tree } from './tree.ts';

/** The inode behind a name; counts one lookup. */
export const lookup = (tree: Tree, parent: Ino, name: Name): Answer<Attr> => {
  const directory = tree.directory(parent, name);
  if (typeof directory === 'number') return directory;
  const dentry = tree.index.lookup(parent, name);
  return dentry === undefined ? -Errno.ENOENT : tree.entered(dentry.ino);
};

/** One more name for an inode. */
export const link = (tree: Tree, ino: Ino, parent: Ino, name: Name): Answer<Attr> => {
  const directory = tree.writableDirectory(parent, name);
  if (typeof directory === 'number') return directory;
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  if (isDir(inode.mode)) return -Errno.EPERM;
  if (inode.nlink === 0 && !tree.linkable.has(ino)) return -Errno.ENOENT;
  if (tree.index.lookup(parent, name) !== undefined) return -Errno.EEXIST;
  if (inode.nlink >= LINKS_MAX) return -Errno.EMLINK;
  tree.tick();
  const change = tree.index.change();
  change.setInode(ino, { nlink: inode.nlink + 1, ctime: tree.nowSec, ctimeNs: tree.nowNs });
  change.setDentry(parent, name, ino, typeOf(inode.mode));
  tree.touchDirectory(change, directory, 0);
  const outcome = change.commit();
  if (outcome < 0) return outcome;
  if (inode.nlink === 0) tree.linkGained(ino);
  return tree.entered(ino);
};

/** Removes the name of anything but a directory; works on a full disk. */
export const unlink = (tree: Tree, parent: Ino, name: Name): Outcome =>
  removeName(tree, parent, name, false);

/** Removes an empty directory; works on a full disk. */
export const rmdir = (tree: Tree, parent: Ino, name: Name): Outcome =>
  removeName(tree, parent, name, true);

const removeName = (tree: Tree, parent: Ino, name: Name, wantsDirectory: boolean): number => {
  const directory = tree.writableDirectory(parent, name);
  if (typeof directory === 'number') return directory;
  const dentry = tree.index.lookup(parent, name);
  if (dentry === undefined) return -Errno.ENOENT;
  const inode = tree.index.inode(dentry.ino);
  if (inode === undefined) return -Errno.ESTALE;
  if (isDir(inode.mode) !== wantsDirectory) return wantsDirectory ? -Errno.ENOTDIR : -Errno.EISDIR;
  if (wantsDirectory && !tree.index.isEmpty(inode.ino)) return -Errno.ENOTEMPTY;
  tree.tick();
  const change = tree.index.change();
  change.removeDentry(parent, name);
  tree.dropLinks(change, inode, wantsDirectory ? inode.nlink : 1);
  tree.touchDirectory(change, directory, wantsDirectory ? -1 : 0);
  const outcome = change.commit(true);
  if (outcome === 0) tree.linksDropped(dentry.ino);
  return outcome;
};

/** Names behind a cookie. */
export const readdir = (
  tree: Tree,
  ino: Ino,
  cookie: number,
  limit: number,
): Answer<DirEntry[]> => {
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  if (!isDir(inode.mode)) return -Errno.ENOTDIR;
  return tree.index.list(ino, cookie, limit);
};
