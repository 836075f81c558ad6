/**
 * The file system that a mount shows: each operation of `Filesystem` handed to the file of its
 * family. Rules are numbered in SEMANTICS.md.
 */
import type { Clock } from '../base/clock.ts';
import { Errno } from '../base/errno.ts';
import { type Ino, type Name, ROOT_INO } from '../base/ids.ts';
import type {
  Answer,
  Attr,
  Caller,
  Changes,
  DirEntry,
  Filesystem,
  Outcome,
  SetAttr,
  StatFs,
} from '../fuse/filesystem.ts';
import type { Index } from '../meta/types.ts';
import { changedBefore, type Effect } from './changed-before.ts';
import { mkdir, mknod, symlink, tmpfile } from './create.ts';
import { type FrameReader, fsync, read, write } from './data.ts';
import { getattr, readlink, setattr } from './inodes.ts';
import { link, lookup, readdir, rmdir, unlink } from './names.ts';
import { copyFileRange, fallocate, lseek } from './ranges.ts';
import { rename } from './rename.ts';
import { DiskSpace, volumeFigures } from './statfs.ts';
import { type FileTime, Tree } from './tree.ts';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.ts';

/** Each who waits goes on in a turn of its own: a change is answered before another is made (S-44). */
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** What a mount's file system is made of. */
export interface VfsParts {
  readonly index: Index;
  /** Certified bytes. */
  readonly frames: FrameReader;
  readonly clock: Clock;
  /** What changes are stamped with; must agree with the kernel, which stamps what is written through its cache. */
  readonly fileTime: FileTime;
  /** A directory on the disk that holds the log: its free space is what df shows. */
  readonly stateDirectory: string;
  /** Has the kernel hand over a file's written pages (`invalidateInode` of fuse). */
  readonly writeBack: (ino: Ino) => Promise<void>;
  readonly readOnly?: boolean;
  /** What df shows as the drive's size; else content and free space of the local disk. */
  readonly sizeBytes?: number | undefined;
}

/** POSIX semantics over the index. */
export class Vfs implements Filesystem {
  readonly #tree: Tree;
  readonly #frames: FrameReader;
  readonly #disk: DiskSpace;
  readonly #sizeBytes: number | undefined;
  readonly #writeBack: (ino: Ino) => Promise<void>;

  constructor(parts: VfsParts) {
    this.#tree = new Tree(parts.index, parts.fileTime, parts.readOnly ?? false);
    this.#frames = parts.frames;
    this.#writeBack = parts.writeBack;
    this.#disk = new DiskSpace(parts.stateDirectory, parts.clock);
    this.#sizeBytes = parts.sizeBytes;
  }

  /** From now on every change is answered EROFS: the disk under the index failed. */
  goReadOnly(): void {
    this.#tree.readOnly = true;
  }

  /** Goes on where another daemon of the same mount ended; to be called before anything is asked. */
  takeOver(): void {
    this.#tree.takeOver();
  }

  /** Who answers a request whose change an earlier daemon has made, with this effect. */
  changedBefore(effect: Effect): Changes {
    return changedBefore(this.#tree, effect);
  }

  /** What a full disk refuses is tried once more when what was deleted has given its space back (S-19). */
  #withRoom<T>(caller: Caller, work: () => Answer<T>): Answer<T> {
    const answer = work();
    if (answer !== -Errno.ENOSPC) return answer;
    const { index } = this.#tree;
    const { request } = index.cause;
    const again = (): Answer<T> => {
      if (caller.signal.aborted) return -Errno.EINTR;
      index.cause.request = request;
      try {
        return work();
      } finally {
        index.cause.request = 0;
      }
    };
    const relief = index.relief();
    return relief === undefined ? answer : relief.then(turn).then(again, () => answer);
  }

  lookup(_caller: Caller, parent: Ino, name: Name): Answer<Attr> {
    return lookup(this.#tree, parent, name);
  }
  forget(ino: Ino, lookups: number): void {
    this.#tree.forget(ino, lookups);
  }
  getattr(_caller: Caller, ino: Ino): Answer<Attr> {
    return getattr(this.#tree, ino);
  }
  setattr(caller: Caller, ino: Ino, changes: SetAttr): Answer<Attr> {
    return this.#withRoom(caller, () => setattr(this.#tree, ino, changes));
  }
  readlink(_caller: Caller, ino: Ino): Answer<Buffer> {
    return readlink(this.#tree, ino);
  }
  mknod(
    caller: Caller,
    parent: Ino,
    name: Name,
    mode: number,
    rdev: number,
    umask: number,
  ): Answer<Attr> {
    return this.#withRoom(caller, () => mknod(this.#tree, caller, parent, name, mode, rdev, umask));
  }
  mkdir(caller: Caller, parent: Ino, name: Name, mode: number, umask: number): Answer<Attr> {
    return this.#withRoom(caller, () => mkdir(this.#tree, caller, parent, name, mode, umask));
  }
  symlink(caller: Caller, parent: Ino, name: Name, target: Buffer): Answer<Attr> {
    // A view of the request, which others follow while this one waits.
    const kept = Buffer.from(target);
    return this.#withRoom(caller, () => symlink(this.#tree, caller, parent, name, kept));
  }
  link(caller: Caller, ino: Ino, parent: Ino, name: Name): Answer<Attr> {
    return this.#withRoom(caller, () => link(this.#tree, ino, parent, name));
  }
  unlink(_caller: Caller, parent: Ino, name: Name): Outcome {
    return unlink(this.#tree, parent, name);
  }
  rmdir(_caller: Caller, parent: Ino, name: Name): Outcome {
    return rmdir(this.#tree, parent, name);
  }
  rename(
    _caller: Caller,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Outcome {
    return rename(this.#tree, parent, name, newParent, newName, flags);
  }
  create(
    caller: Caller,
    parent: Ino,
    name: Name,
    mode: number,
    _flags: number,
    umask: number,
  ): Answer<Attr> {
    return this.#withRoom(caller, () => mknod(this.#tree, caller, parent, name, mode, 0, umask));
  }
  tmpfile(caller: Caller, parent: Ino, mode: number, flags: number, umask: number): Answer<Attr> {
    return this.#withRoom(caller, () => tmpfile(this.#tree, caller, parent, mode, flags, umask));
  }
  read(caller: Caller, ino: Ino, offset: number, size: number): Answer<Buffer[]> {
    return read(this.#tree, this.#frames, caller, ino, offset, size);
  }
  write(_caller: Caller, ino: Ino, offset: number, data: Buffer, flags: number): Answer<number> {
    return write(this.#tree, ino, offset, data, flags);
  }
  fsync(caller: Caller, _ino: Ino, _dataOnly: boolean): Outcome {
    return fsync(this.#tree, caller);
  }
  fsyncdir(caller: Caller, _ino: Ino): Outcome {
    return fsync(this.#tree, caller);
  }
  readdir(_caller: Caller, ino: Ino, cookie: number, limit: number): Answer<DirEntry[]> {
    return readdir(this.#tree, ino, cookie, limit);
  }
  readdirAttr(ino: Ino): Attr | undefined {
    const inode = this.#tree.entered(ino);
    return typeof inode === 'number' ? undefined : inode;
  }
  parentOf(ino: Ino): Ino {
    return this.#tree.index.inode(ino)?.parent || ROOT_INO;
  }
  statfs(_caller: Caller): Answer<StatFs> {
    return volumeFigures(this.#tree.index, this.#disk, this.#sizeBytes);
  }
  getxattr(_caller: Caller, ino: Ino, name: Name): Answer<Buffer> {
    return getxattr(this.#tree, ino, name);
  }
  setxattr(
    _caller: Caller,
    ino: Ino,
    name: Name,
    value: Buffer,
    flags: number,
    dropsSgid = false,
  ): Outcome {
    return setxattr(this.#tree, ino, name, value, flags, dropsSgid);
  }
  listxattr(caller: Caller, ino: Ino): Answer<Name[]> {
    return listxattr(this.#tree, caller, ino);
  }
  removexattr(_caller: Caller, ino: Ino, name: Name): Outcome {
    return removexattr(this.#tree, ino, name);
  }
  fallocate(caller: Caller, ino: Ino, offset: number, length: number, mode: number): Outcome {
    const room = (): number => this.#tree.index.roomBytes(this.#disk.availableBytes());
    return fallocate(this.#tree, room, caller, ino, offset, length, mode);
  }
  lseek(_caller: Caller, ino: Ino, offset: number, whence: number): Answer<number> {
    return lseek(this.#tree, this.#writeBack, ino, offset, whence);
  }
  copyFileRange(
    caller: Caller,
    from: Ino,
    fromOffset: number,
    to: Ino,
    toOffset: number,
    length: number,
  ): Answer<number> {
    return copyFileRange(this.#tree, caller, from, fromOffset, to, toOffset, length);
  }
  destroy(): void {
    this.#tree.forgetAll();
  }
}
