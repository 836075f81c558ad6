/**
 * The face of the index towards vfs, content and the daemon: the tree in memory over SQLite, made
 * durable by the log. All reading is synchronous (memory, else a read-only SQLite connection);
 * all changing goes through one `Change`, which becomes one log record: whole after a crash, or
 * not there.
 */
import type { FrameId, Ino, LogAddr, Name, PackNo, Seq } from '../base/ids.ts';

/** An inode as kept in memory; read-only for everybody but the index. Fits fuse' `Attr`. */
export interface Inode {
  readonly ino: Ino;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  /** 512-byte units that extents take up. */
  readonly blocks: number;
  readonly atime: number;
  readonly atimeNs: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  readonly ctime: number;
  readonly ctimeNs: number;
  readonly btime: number;
  readonly btimeNs: number;
  /** Parent of a directory; 0 for everything else. */
  readonly parent: Ino;
}

/** What a change may set in an inode. */
export type InodeFields = Partial<Omit<Inode, 'ino' | 'blocks'>>;

/** A name in a directory. */
export interface Dentry {
  readonly parent: Ino;
  readonly name: Name;
  readonly ino: Ino;
  /** DT_*: S_IFMT bits >> 12. */
  readonly type: number;
  readonly cookie: number;
}

/** A run of a file's bytes: in the log (`addr` ≥ 0, staged) or in a frame (`frame` > 0, `at` = plain offset in it). */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly addr: LogAddr;
  readonly frame: FrameId;
  readonly at: number;
}

/** Where a frame stands. */
export interface FramePlace {
  readonly frame: FrameId;
  readonly identity: Buffer;
  readonly pack: PackNo;
  readonly slot: number;
  readonly offset: number;
  readonly sealedBytes: number;
  readonly plainBytes: number;
  readonly compression: number;
}

/** A pack as the index knows it. */
export interface PackRow {
  readonly pack: PackNo;
  /** 16 bytes. */
  readonly packId: Buffer;
  /** 32 bytes. */
  readonly salt: Buffer;
  /** Bytes before encoding. */
  readonly size: number;
  readonly nShards: number;
  readonly blobId: Buffer;
  readonly objectId: string;
  readonly endEpoch: number;
}

/** A flushed range: applied only where the file still holds exactly these log bytes there. */
export interface FlushedRange {
  readonly ino: Ino;
  readonly offset: number;
  readonly length: number;
  /** Log address that the bytes were read from: the generation of the range; −1 if the range came from older frames. */
  readonly addr: LogAddr;
  /** Frame that the bytes were read from when `addr` is −1. */
  readonly oldFrame: FrameId;
  readonly oldAt: number;
  readonly frame: FrameId;
  readonly at: number;
}

/** What a certified pack adds to the index. */
export interface PackCommit {
  readonly pack: PackRow;
  readonly frames: readonly FramePlace[];
  readonly ranges: readonly FlushedRange[];
}

/** One atomic change of the tree. Nothing is visible before `commit`; a change that is not committed never happened. */
export interface Change {
  /** A new inode; its number is taken when the change commits or not. */
  createInode(fields: InodeFields): Inode;
  /** Sets fields of an existing (or just created) inode. */
  setInode(ino: Ino, fields: InodeFields): void;
  /** Removes an inode with its xattrs, symlink target and extents. */
  removeInode(ino: Ino): void;
  /** Adds a name, or points an existing one elsewhere (with a new cookie). */
  setDentry(parent: Ino, name: Name, ino: Ino, type: number): void;
  removeDentry(parent: Ino, name: Name): void;
  setXattr(ino: Ino, name: Name, value: Uint8Array): void;
  removeXattr(ino: Ino, name: Name): void;
  setSymlink(ino: Ino, target: Uint8Array): void;
  /** Writes bytes into a file (the size is the caller's to set); at most one call a change. `data` is copied into the log at commit. */
  stage(ino: Ino, offset: number, data: Buffer): void;
  /** Turns [from, to) of a file into a hole. */
  cut(ino: Ino, from: number, to: number): void;
  /** Lets [to, to+length) of `target` show the same bytes as [from, from+length) of `source` (both ranges as they are now); no bytes are stored. */
  share(source: Ino, from: number, length: number, target: Ino, to: number): void;
  /**
   * Appends the record and applies it to memory; 0, or −ENOSPC with nothing changed.
   * `reserve`: may use the space kept back so that pages already accepted by the kernel find room.
   */
  commit(reserve?: boolean): number;
}

