/**
 * Extended attributes: user, trusted, security and access control lists are stored; other
 * namespaces are not supported. A list that says no more than a mode is not kept. `user.tuskfs.` names belong to the drive: read-only, computed, never listed.
 */
import { Errno } from '../base/errno.ts';
import type { Ino, Name } from '../base/ids.ts';
import { NAME_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_VALUE_BYTES_MAX } from '../base/limits.ts';
import type { Answer, Caller, Outcome } from '../fuse/filesystem.ts';
import type { Inode, InodeFields } from '../meta/types.ts';
import { ACL_ACCESS, isAcl, isEmpty, isExtended, isValid, permissionsOf } from './acl.ts';
import { CREATE_ONLY, isDir, isFile, REPLACE_ONLY, S_ISGID } from './modes.ts';
import type { Mutable, Tree } from './tree.ts';

/** File capabilities: dropped when content or owner change. */
export const CAPABILITY: Name = 'security.capability';

const OWN = 'user.tuskfs.';
const STATE: Name = 'user.tuskfs.state';
const STAGED = Buffer.from('staged');
const CERTIFIED = Buffer.from('certified');
const NAMESPACES = ['user.', 'trusted.', 'security.'];

/** The value of an attribute. */
export const getxattr = (tree: Tree, ino: Ino, name: Name): Answer<Buffer> => {
  const value = tree.index.xattr(ino, name);
  if (value !== undefined) return value;
  const inode = tree.index.inode(ino);
  if (inode === undefined) return -Errno.ESTALE;
  const refusal = nameRefusal(name);
  if (refusal < 0) return refusal;
  return name === STATE && isFile(inode.mode) ? stateOf(tree, inode) : -Errno.ENODATA;
};

/** Sets an attribute; `dropsSgid`: the caller is not of the group that an access list is set for. */
export const setxattr = (
  tree: Tree,
  ino: Ino,
  name: Name,
  value: Buffer,
  flags: number,
  dropsSgid: boolean,
): Outcome => {
  const refusal = changeRefusal(tree, ino, name);
  if (refusal < 0) return refusal;
  if (value.length > XATTR_VALUE_BYTES_MAX) return -Errno.E2BIG;
  if (isAcl(name)) return setAcl(tree, ino, name, value, dropsSgid);
  const exists = tree.index.xattr(ino, name) !== undefined;
  if (exists && (flags & CREATE_ONLY) !== 0) return -Errno.EEXIST;
  if (!exists && (flags & REPLACE_ONLY) !== 0) return -Errno.ENODATA;
  if (!exists && listBytes(tree, ino) + name.length + 1 > XATTR_LIST_BYTES_MAX)
    return -Errno.ENOSPC;
  tree.tick();
  const change = tree.index.change();
  change.setXattr(ino, name, value);
  change.setInode(ino, { ctime: tree.nowSec, ctimeNs: tree.nowNs });
  return change.commit();
};

/** The mode follows an access list; a list without more than the mode's three entries is the mode. */
const setAcl = (tree: Tree, ino: Ino, name: Name, acl: Buffer, dropsSgid: boolean): number => {
  const inode = tree.index.inode(ino)!;
  if (!isValid(acl)) return -Errno.EINVAL;
  if (name !== ACL_ACCESS && !isDir(inode.mode)) return isEmpty(acl) ? 0 : -Errno.EACCES;
  tree.tick();
  const change = tree.index.change();
  const fields: Mutable<InodeFields> = { ctime: tree.nowSec, ctimeNs: tree.nowNs };
  if (name === ACL_ACCESS && !isEmpty(acl)) {
    const mode = (inode.mode & ~0o777) | permissionsOf(acl);
    fields.mode = dropsSgid ? mode & ~S_ISGID : mode;
  }
  const isKept = name === ACL_ACCESS ? isExtended(acl) : !isEmpty(acl);
  if (isKept) change.setXattr(ino, name, acl);
  else if (tree.index.xattr(ino, name) !== undefined) change.removeXattr(ino, name);
  change.setInode(ino, fields);
  return change.commit();
};

/** Names of all attributes; `trusted.` ones are for root only. */
export const listxattr = (tree: Tree, caller: Caller, ino: Ino): Answer<Name[]> => {
  if (tree.index.inode(ino) === undefined) return -Errno.ESTALE;
  const names = tree.index.xattrNames(ino);
  return caller.uid === 0 ? names : names.filter(name => !name.startsWith('trusted.'));
};

/** Removes an attribute. */
export const removexattr = (tree: Tree, ino: Ino, name: Name): Outcome => {
  const refusal = changeRefusal(tree, ino, name);
  if (refusal < 0) return refusal;
  if (tree.index.xattr(ino, name) === undefined) return isAcl(name) ? 0 : -Errno.ENODATA;
  tree.tick();
  const change = tree.index.change();
  change.removeXattr(ino, name);
  change.setInode(ino, { ctime: tree.nowSec, ctimeNs: tree.nowNs });
  return change.commit(true);
};

const nameRefusal = (name: Name): number => {
  if (name.length > NAME_BYTES_MAX) return -Errno.ERANGE;
  if (isAcl(name)) return 0;
  const namespace = NAMESPACES.find(prefix => name.startsWith(prefix));
  if (namespace === undefined) return -Errno.ENOTSUP;
  return name.length === namespace.length ? -Errno.EINVAL : 0;
};

const changeRefusal = (tree: Tree, ino: Ino, name: Name): number => {
  if (tree.readOnly) return -Errno.EROFS;
  const refusal = nameRefusal(name);
  if (refusal < 0) return refusal;
  if (name.startsWith(OWN)) return -Errno.EPERM;
  return tree.index.inode(ino) === undefined ? -Errno.ESTALE : 0;
};

const listBytes = (tree: Tree, ino: Ino): number => {
  let bytes = 0;
  for (const name of tree.index.xattrNames(ino)) bytes += name.length + 1;
  return bytes;
};

/** `staged` while the network lacks a byte of the file, else `certified`. */
const stateOf = (tree: Tree, inode: Inode): Buffer =>
  tree.index.extents(inode.ino, 0, inode.size).some(extent => extent.addr >= 0)
    ? STAGED
    : CERTIFIED;
