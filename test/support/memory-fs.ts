/** A file system in memory, for tests of the wire and of the mount: small, complete, POSIX enough. */
import { Errno } from '../../src/base/errno.ts';
import type { Ino, Name } from '../../src/base/ids.ts';
import type {
  Answer,
  Attr,
  Caller,
  DirEntry,
  Filesystem,
  Outcome,
  SetAttr,
  StatFs,
} from '../../src/fuse/filesystem.ts';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../../src/fuse/filesystem.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const CHUNK = 64 * 1024;
const ZEROS = Buffer.alloc(CHUNK);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface Node extends Mutable<Attr> {
  parent: Ino;
  lookups: number;
  names: Map<Name, { ino: Ino; cookie: number }>;
  chunks: Map<number, Buffer>;
  target: Buffer;
  xattrs: Map<Name, Buffer>;
}

/**
 * Every file system call. Files of the root whose names start with `hang` never read to their
 * end; those with `deaf` do not even listen when the kernel gives the request up.
 */
export class MemoryFilesystem implements Filesystem {
  readonly nodes = new Map<Ino, Node>();
  /** Lookups that the kernel holds, summed up. */
  lookups = 0;
  destroyed = 0;
  /** Heeds the names above; off for measurements. */
  hanging = true;
  #nextIno = 2;
  #nextCookie = 1;

  constructor() {
    this.nodes.set(1, this.#node(1, S_IFDIR | 0o755, 0, 0));
    this.nodes.get(1)!.parent = 1;
  }

  #node(ino: Ino, mode: number, uid: number, gid: number): Node {
    const now = Date.now();
    const [time, ns] = [Math.floor(now / 1000), (now % 1000) * 1e6];
    return {
      ino,
      mode,
      nlink: (mode & S_IFMT) === S_IFDIR ? 2 : 1,
      uid,
      gid,
      rdev: 0,
      size: 0,
      blocks: 0,
      atime: time,
      atimeNs: ns,
      mtime: time,
      mtimeNs: ns,
      ctime: time,
      ctimeNs: ns,
      btime: time,
      btimeNs: ns,
      parent: 0,
      lookups: 0,
      names: new Map(),
      chunks: new Map(),
      target: Buffer.alloc(0),
      xattrs: new Map(),
    };
  }