/** Figures for `status` and statfs. */
export interface IndexTotals {
  inodes: number;
  /** Bytes staged in the log, and the age of the oldest (ms since 1970; 0 if none). */
  stagedBytes: number;
  stagedFiles: number;
  oldestStagedMs: number;
  /** Bytes of files as extents (staged and certified). */
  contentBytes: number;
}

/** A consistent copy of both databases at one log record, for the flush; removed by `release`. */
export interface IndexSnapshot {
  /** Directory that holds `index.db` and `local.db`. */
  readonly directory: string;
  /** Every record up to here is in the copy, none after. */
  readonly seq: Seq;
  /** Removes the copy and lets log segments be reused. */
  release(): Promise<void>;
}

/** The index of a mounted volume (front thread). */
export interface Index {
  /** The request of the kernel's whose changes are being made; 0: none. */
  readonly cause: { request: number };
  inode(ino: Ino): Inode | undefined;
  lookup(parent: Ino, name: Name): Dentry | undefined;
  /** Names behind `cookie` in cookie order, at most `limit`; the array is kept and not the caller's to change. */
  list(parent: Ino, cookie: number, limit: number): Dentry[];
  isEmpty(directory: Ino): boolean;
  xattr(ino: Ino, name: Name): Buffer | undefined;
  xattrNames(ino: Ino): Name[];
  symlink(ino: Ino): Buffer | undefined;
  /** Extents that touch [offset, offset+length), in order, clipped to it; holes are left out. */
  extents(ino: Ino, offset: number, length: number): Extent[];
  /** Next offset ≥ `offset` that is data (or hole) within the file's extents; −1 if none. */
  seek(ino: Ino, offset: number, what: 'data' | 'hole'): number;
  frame(frame: FrameId): FramePlace | undefined;
  pack(pack: PackNo): PackRow | undefined;
  /** Plain bytes [at, at + length) of a frame, if they are part of this file's last page and were kept when they left the log. */
  tail(ino: Ino, frame: FramePlace, at: number, length: number): Buffer | undefined;
  /**
   * Bytes of the log that match their checksum, as a view; valid until the caller returns to the
   * event loop. A promise: to be asked again then. Throws `damaged`, naming file and place on disk.
   */
  stagedBytes(addr: LogAddr, length: number): Buffer | Promise<void>;
  /** A path to the inode for messages (text), or its number if it has no name. */
  pathOf(ino: Ino): string;
  change(): Change;
  /** True if everything answered so far survives power loss; on a fast disk that is waited for, unless descriptor `company` can be read. */
  syncNow(company: number): boolean;
  /** Everything answered so far survives power loss when this resolves (one fdatasync, shared by those who wait). */
  sync(): Promise<void>;
  /** Copies both databases at a moment that includes everything answered so far. */
  snapshot(directory: string): Promise<IndexSnapshot>;
  /** Enters a certified pack, a slice at a time so that the front stays responsive; ranges overwritten meanwhile are left alone. Returns when *local*. */
  commitPack(commit: PackCommit): Promise<{ applied: number; superseded: number }>;
  /** Packs are paid for longer, until these epochs. Returns when *local*. */
  renewPacks(ends: readonly { pack: PackNo; endEpoch: number }[]): Promise<void>;
  /** Inodes without a name, as of the start. */
  orphans(): Ino[];
  /** Removes inodes without a name that nobody will give back (after a crash): called once before mounting anew. */
  removeOrphans(): void;
  totals(): IndexTotals;
  /** Bytes that the log can still take, what is left of its newest file apart, on a disk with `freeBytes` free. */
  roomBytes(freeBytes: number): number;
  /** Changes of the tree begun since it was opened; what the flush commits does not count. */
  changes(): number;
  /** True when everything answered so far is *local*. */
  isSynced(): boolean;
  /** True when no log record is needed any more: everything applied, nothing staged. */
  logIsIdle(): boolean;
  /** After ENOSPC: resolves when what was deleted has given its space back, or did not in time; undefined if nothing will. */
  relief(): Promise<void> | undefined;
  /** Frees every log segment that no staged byte and no unapplied record needs, its bytes included. */
  reclaim(): Promise<void>;
  /** Called once when writing has failed for good (the disk under the index): the mount goes read-only. */
  onFatal(listener: (error: Error) => void): void;
  close(): Promise<void>;
}
