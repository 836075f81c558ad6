/**
 * What all operations share: the index, the time, the lookups that the kernel holds, and whether
 * changes are allowed. Invariant: an inode without a name stays in the index exactly as long as
 * the kernel holds lookups of it; the last forget removes it by a change.
 */
import { Errno } from '../base/errno.ts';
import type { Ino, Name } from '../base/ids.ts';
import { NAME_BYTES_MAX } from '../base/limits.ts';
import type { Change, Index, Inode, InodeFields } from '../meta/types.ts';
import { LookupCounts } from './lookup-counts.ts';
import { isDir } from './modes.ts';

/** The kernel's own stamps (6.13) may lead its clock for files by a tick; by more, the clock was set. */
const AHEAD_NS_MAX = 10_000_000;

/** Seconds since 1970 and nanoseconds. */
export type FileTime = () => readonly [seconds: number, nanoseconds: number];

/** The tree that a mount shows, as the operations see it. */
export class Tree {
  readonly index: Index;
  /** No change is taken: answered EROFS. */
  readOnly: boolean;
  /** The time that `tick` took: seconds since 1970 and nanoseconds. */
  nowSec = 0;
  nowNs = 0;
  /** Files without a name that may get one (O_TMPFILE). */
  readonly linkable = new Set<Ino>();
  readonly #fileTime: FileTime;
  #stampSec = 0;
  #stampNs = 0;
  readonly #lookups = new LookupCounts();
  readonly #orphans = new Set<Ino>();
  /** The kernel holds lookups that were counted by an earlier daemon: of which inodes, only it knows. */
  #inherits = false;

  constructor(index: Index, fileTime: FileTime, readOnly: boolean) {
    this.index = index;
    this.#fileTime = fileTime;
    this.readOnly = readOnly;
  }

  /** Takes the time for one operation. */
  tick(): void {
    const [sec, ns] = this.#fileTime();
    const aheadNs = (this.#stampSec - sec) * 1e9 + this.#stampNs - ns;
    const isAhead = aheadNs > 0 && aheadNs < AHEAD_NS_MAX;
    this.nowSec = isAhead ? this.#stampSec : sec;
    this.nowNs = isAhead ? this.#stampNs : ns;
  }

  /** Hears of a time that the kernel stamped a file with: nothing that comes after is older. */
  stamped(sec: number, ns: number): void {
    this.#stampSec = sec;
    this.#stampNs = ns;
  }

  /** A directory in which a name may be looked up or made, or a negative errno. */
  directory(ino: Ino, name: Name): Inode | number {
    const inode = this.index.inode(ino);
    if (inode === undefined) return -Errno.ESTALE;
    if (!isDir(inode.mode)) return -Errno.ENOTDIR;
    if (name.length > NAME_BYTES_MAX) return -Errno.ENAMETOOLONG;
    return inode;
  }

  /** `directory` for a change of its names. */
  writableDirectory(ino: Ino, name: Name): Inode | number {
    if (this.readOnly) return -Errno.EROFS;
    const inode = this.directory(ino, name);
    return typeof inode !== 'number' && inode.nlink === 0 ? -Errno.ENOENT : inode;
  }

  /** Marks a directory's names as changed now, and moves its link count by `links`. */
  touchDirectory(change: Change, directory: Inode, links: number): void {
    const fields: Mutable<InodeFields> = {
      mtime: this.nowSec,
      mtimeNs: this.nowNs,
      ctime: this.nowSec,
      ctimeNs: this.nowNs,
    };
    if (links !== 0) fields.nlink = directory.nlink + links;
    change.setInode(directory.ino, fields);
  }

  /** Takes `links` links from an inode; without lookups the last one takes the inode along. */
  dropLinks(change: Change, inode: Inode, links: number): void {
    const nlink = Math.max(0, inode.nlink - links);
    if (nlink === 0 && !this.#mayBeHeld(inode.ino)) change.removeInode(inode.ino);
    else change.setInode(inode.ino, { nlink, ctime: this.nowSec, ctimeNs: this.nowNs });
  }

  /** To be called once a change that used `dropLinks` is committed. */
  linksDropped(ino: Ino): void {
    if (this.#mayBeHeld(ino) && this.index.inode(ino)?.nlink === 0) this.#orphans.add(ino);
  }

  /** To be called once a file without a name has got one. */
  linkGained(ino: Ino): void {
    this.linkable.delete(ino);
    this.#orphans.delete(ino);
  }

  /** The inode as an answer that counts one lookup. */
  entered(ino: Ino): Inode | number {
    const inode = this.index.inode(ino);
    if (inode === undefined) return -Errno.ESTALE;
    this.#lookups.add(ino);
    return inode;
  }

  /**
   * Goes on where another daemon of the same mount ended. An inode without a name is kept until
   * the kernel forgets it, which it does for all its lookups at once, or is found not to hold it.
   */
  takeOver(): void {
    this.#inherits = true;
    for (const ino of this.index.orphans()) {
      this.#orphans.add(ino);
      // The kernel links none but those that never had a name.
      this.linkable.add(ino);
    }
  }

  /** Takes lookups back. */
  forget(ino: Ino, lookups: number): void {
    if (this.#lookups.take(ino, lookups) > 0) return;
    this.linkable.delete(ino);
    if (this.#orphans.delete(ino)) this.#removeOrphan(ino);
  }

  /** Takes all lookups back: the kernel is gone. */
  forgetAll(): void {
    this.#lookups.clear();
    this.linkable.clear();
    for (const ino of this.#orphans) this.#removeOrphan(ino);
    this.#orphans.clear();
  }

  /** A name removed through the kernel was found by it before: so it holds the inode. */
  #mayBeHeld(ino: Ino): boolean {
    return this.#inherits || this.#lookups.get(ino) > 0;
  }

  /** Lookups held of an inode. */
  lookups(ino: Ino): number {
    return this.#lookups.get(ino);
  }

  /** What cannot be removed now (read-only, disk full) goes when the volume is next mounted. */
  #removeOrphan(ino: Ino): void {
    if (this.readOnly) return;
    const change = this.index.change();
    change.removeInode(ino);
    change.commit(true);
  }
}

/** The same fields, to be filled one by one. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };
