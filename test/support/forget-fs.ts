/**
 * A file system on a disk that forgets (`forget-file.ts`, `forget-names.ts`): all that an index, a
 * log and SQLite ask of one. It can also be cut at one of its changes (every later one fails, as if
 * the machine were off), and be full from its n-th change that needs space.
 */
import { rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { Errno } from '../../src/base/errno.ts';
import { type Ino, type Name, ROOT_INO } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import {
  type Answer,
  type Attr,
  type Caller,
  type DirEntry,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  type Filesystem,
  type Outcome,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  type SetAttr,
  type StatFs,
} from '../../src/fuse/filesystem.ts';
import { ForgetFile, type Style, styleOf } from './forget-file.ts';
import { ForgetNames, type Names } from './forget-names.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const NEVER = Number.POSITIVE_INFINITY;

interface Node {
  readonly ino: Ino;
  mode: number;
  uid: number;
  gid: number;
  parent: Ino;
  lookups: number;
  mtimeMs: number;
  readonly file: ForgetFile | undefined;
}

/** What a cut took: sectors and sizes of files, and changes of names. */
export interface Forgotten {
  readonly bytes: number;
  readonly names: number;
}

const typeBits = (node: Node): number => node.mode & S_IFMT;
const isDirectory = (node: Node): boolean => typeBits(node) === S_IFDIR;

/** Every call that programs make on a state directory. */
export class ForgetFilesystem implements Filesystem {
  /** Called once when the cut that was asked for has happened. */
  onCut: () => void = () => {};
  readonly #backing: string;
  readonly #nodes = new Map<Ino, Node>();
  readonly #names = new ForgetNames();
  #nextIno = ROOT_INO + 1;
  #changes = 0;
  /** Changes of names, and then changes of any kind, that are left before the cut. */
  #namesLeft = NEVER;
  #changesLeft = NEVER;
  #spaceLeft = NEVER;

  /** `backing`: an empty directory for the bytes of files. */
  constructor(backing: string) {
    this.#backing = backing;
    this.#nodes.set(ROOT_INO, this.#node(ROOT_INO, S_IFDIR | 0o755, 0, 0, ROOT_INO));
  }

  /** Every change fails that comes after `names` changes of names and then `changes` of any kind. */
  cutAfter(names: number, changes: number): void {
    this.#namesLeft = names;
    this.#changesLeft = changes;
  }

  /** The next `times` changes that need space get it, later ones ENOSPC. */
  spaceFor(times: number): void {
    this.#spaceLeft = times;
  }

  /** The power fails, which takes some of what was not synced; to be called while it is not mounted. */
  powerCut(seed: number): Forgotten {
    const random = seededRandom(seed);
    const style: Style = styleOf(random);
    const lastAt = this.#changes - random.below(40);
    const names = this.#names.cut(random, style, lastAt);
    let bytes = 0;
    const reachable = this.#names.reachable(ROOT_INO);
    for (const [ino, node] of this.#nodes) {
      node.lookups = 0;
      if (reachable.has(ino)) {
        // Files may fare worse than the moment of the cut says, each by itself.
        const own = style === 'mixed' ? styleOf(random) : style;
        bytes += node.file?.cut(random, own, lastAt) ?? 0;
      } else {
        node.file?.remove();
        this.#nodes.delete(ino);
      }
    }
    this.#namesLeft = NEVER;
    this.#spaceLeft = NEVER;
    return { bytes, names };
  }

  /** Removes the bytes of all files. */
  close(): void {
    rmSync(this.#backing, { recursive: true, force: true });
  }

  lookup(_caller: Caller, parent: Ino, name: Name): Answer<Attr> {
    const found = this.#names.of(parent).get(name);
    return found === undefined ? -Errno.ENOENT : this.#enter(this.#nodes.get(found.ino)!);
  }

  forget(ino: Ino, lookups: number): void {
    const node = this.#nodes.get(ino);
    if (node === undefined) return;
    node.lookups -= lookups;
    this.#drop(node);
  }

  getattr(_caller: Caller, ino: Ino): Answer<Attr> {
    const node = this.#nodes.get(ino);
    return node === undefined ? -Errno.ESTALE : this.#attr(node);
  }

  setattr(_caller: Caller, ino: Ino, changes: SetAttr): Answer<Attr> {
    const node = this.#nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (changes.size !== undefined) {
      if (!this.#alive()) return -Errno.EIO;
      node.file!.truncate(this.#changes, changes.size);
      node.mtimeMs = Date.now();
    }
    if (changes.mode !== undefined) node.mode = typeBits(node) | (changes.mode & 0o7777);
    node.uid = changes.uid ?? node.uid;
    node.gid = changes.gid ?? node.gid;
    if (typeof changes.mtime === 'number') node.mtimeMs = changes.mtime * 1000;
    return this.#attr(node);
  }

  readlink(): number {
    return -Errno.EINVAL;
  }

  mknod(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    return this.#make(caller, parent, name, mode);
  }

  mkdir(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    return this.#make(caller, parent, name, S_IFDIR | (mode & 0o7777));
  }

  create(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    return this.#make(caller, parent, name, S_IFREG | (mode & 0o7777));
  }

  symlink(): number {
    return -Errno.EPERM;
  }

  link(_caller: Caller, ino: Ino, parent: Ino, name: Name): Answer<Attr> {
    const node = this.#nodes.get(ino);
    if (node === undefined) return -Errno.ESTALE;
    if (this.#names.of(parent).has(name)) return -Errno.EEXIST;
    if (!this.#alive(true)) return -Errno.EIO;
    this.#names.change(this.#changes, ino, undefined, { parent, name });
    return this.#enter(node);
  }

  unlink(_caller: Caller, parent: Ino, name: Name): Outcome {
    return this.#removeName(parent, name);
  }

  rmdir(_caller: Caller, parent: Ino, name: Name): Outcome {
    const found = this.#names.of(parent).get(name);
    if (found !== undefined && this.#names.of(found.ino).size > 0) return -Errno.ENOTEMPTY;
    return this.#removeName(parent, name);
  }

  rename(
    _caller: Caller,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Outcome {
    const found = this.#names.of(parent).get(name);
    if (found === undefined) return -Errno.ENOENT;
    if (flags & RENAME_EXCHANGE) return -Errno.EINVAL;
    if (flags & RENAME_NOREPLACE && this.#names.of(newParent).has(newName)) return -Errno.EEXIST;
    if (!this.#alive(true)) return -Errno.EIO;
    const to = { parent: newParent, name: newName };
    this.#names.change(this.#changes, found.ino, { parent, name }, to);
    this.#nodes.get(found.ino)!.parent = newParent;
    return 0;
  }

  tmpfile(): number {
    return -Errno.ENOTSUP;
  }

  read(_caller: Caller, ino: Ino, offset: number, size: number): Answer<Buffer[]> {
    return [this.#nodes.get(ino)!.file!.read(offset, size)];
  }

  write(_caller: Caller, ino: Ino, offset: number, data: Buffer): Answer<number> {
    const node = this.#nodes.get(ino)!;
    if (offset + data.length > node.file!.size && !this.#hasSpace()) return -Errno.ENOSPC;
    if (!this.#alive()) return -Errno.EIO;
    node.file!.write(this.#changes, offset, data);
    node.mtimeMs = Date.now();
    return data.length;
  }

  fsync(_caller: Caller, ino: Ino): Outcome {
    if (!this.#alive()) return -Errno.EIO;
    this.#nodes.get(ino)!.file?.sync();
    return 0;
  }

  fsyncdir(_caller: Caller, ino: Ino): Outcome {
    if (!this.#alive()) return -Errno.EIO;
    this.#names.sync(ino);
    for (const node of this.#nodes.values()) this.#drop(node);
    return 0;
  }

  readdir(_caller: Caller, ino: Ino, cookie: number, limit: number): Answer<DirEntry[]> {
    const names: Names = this.#names.of(ino);
    return [...names]
      .filter(([, entry]) => entry.cookie > cookie)
      .sort(([, a], [, b]) => a.cookie - b.cookie)
      .slice(0, limit)
      .map(([name, entry]) => ({
        ...{ name, ino: entry.ino, cookie: entry.cookie },
        type: this.#nodes.get(entry.ino)!.mode >> 12,
      }));
  }

  readdirAttr(ino: Ino): Attr | undefined {
    const node = this.#nodes.get(ino);
    return node && this.#enter(node);
  }

  parentOf(ino: Ino): Ino {
    return this.#nodes.get(ino)?.parent ?? ROOT_INO;
  }

  statfs(): Answer<StatFs> {
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(this.#backing);
    const isFull = this.#spaceLeft <= 0;
    return {
      ...{ bsize, blocks, files, ffree, namelen: 255 },
      ...(isFull ? { bfree: 0, bavail: 0 } : { bfree, bavail }),
    };
  }

  getxattr(): number {
    return -Errno.ENODATA;
  }

  setxattr(): number {
    return -Errno.ENOTSUP;
  }

  listxattr(): Answer<Name[]> {
    return [];
  }

  removexattr(): number {
    return -Errno.ENODATA;
  }

  fallocate(_caller: Caller, ino: Ino, offset: number, length: number, mode: number): Outcome {
    const { file } = this.#nodes.get(ino)!;
    if (mode === (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE)) {
      if (!this.#alive()) return -Errno.EIO;
      const bytes = Math.max(0, Math.min(length, file!.size - offset));
      file!.write(this.#changes, offset, Buffer.alloc(bytes));
      return 0;
    }
    if (mode !== 0) return -Errno.ENOTSUP;
    if (!this.#hasSpace()) return -Errno.ENOSPC;
    if (!this.#alive()) return -Errno.EIO;
    file!.allocate(this.#changes, offset + length);
    return 0;
  }

  lseek(_caller: Caller, ino: Ino, offset: number, whence: number): Answer<number> {
    const { size } = this.#nodes.get(ino)!.file!;
    if (offset >= size) return -Errno.ENXIO;
    return whence === 3 ? offset : size;
  }

  copyFileRange(): number {
    return -Errno.ENOTSUP;
  }

  destroy(): void {
    for (const node of this.#nodes.values()) node.lookups = 0;
  }

  /** True, once more, while the machine is on. */
  #alive(isName = false): boolean {
    if (this.#namesLeft <= 0 && this.#changesLeft <= 0) {
      this.onCut();
      this.onCut = () => {};
      return false;
    }
    if (this.#namesLeft <= 0) this.#changesLeft--;
    else if (isName) this.#namesLeft--;
    this.#changes++;
    return true;
  }

  #hasSpace(): boolean {
    if (this.#spaceLeft <= 0) return false;
    this.#spaceLeft--;
    return true;
  }

  #make(caller: Caller, parent: Ino, name: Name, mode: number): Answer<Attr> {
    if (this.#names.of(parent).has(name)) return -Errno.EEXIST;
    if (!this.#hasSpace()) return -Errno.ENOSPC;
    if (!this.#alive(true)) return -Errno.EIO;
    const node = this.#node(this.#nextIno++, mode, caller.uid, caller.gid, parent);
    this.#nodes.set(node.ino, node);
    this.#names.change(this.#changes, node.ino, undefined, { parent, name });
    return this.#enter(node);
  }

  #removeName(parent: Ino, name: Name): Outcome {
    const found = this.#names.of(parent).get(name);
    if (found === undefined) return -Errno.ENOENT;
    if (!this.#alive(true)) return -Errno.EIO;
    this.#names.change(this.#changes, found.ino, { parent, name }, undefined);
    return 0;
  }

  #node(ino: Ino, mode: number, uid: number, gid: number, parent: Ino): Node {
    const isFile = (mode & S_IFMT) === S_IFREG;
    const file = isFile ? new ForgetFile(join(this.#backing, `${ino}`)) : undefined;
    return { ino, mode, uid, gid, parent, lookups: 0, mtimeMs: Date.now(), file };
  }

  /** Lets go of a file that neither a name, before or after a cut, nor the kernel knows. */
  #drop(node: Node): void {
    if (node.lookups > 0 || node.ino === ROOT_INO || this.#names.isNamed(node.ino)) return;
    node.file?.remove();
    this.#nodes.delete(node.ino);
  }

  #enter(node: Node): Attr {
    node.lookups++;
    return this.#attr(node);
  }

  #attr(node: Node): Attr {
    const time = Math.floor(node.mtimeMs / 1000);
    const ns = Math.floor((node.mtimeMs - time * 1000) * 1e6);
    return {
      ...{ ino: node.ino, mode: node.mode, uid: node.uid, gid: node.gid, rdev: 0 },
      nlink: isDirectory(node) ? 2 : 1,
      size: node.file?.size ?? 0,
      blocks: node.file?.blocks ?? 0,
      ...{ atime: time, atimeNs: ns, mtime: time, mtimeNs: ns },
      ...{ ctime: time, ctimeNs: ns, btime: time, btimeNs: ns },
    };
  }
}