  #count(node: Node): Node {
    node.lookups++;
    this.lookups++;
    return node;
  }

  #touch(node: Node): void {
    const now = Date.now();
    node.mtime = node.ctime = Math.floor(now / 1000);
    node.mtimeNs = node.ctimeNs = (now % 1000) * 1e6;
  }

  #find(parent: Ino, name: Name): Node | undefined {
    const found = this.nodes.get(parent)?.names.get(name);
    return found && this.nodes.get(found.ino);
  }

  #drop(node: Node): void {
    if (node.nlink <= 0 && node.lookups <= 0) this.nodes.delete(node.ino);
  }

  lookup(_caller: Caller, parent: Ino, name: Name): Answer<Attr> {
    const node = this.#find(parent, name);
    return node === undefined ? -Errno.ENOENT : this.#count(node);
  }

  forget(ino: Ino, lookups: number): void {
    const node = this.nodes.get(ino);
    this.lookups -= lookups;
    if (node === undefined) return;
    node.lookups -= lookups;
    this.#drop(node);
  }

  getattr(_caller: Caller, ino: Ino): Answer<Attr> {
    return this.nodes.get(ino) ?? -Errno.ESTALE;
  }

  setattr(_caller: Caller, ino: Ino, changes: SetAttr): Answer<Attr> {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (changes.mode !== undefined) node.mode = (node.mode & S_IFMT) | (changes.mode & 0o7777);
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) this.#truncate(node, changes.size);
    if (changes.killPriv) node.mode &= ~0o6000;
    const now = Date.now();
    for (const time of ['atime', 'mtime', 'ctime'] as const) {
      const value = changes[time];
      if (value === undefined) continue;
      node[time] = value === 'now' ? Math.floor(now / 1000) : value;
      node[`${time}Ns`] = value === 'now' ? (now % 1000) * 1e6 : (changes[`${time}Ns`] ?? 0);
    }
    return node;
  }

  #truncate(node: Node, size: number): void {
    for (const [index, chunk] of node.chunks) {
      const from = index * CHUNK;
      if (from >= size) node.chunks.delete(index);
      else if (from + CHUNK > size) chunk.fill(0, size - from);
    }
    node.size = size;
    node.blocks = node.chunks.size * (CHUNK / 512);
    this.#touch(node);
  }

  readlink(_caller: Caller, ino: Ino): Answer<Buffer> {
    return this.nodes.get(ino)?.target ?? -Errno.ESTALE;
  }

  #make(caller: Caller, parent: Ino, name: Name, mode: number): Node | number {
    const directory = this.nodes.get(parent);
    if (directory === undefined) return -Errno.ESTALE;
    if (directory.names.has(name)) return -Errno.EEXIST;
    const node = this.#node(this.#nextIno++, mode, caller.uid, caller.gid);
    this.nodes.set(node.ino, node);
    this.#enter(directory, name, node);
    if ((mode & S_IFMT) === S_IFDIR) directory.nlink++;
    return this.#count(node);
  }

  #enter(directory: Node, name: Name, node: Node): void {
    directory.names.delete(name);
    directory.names.set(name, { ino: node.ino, cookie: this.#nextCookie++ });
    if ((node.mode & S_IFMT) === S_IFDIR) node.parent = directory.ino;
    this.#touch(directory);
  }

  mknod(caller: Caller, parent: Ino, name: Name, mode: number, rdev: number): Answer<Attr> {
    const node = this.#make(caller, parent, name, mode);
    if (typeof node !== 'number') node.rdev = rdev;
    return node;
  }

  mkdir(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    return this.#make(caller, parent, name, S_IFDIR | (mode & 0o7777));
  }

  symlink(caller: Caller, parent: Ino, name: Name, target: Buffer): Answer<Attr> {
    const node = this.#make(caller, parent, name, S_IFLNK | 0o777);
    if (typeof node === 'number') return node;
    node.target = Buffer.from(target);
    node.size = target.length;
    return node;
  }

  link(_caller: Caller, ino: Ino, parent: Ino, name: Name): Answer<Attr> {
    const node = this.nodes.get(ino);
    const directory = this.nodes.get(parent);
    if (node === undefined || directory === undefined) return -Errno.ESTALE;
    if (directory.names.has(name)) return -Errno.EEXIST;
    node.nlink++;
    this.#enter(directory, name, node);
    return this.#count(node);
  }

  unlink(_caller: Caller, parent: Ino, name: Name): Outcome {
    const node = this.#find(parent, name);
    if (node === undefined) return -Errno.ENOENT;
    if ((node.mode & S_IFMT) === S_IFDIR) return -Errno.EISDIR;
    this.nodes.get(parent)!.names.delete(name);
    this.#touch(this.nodes.get(parent)!);
    node.nlink--;
    this.#drop(node);
    return 0;
  }

  rmdir(_caller: Caller, parent: Ino, name: Name): Outcome {
    const node = this.#find(parent, name);
    if (node === undefined) return -Errno.ENOENT;
    if ((node.mode & S_IFMT) !== S_IFDIR) return -Errno.ENOTDIR;
    if (node.names.size > 0) return -Errno.ENOTEMPTY;
    this.nodes.get(parent)!.names.delete(name);
    this.nodes.get(parent)!.nlink--;
    node.nlink = 0;
    this.#drop(node);
    return 0;
  }

  rename(
    caller: Caller,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Outcome {
    const node = this.#find(parent, name);
    const target = this.#find(newParent, newName);
    if (node === undefined) return -Errno.ENOENT;
    if (!this.nodes.has(newParent)) return -Errno.ESTALE;
    if (flags & RENAME_EXCHANGE) {
      if (target === undefined) return -Errno.ENOENT;
      this.#enter(this.nodes.get(newParent)!, newName, node);
      this.#enter(this.nodes.get(parent)!, name, target);
      return 0;
    }
    if (target !== undefined) {
      if (flags & RENAME_NOREPLACE) return -Errno.EEXIST;
      if (target === node) return 0;
      const isDirectory = (target.mode & S_IFMT) === S_IFDIR;
      const removed = isDirectory
        ? this.rmdir(caller, newParent, newName)
        : this.unlink(caller, newParent, newName);
      if (removed !== 0) return removed;
    }
    this.nodes.get(parent)!.names.delete(name);
    this.#touch(this.nodes.get(parent)!);
    this.#enter(this.nodes.get(newParent)!, newName, node);
    return 0;
  }

  tmpfile(): number {
    return -Errno.ENOSYS;
  }
  create(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    return this.#make(caller, parent, name, S_IFREG | (mode & 0o7777));
  }

  #nameInRoot(ino: Ino): string {
    for (const [name, entry] of this.nodes.get(1)!.names) if (entry.ino === ino) return name;
    return '';
  }

  read(caller: Caller, ino: Ino, offset: number, size: number): Answer<Buffer[]> {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (this.hanging) {
      const name = this.#nameInRoot(ino);
      const hung = Promise.withResolvers<number>();
      if (name.startsWith('hang')) {
        caller.signal.addEventListener('abort', () => hung.resolve(-Errno.EINTR));
        return hung.promise;
      }
      if (name.startsWith('deaf')) return hung.promise;
    }
    const views: Buffer[] = [];
    const end = Math.min(offset + size, node.size);
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK);
      const from = at - index * CHUNK;
      const bytes = Math.min(CHUNK - from, end - at);
      views.push((node.chunks.get(index) ?? ZEROS).subarray(from, from + bytes));
      at += bytes;
    }
    return views;
  }

  write(_caller: Caller, ino: Ino, offset: number, data: Buffer): Answer<number> {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    for (let done = 0; done < data.length; ) {
      const index = Math.floor((offset + done) / CHUNK);
      const from = offset + done - index * CHUNK;
      const bytes = Math.min(CHUNK - from, data.length - done);
      let chunk = node.chunks.get(index);
      if (chunk === undefined) node.chunks.set(index, (chunk = Buffer.alloc(CHUNK)));
      data.copy(chunk, from, done, done + bytes);
      done += bytes;
    }
    node.size = Math.max(node.size, offset + data.length);
    node.blocks = node.chunks.size * (CHUNK / 512);
    return data.length;
  }

  fsync(): Outcome {
    return Promise.resolve(0);
  }
  fsyncdir(): Outcome {
    return 0;
  }

  readdir(_caller: Caller, ino: Ino, cookie: number, limit: number): Answer<DirEntry[]> {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    const entries: DirEntry[] = [];
    for (const [name, entry] of node.names) {
      if (entry.cookie <= cookie) continue;
      const type = this.nodes.get(entry.ino)!.mode >> 12;
      entries.push({ name, ino: entry.ino, type, cookie: entry.cookie });
      if (entries.length === limit) break;
    }
    return entries;
  }

  readdirAttr(ino: Ino): Attr | undefined {
    const node = this.nodes.get(ino);
    return node && this.#count(node);
  }

  parentOf(ino: Ino): Ino {
    return this.nodes.get(ino)?.parent ?? 1;
  }

  statfs(): Answer<StatFs> {
    const blocks = 1 << 20;
    return {
      bsize: 4096,
      blocks,
      bfree: blocks,
      bavail: blocks,
      files: 1e6,
      ffree: 1e6,
      namelen: 255,
    };
  }

  getxattr(_caller: Caller, ino: Ino, name: Name): Answer<Buffer> {
    return this.nodes.get(ino)?.xattrs.get(name) ?? -Errno.ENODATA;
  }

  setxattr(_caller: Caller, ino: Ino, name: Name, value: Buffer, flags: number): Outcome {
    const xattrs = this.nodes.get(ino)?.xattrs;
    if (xattrs === undefined) return -Errno.ESTALE;
    if (flags & XATTR_CREATE && xattrs.has(name)) return -Errno.EEXIST;
    if (flags & XATTR_REPLACE && !xattrs.has(name)) return -Errno.ENODATA;
    xattrs.set(name, Buffer.from(value));
    return 0;
  }

  listxattr(_caller: Caller, ino: Ino): Answer<Name[]> {
    const node = this.nodes.get(ino);
    return node === undefined ? -Errno.ESTALE : [...node.xattrs.keys()];
  }

  removexattr(_caller: Caller, ino: Ino, name: Name): Outcome {
    return this.nodes.get(ino)?.xattrs.delete(name) ? 0 : -Errno.ENODATA;
  }

  fallocate(_caller: Caller, ino: Ino, offset: number, length: number, mode: number): Outcome {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) {
      for (const [index, chunk] of node.chunks) {
        const from = Math.max(0, offset - index * CHUNK);
        const to = Math.min(CHUNK, offset + length - index * CHUNK);
        if (from < to) chunk.fill(0, from, to);
      }
    }
    if (!(mode & FALLOC_KEEP_SIZE)) node.size = Math.max(node.size, offset + length);
    return 0;
  }

  lseek(_caller: Caller, ino: Ino, offset: number, whence: number): Answer<number> {
    const node = this.nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (offset >= node.size) return -Errno.ENXIO;
    const indexes = [...node.chunks.keys()].sort((a, b) => a - b);
    if (whence === 3) {
      const index = indexes.find(i => (i + 1) * CHUNK > offset);
      return index === undefined ? -Errno.ENXIO : Math.max(offset, index * CHUNK);
    }
    let index = Math.floor(offset / CHUNK);
    while (node.chunks.has(index)) index++;
    return Math.min(node.size, Math.max(offset, index * CHUNK));
  }

  copyFileRange(
    caller: Caller,
    from: Ino,
    fromOffset: number,
    to: Ino,
    toOffset: number,
    length: number,
  ): Answer<number> {
    const views = this.read(caller, from, fromOffset, Math.min(length, 16 << 20));
    if (!Array.isArray(views)) return -Errno.EIO;
    return this.write(caller, to, toOffset, Buffer.concat(views));
  }

  destroy(): void {
    this.destroyed++;
  }
}
