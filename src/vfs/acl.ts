/**
 * POSIX access control lists (POSIX.1e draft 17, acl(5)). The kernel judges access by them; what
 * they and the mode mean for each other is decided here. A list is kept as extended attributes
 * carry it (linux/posix_acl_xattr.h): version, then entries of tag, permissions and id. Invariant:
 * a stored access list says more than a mode can, and its classes agree with the mode.
 */
import type { Name } from '../base/ids.ts';

export const ACL_ACCESS: Name = 'system.posix_acl_access';
/** Of directories: what new inodes in them start with. */
export const ACL_DEFAULT: Name = 'system.posix_acl_default';

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
/** Entries of which there is exactly one; together they say what a mode says. */
const BASE = [USER_OBJ, GROUP_OBJ, OTHER];
const TAGS = [...BASE, USER, GROUP, MASK];

/** Is it the name of an access control list? */
export const isAcl = (name: Name): boolean => name === ACL_ACCESS || name === ACL_DEFAULT;

/** Has a list no entries? Setting such a one removes it. */
export const isEmpty = (acl: Buffer): boolean => acl.length === HEADER_BYTES;

/** Is it a list, with all entries that it needs? */
export const isValid = (acl: Buffer): boolean => {
  if (acl.length < HEADER_BYTES || (acl.length - HEADER_BYTES) % ENTRY_BYTES !== 0) return false;
  if (acl.readUInt32LE(0) !== VERSION) return false;
  if (isEmpty(acl)) return true;
  const counts = new Map<number, number>();
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES) {
    const tag = acl.readUInt16LE(at);
    if (acl.readUInt16LE(at + 2) > 7 || !TAGS.includes(tag)) return false;
    counts.set(tag, (counts.get(tag) ?? 0) + 1);
  }
  const count = (tag: number): number => counts.get(tag) ?? 0;
  if (!BASE.every(tag => count(tag) === 1)) return false;
  return count(MASK) === 1 || count(MASK) + count(USER) + count(GROUP) === 0;
};

/** Does it say more than a mode can? */
export const isExtended = (acl: Buffer): boolean =>
  acl.length > HEADER_BYTES + BASE.length * ENTRY_BYTES;

/** The permissions (nine bits) of a mode that a list stands behind; the group's are the mask. */
export const permissionsOf = (acl: Buffer): number =>
  (acl[permAt(acl, USER_OBJ)]! << 6) | (acl[groupClassAt(acl)]! << 3) | acl[permAt(acl, OTHER)]!;

/** The list after chmod. */
export const withPermissions = (acl: Buffer, mode: number): Buffer => {
  const changed = Buffer.from(acl);
  changed[permAt(acl, USER_OBJ)] = (mode >> 6) & 7;
  changed[groupClassAt(acl)] = (mode >> 3) & 7;
  changed[permAt(acl, OTHER)] = mode & 7;
  return changed;
};

/** A new inode's list: what the directory's default list and the mode of its maker both allow. */
export const inherited = (defaults: Buffer, mode: number): Buffer =>
  withPermissions(defaults, permissionsOf(defaults) & mode);

/** Position of the permissions of the first entry with a tag; −1 without. */
const permAt = (acl: Buffer, tag: number): number => {
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES)
    if (acl.readUInt16LE(at) === tag) return at + 2;
  return -1;
};

/** The mask bounds all groups and named users; without one, there is only the owning group. */
const groupClassAt = (acl: Buffer): number => {
  const mask = permAt(acl, MASK);
  return mask >= 0 ? mask : permAt(acl, GROUP_OBJ);
};
