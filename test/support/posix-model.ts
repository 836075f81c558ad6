/**
 * What POSIX and Linux say about a tree, as plainly as it can be written: objects that point to
 * each other, content as one array of bytes. Nothing here knows of inode tables, extents or logs.
 * Operations answer 0 (or a value) or a negative errno, as the file system under test does.
 */
import { Errno } from '../../src/base/errno.ts';

export type Kind = 'file' | 'dir' | 'link' | 'fifo';

/** A file system object. */
export interface Node {
  kind: Kind;
  permissions: number;
  uid: number;
  gid: number;
  /** Directory entries that point here (for a directory: is it in the tree? 1 or 0). */
  links: number;
  bytes: Uint8Array;
  names: Map<string, Node>;
  parent: Node | undefined;
  xattrs: Map<string, string>;
  atime: number;
  mtime: number;
  ctime: number;
}

/** Who asks. */
export interface Who {
  uid: number;
  gid: number;
}

const NAME_MAX = 255;

/** A tree of nodes, with the time of the running operation in `now`. */
export class PosixModel {
  now = 0;
  readonly root: Node = this.#node('dir', 0o755, { uid: 0, gid: 0 });

  constructor() {
    this.root.parent = this.root;
    this.root.links = 1;
  }

  #node(kind: Kind, permissions: number, who: Who): Node {
    return {
      kind,
      permissions,
      uid: who.uid,
      gid: who.gid,
      links: 0,
      bytes: new Uint8Array(),
      names: new Map(),
      parent: undefined,
      xattrs: new Map(),
      atime: this.now,
      mtime: this.now,
      ctime: this.now,
    };
  }

  /** st_nlink. */
  nlink(node: Node): number {
    if (node.kind !== 'dir') return node.links;
    const subdirectories = [...node.names.values()].filter(child => child.kind === 'dir').length;
    return node.links === 0 ? 0 : 2 + subdirectories;
  }

  lookup(dir: Node, name: string): Node | number {
    if (dir.kind !== 'dir') return -Errno.ENOTDIR;
    if (name.length > NAME_MAX) return -Errno.ENAMETOOLONG;
    return dir.names.get(name) ?? -Errno.ENOENT;
  }

  #mayAdd(dir: Node, name: string): number {
    const found = this.lookup(dir, name);
    if (typeof found !== 'number') return -Errno.EEXIST;
    if (found !== -Errno.ENOENT) return found;
    return dir.links === 0 ? -Errno.ENOENT : 0;
  }

  #touch(dir: Node): void {
    dir.mtime = dir.ctime = this.now;
  }

  make(
    who: Who,
    dir: Node,
    name: string,
    kind: Kind,
    permissions: number,
    target = '',
  ): Node | number {
    const refusal = this.#mayAdd(dir, name);
    if (refusal < 0) return refusal;
    const node = this.#node(kind, permissions, who);
    if ((dir.permissions & 0o2000) !== 0) {
      node.gid = dir.gid;
      if (kind === 'dir') node.permissions |= 0o2000;
    }
    node.bytes = new Uint8Array(Buffer.from(target, 'latin1'));
    node.links = 1;
    if (kind === 'dir') node.parent = dir;
    dir.names.set(name, node);
    this.#touch(dir);
    return node;
  }

  link(node: Node, dir: Node, name: string): number {
    const refusal = this.#mayAdd(dir, name);
    if (refusal < 0 && refusal !== -Errno.EEXIST) return refusal;
    if (node.kind === 'dir') return -Errno.EPERM;
    if (node.links === 0) return -Errno.ENOENT;
    if (refusal < 0) return refusal;
    dir.names.set(name, node);
    node.links++;
    node.ctime = this.now;
    this.#touch(dir);
    return 0;
  }

  remove(dir: Node, name: string, directory: boolean): number {
    const node =
      dir.links === 0 && dir.kind === 'dir' && name.length <= NAME_MAX
        ? -Errno.ENOENT
        : this.lookup(dir, name);
    if (typeof node === 'number') return node;
    if (directory && node.kind !== 'dir') return -Errno.ENOTDIR;
    if (!directory && node.kind === 'dir') return -Errno.EISDIR;
    if (node.names.size > 0) return -Errno.ENOTEMPTY;
    dir.names.delete(name);
    this.#unlinked(node);
    this.#touch(dir);
    return 0;
  }

  #unlinked(node: Node): void {
    node.links--;
    node.ctime = this.now;
  }

  rename(from: Node, name: string, to: Node, newName: string, flags: number): number {
    if (flags > 2) return -Errno.EINVAL;
    for (const [dir, entry] of [
      [from, name],
      [to, newName],
    ] as const) {
      const found = this.lookup(dir, entry);
      if (typeof found === 'number' && found !== -Errno.ENOENT) return found;
      if (dir.links === 0) return -Errno.ENOENT;
    }
    const node = from.names.get(name);
    if (node === undefined) return -Errno.ENOENT;
    if (this.#below(node, to)) return -Errno.EINVAL;
    const target = to.names.get(newName);
    if (flags === 2) return this.#exchange(from, name, node, to, newName, target);
    if (target !== undefined) {
      if (flags === 1) return -Errno.EEXIST;
      if (target === node) return 0;
      if (target.kind === 'dir' && node.kind !== 'dir') return -Errno.EISDIR;
      if (target.names.size > 0) return -Errno.ENOTEMPTY;
      if (target.kind !== 'dir' && node.kind === 'dir') return -Errno.ENOTDIR;
      this.#unlinked(target);
    }
    from.names.delete(name);
    this.#place(to, newName, node);
    this.#touch(from);
    return 0;
  }

  #exchange(from: Node, name: string, node: Node, to: Node, newName: string, other?: Node): number {
    if (other === undefined) return -Errno.ENOENT;
    if (other === node) return 0;
    if (this.#below(other, from)) return -Errno.EINVAL;
    this.#place(to, newName, node);
    this.#place(from, name, other);
    return 0;
  }

  #place(dir: Node, name: string, node: Node): void {
    dir.names.set(name, node);
    if (node.kind === 'dir') node.parent = dir;
    node.ctime = this.now;
    this.#touch(dir);
  }

  #below(above: Node, node: Node): boolean {
    for (let at: Node = node; ; at = at.parent!) {
      if (at === above) return true;
      if (at.parent === undefined || at.parent === at) return false;
    }
  }

  #resized(node: Node, size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(node.bytes.subarray(0, size));
    node.bytes = bytes;
  }

  dropPrivileges(node: Node): void {
    if ((node.permissions & 0o010) !== 0) node.permissions &= ~0o2000;
    node.permissions &= ~0o4000;
    node.xattrs.delete('security.capability');
  }

  contentRefusal(node: Node): number {
    if (node.kind === 'file') return 0;
    return node.kind === 'dir' ? -Errno.EISDIR : -Errno.EINVAL;
  }

  write(node: Node, offset: number, data: Uint8Array, cached: boolean, kills: boolean): number {
    const refusal = this.contentRefusal(node);
    if (refusal < 0) return refusal;
    if (data.length === 0) return 0;
    if (offset + data.length > node.bytes.length) this.#resized(node, offset + data.length);
    node.bytes.set(data, offset);
    if (!cached) node.mtime = node.ctime = this.now;
    if (kills) this.dropPrivileges(node);
    return data.length;
  }

  truncate(node: Node, size: number): number {
    const refusal = this.contentRefusal(node);
    if (refusal < 0) return refusal;
    this.#resized(node, size);
    node.mtime = node.ctime = this.now;
    return 0;
  }

  allocate(
    who: Who,
    node: Node,
    offset: number,
    length: number,
    zeroes: boolean,
    keepsSize: boolean,
  ): number {
    if (node.kind !== 'file') return node.kind === 'dir' ? -Errno.EISDIR : -Errno.ENODEV;
    const end = offset + length;
    if (!keepsSize && end > node.bytes.length) this.#resized(node, end);
    if (zeroes)
      node.bytes.fill(0, Math.min(offset, node.bytes.length), Math.min(end, node.bytes.length));
    this.#contentChanged(who, node);
    return 0;
  }

  copy(who: Who, from: Node, at: number, to: Node, toAt: number, length: number): number {
    for (const node of [from, to])
      if (node.kind !== 'file') return node.kind === 'dir' ? -Errno.EISDIR : -Errno.ENODEV;
    const data = from.bytes.slice(at, at + length);
    if (data.length === 0) return 0;
    if (from === to && at < toAt + data.length && toAt < at + data.length) return -Errno.EINVAL;
    this.write(to, toAt, data, false, false);
    this.#contentChanged(who, to);
    return data.length;
  }

  #contentChanged(who: Who, node: Node): void {
    node.mtime = node.ctime = this.now;
    if (who.uid !== 0) this.dropPrivileges(node);
  }
}
