/**
 * Attributes. With the writeback cache the kernel owns size and times of files with dirty pages
 * and sends them here; who may change what, and sgid of a group one is not in, it has checked.
 */
import { Errno } from '../base/errno.ts';
import type { Ino } from '../base/ids.ts';
import { FILE_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Attr, SetAttr } from '../fuse/filesystem.ts';
import type { Change, Inode, InodeFields } from '../meta/types.ts';
import { ACL_ACCESS, withPermissions } from './acl.ts';
import { isDir, isFile, PERMISSIONS, S_IFMT, withoutPrivileges } from './modes.ts';
import type { Mutable, Tree } from './tree.ts';
import { CAPABILITY } from './xattrs.ts';

/** Attributes of an inode. */
export const getattr = (tree: Tree, ino: Ino): Answer<Attr> =>
  tree.index.inode(ino) ?? -Errno.ESTALE;

/** Sets attributes; answers all of them. */
export const setattr = (tree: Tree, ino: Ino, changes: SetAttr): Answer<Attr> => {
  if (tree.readOnly) return -Errno.EROFS;
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  const refusal = changes.size === undefined ? 0 : sizeRefusal(inode, changes.size);
  if (refusal < 0) return refusal;
  tree.tick();
  const change = tree.index.change();
  const fields: Mutable<InodeFields> = {};
  setOwnerAndMode(tree, change, inode, changes, fields);
  setTimes(tree, changes, fields);
  const grows = changes.size !== undefined && changes.size > inode.size;
  if (changes.size !== undefined) {
    fields.size = changes.size;
    if (changes.size < inode.size) change.cut(ino, changes.size, inode.size);
  }
  change.setInode(ino, fields);
  const outcome = change.commit(!grows);
  return outcome < 0 ? outcome : (tree.index.inode(ino) ?? -Errno.ESTALE);
};

/** Drops suid, sgid and capabilities of a file whose content changes. */
export const dropPrivileges = (
  tree: Tree,
  change: Change,
  inode: Inode,
  fields: Mutable<InodeFields>,
): void => {
  const mode = withoutPrivileges(fields.mode ?? inode.mode);
  if (mode !== inode.mode) fields.mode = mode;
  if (tree.index.xattr(inode.ino, CAPABILITY) !== undefined)
    change.removeXattr(inode.ino, CAPABILITY);
};

/** The target of a symbolic link. */
export const readlink = (tree: Tree, ino: Ino): Answer<Buffer> =>
  tree.index.symlink(ino) ?? (tree.index.inode(ino) === undefined ? -Errno.ESTALE : -Errno.EINVAL);

const sizeRefusal = (inode: Inode, size: number): number => {
  if (isDir(inode.mode)) return -Errno.EISDIR;
  if (!isFile(inode.mode) || size < 0) return -Errno.EINVAL;
  return size > FILE_BYTES_MAX ? -Errno.EFBIG : 0;
};

const setOwnerAndMode = (
  tree: Tree,
  change: Change,
  inode: Inode,
  changes: SetAttr,
  fields: Mutable<InodeFields>,
): void => {
  if (changes.mode !== undefined) {
    fields.mode = (inode.mode & S_IFMT) | (changes.mode & PERMISSIONS);
    const acl = tree.index.xattr(inode.ino, ACL_ACCESS);
    if (acl !== undefined)
      change.setXattr(inode.ino, ACL_ACCESS, withPermissions(acl, changes.mode));
  }
  if (changes.uid !== undefined) fields.uid = changes.uid;
  if (changes.gid !== undefined) fields.gid = changes.gid;
  if (changes.killPriv === true && !isDir(inode.mode)) dropPrivileges(tree, change, inode, fields);
};

/** Times given, or now; a new size changes mtime, every change ctime. */
const setTimes = (tree: Tree, changes: SetAttr, fields: Mutable<InodeFields>): void => {
  const { atime, mtime, ctime } = changes;
  if (atime !== undefined) {
    fields.atime = atime === 'now' ? tree.nowSec : atime;
    fields.atimeNs = atime === 'now' ? tree.nowNs : (changes.atimeNs ?? 0);
  }
  if (mtime !== undefined || changes.size !== undefined) {
    const now = mtime === undefined || mtime === 'now';
    fields.mtime = now ? tree.nowSec : mtime;
    fields.mtimeNs = now ? tree.nowNs : (changes.mtimeNs ?? 0);
  }
  if (ctime !== undefined) tree.stamped(ctime, changes.ctimeNs ?? 0);
  fields.ctime = ctime ?? tree.nowSec;
  fields.ctimeNs = ctime === undefined ? tree.nowNs : (changes.ctimeNs ?? 0);
};
