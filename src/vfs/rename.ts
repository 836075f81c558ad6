/**
 * Rename in its three forms: replacing, not replacing, exchanging. One change moves the name,
 * takes the links of what was there, and settles parents' link counts and times, so that a crash
 * shows the old state or the new.
 */
import { Errno } from '../base/errno.ts';
import { type Ino, type Name, ROOT_INO } from '../base/ids.ts';
import type { Outcome } from '../fuse/filesystem.ts';
import type { Change, Dentry, Inode, InodeFields } from '../meta/types.ts';
import { EXCHANGE, isDir, NOREPLACE } from './modes.ts';
import type { Mutable, Tree } from './tree.ts';

/** Moves `name` of `parent` to `newName` of `newParent`. */
export const rename = (
  tree: Tree,
  parent: Ino,
  name: Name,
  newParent: Ino,
  newName: Name,
  flags: number,
): Outcome => {
  if ((flags & ~(NOREPLACE | EXCHANGE)) !== 0 || flags === (NOREPLACE | EXCHANGE))
    return -Errno.EINVAL;
  const from = tree.writableDirectory(parent, name);
  if (typeof from === 'number') return from;
  const to = tree.writableDirectory(newParent, newName);
  if (typeof to === 'number') return to;
  const source = tree.index.lookup(parent, name);
  if (source === undefined) return -Errno.ENOENT;
  const moved = tree.index.inode(source.ino);
  if (moved === undefined) return -Errno.ESTALE;
  if (isDir(moved.mode) && contains(tree, moved.ino, newParent)) return -Errno.EINVAL;
  const target = tree.index.lookup(newParent, newName);
  if (flags === EXCHANGE) return exchange(tree, from, source, moved, to, target);
  if (target === undefined) return move(tree, from, source, moved, to, newName, undefined);
  if (flags === NOREPLACE) return -Errno.EEXIST;
  if (target.ino === source.ino) return 0;
  const replaced = tree.index.inode(target.ino);
  if (replaced === undefined) return -Errno.ESTALE;
  if (isDir(replaced.mode)) {
    if (!isDir(moved.mode)) return -Errno.EISDIR;
    if (!tree.index.isEmpty(replaced.ino)) return -Errno.ENOTEMPTY;
  } else if (isDir(moved.mode)) return -Errno.ENOTDIR;
  return move(tree, from, source, moved, to, newName, replaced);
};

const move = (
  tree: Tree,
  from: Inode,
  source: Dentry,
  moved: Inode,
  to: Inode,
  newName: Name,
  replaced: Inode | undefined,
): number => {
  tree.tick();
  const movedDir = isDir(moved.mode) ? 1 : 0;
  const replacedDir = replaced !== undefined && isDir(replaced.mode) ? 1 : 0;
  const change = tree.index.change();
  change.removeDentry(from.ino, source.name);
  if (replaced !== undefined) tree.dropLinks(change, replaced, replacedDir ? replaced.nlink : 1);
  change.setDentry(to.ino, newName, moved.ino, source.type);
  settle(tree, change, moved, to.ino);
  touchBoth(tree, change, from, -movedDir, to, movedDir - replacedDir);
  const outcome = change.commit(true);
  if (outcome === 0 && replaced !== undefined) tree.linksDropped(replaced.ino);
  return outcome;
};

const exchange = (
  tree: Tree,
  from: Inode,
  source: Dentry,
  moved: Inode,
  to: Inode,
  target: Dentry | undefined,
): number => {
  if (target === undefined) return -Errno.ENOENT;
  if (target.ino === source.ino) return 0;
  const other = tree.index.inode(target.ino);
  if (other === undefined) return -Errno.ESTALE;
  if (isDir(other.mode) && contains(tree, other.ino, from.ino)) return -Errno.EINVAL;
  tree.tick();
  const links = (isDir(moved.mode) ? 1 : 0) - (isDir(other.mode) ? 1 : 0);
  const change = tree.index.change();
  change.setDentry(from.ino, source.name, other.ino, target.type);
  change.setDentry(to.ino, target.name, moved.ino, source.type);
  settle(tree, change, moved, to.ino);
  settle(tree, change, other, from.ino);
  touchBoth(tree, change, from, -links, to, links);
  return change.commit(true);
};

/** What was moved changed now; a directory has a new parent. */
const settle = (tree: Tree, change: Change, moved: Inode, parent: Ino): void => {
  const fields: Mutable<InodeFields> = { ctime: tree.nowSec, ctimeNs: tree.nowNs };
  if (isDir(moved.mode)) fields.parent = parent;
  change.setInode(moved.ino, fields);
};

const touchBoth = (
  tree: Tree,
  change: Change,
  from: Inode,
  fromLinks: number,
  to: Inode,
  toLinks: number,
): void => {
  if (from.ino === to.ino) {
    tree.touchDirectory(change, from, fromLinks + toLinks);
    return;
  }
  tree.touchDirectory(change, from, fromLinks);
  tree.touchDirectory(change, to, toLinks);
};

/** Is `ino` the directory `above` or somewhere below it? */
const contains = (tree: Tree, above: Ino, ino: Ino): boolean => {
  for (let at = ino; ; ) {
    if (at === above) return true;
    if (at === ROOT_INO) return false;
    const inode = tree.index.inode(at);
    if (inode === undefined || inode.parent === 0) return false;
    at = inode.parent;
  }
};
