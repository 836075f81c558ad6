/**
 * An index in memory, small enough to be seen to be right: tests of the vfs run over it where the
 * real one would only add time, and it is the model that the real one is compared with. Nothing is
 * durable; the log is one buffer.
 */
import { Errno } from '../../src/base/errno.ts';
import { type FrameId, type Ino, type Name, type PackNo, ROOT_INO } from '../../src/base/ids.ts';
import type {
  Change,
  Dentry,
  Extent,
  FramePlace,
  Index,
  IndexSnapshot,
  IndexTotals,
  Inode,
  InodeFields,
  PackCommit,
  PackRow,
} from '../../src/meta/types.ts';

type Row = { -readonly [K in keyof Inode]: Inode[K] };

const EMPTY: Omit<Row, 'ino'> = {
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  atime: 0,
  atimeNs: 0,
  mtime: 0,
  mtimeNs: 0,
  ctime: 0,
  ctimeNs: 0,
  btime: 0,
  btimeNs: 0,
  parent: 0,
};

const clip = (extent: Extent, from: number, to: number): Extent => {
  const offset = Math.max(extent.offset, from);
  const skipped = offset - extent.offset;
  const staged = extent.frame === 0;
  return {
    offset,
    length: Math.min(extent.offset + extent.length, to) - offset,
    addr: staged ? extent.addr + skipped : -1,
    frame: extent.frame,
    at: staged ? 0 : extent.at + skipped,
  };
};

/** The index of one volume, in memory. */
export class MemoryIndex implements Index {
  readonly cause = { request: 0 };
  /** What `relief` answers. */
  reliefs: (() => Promise<void>) | undefined;
  /** What `roomBytes` says at most. */
  room = Number.POSITIVE_INFINITY;
  readonly inodes = new Map<Ino, Row>();
  readonly names = new Map<Ino, Map<Name, Dentry>>();
  readonly attributes = new Map<Ino, Map<Name, Buffer>>();
  readonly targets = new Map<Ino, Buffer>();
  readonly runs = new Map<Ino, Extent[]>();
  readonly frames = new Map<FrameId, FramePlace>();
  readonly packs = new Map<PackNo, PackRow>();
  /** Commits without the reserve answer ENOSPC. */
  full = false;
  /** Commits with the reserve answer ENOSPC too. */
  reserveFull = false;
  syncs = 0;
  commits = 0;
  nextIno = 2;
  nextCookie = 1;
  log = Buffer.alloc(1 << 16);
  logEnd = 0;

  constructor() {
    this.inodes.set(ROOT_INO, {
      ...EMPTY,
      ino: ROOT_INO,
      mode: 0o040755,
      nlink: 2,
      parent: ROOT_INO,
    });
  }

  inode(ino: Ino): Inode | undefined {
    return this.inodes.get(ino);
  }
  lookup(parent: Ino, name: Name): Dentry | undefined {
    return this.names.get(parent)?.get(name);
  }
  list(parent: Ino, cookie: number, limit: number): Dentry[] {
    const all = [...(this.names.get(parent)?.values() ?? [])];
    return all
      .filter(entry => entry.cookie > cookie)
      .sort((a, b) => a.cookie - b.cookie)
      .slice(0, limit);
  }
  isEmpty(directory: Ino): boolean {
    return (this.names.get(directory)?.size ?? 0) === 0;
  }
  xattr(ino: Ino, name: Name): Buffer | undefined {
    return this.attributes.get(ino)?.get(name);
  }
  xattrNames(ino: Ino): Name[] {
    return [...(this.attributes.get(ino)?.keys() ?? [])];
  }
  symlink(ino: Ino): Buffer | undefined {
    return this.targets.get(ino);
  }
  extents(ino: Ino, offset: number, length: number): Extent[] {
    const end = offset + length;
    return (this.runs.get(ino) ?? [])
      .filter(run => run.offset < end && run.offset + run.length > offset)
      .map(run => clip(run, offset, end));
  }
  seek(ino: Ino, offset: number, what: 'data' | 'hole'): number {
    let at = offset;
    for (const run of this.runs.get(ino) ?? []) {
      if (run.offset + run.length <= at) continue;
      if (run.offset > at) return what === 'data' ? run.offset : at;
      if (what === 'data') return at;
      at = run.offset + run.length;
    }
    return what === 'data' ? -1 : at;
  }
  frame(frame: FrameId): FramePlace | undefined {
    return this.frames.get(frame);
  }
  pack(pack: PackNo): PackRow | undefined {
    return this.packs.get(pack);
  }
  tail(): Buffer | undefined {
    return undefined;
  }
  stagedBytes(addr: number, length: number): Buffer {
    return this.log.subarray(addr, addr + length);
  }
  pathOf(ino: Ino): string {
    return String(ino);
  }
  change(): Change {
    return new MemoryChange(this);
  }
  syncNow(): boolean {
    return false;
  }
  async sync(): Promise<void> {
    this.syncs++;
  }
  async snapshot(): Promise<IndexSnapshot> {
    throw new Error('a memory index has no snapshots');
  }
  async renewPacks(): Promise<void> {}
  async commitPack(commit: PackCommit): Promise<{ applied: number; superseded: number }> {
    this.packs.set(commit.pack.pack, commit.pack);
    for (const frame of commit.frames) this.frames.set(frame.frame, frame);
    let applied = 0;
    for (const range of commit.ranges) {
      const [run] = this.extents(range.ino, range.offset, range.length);
      if (run?.addr !== range.addr || run.length !== range.length) continue;
      this.cutRun(range.ino, range.offset, range.offset + range.length);
      this.addRun(range.ino, { ...range, addr: -1 });
      applied++;
    }
    return { applied, superseded: commit.ranges.length - applied };
  }
  orphans(): Ino[] {
    return [...this.inodes.values()].filter(row => row.nlink === 0).map(row => row.ino);
  }
  removeOrphans(): void {
    for (const ino of this.orphans()) this.removeAll(ino);
  }
  changes(): number {
    return 0;
  }

  isSynced(): boolean {
    return true;
  }

  roomBytes(freeBytes: number): number {
    return Math.min(freeBytes, this.room);
  }

  totals(): IndexTotals {
    let contentBytes = 0;
    for (const runs of this.runs.values()) for (const run of runs) contentBytes += run.length;
    return {
      inodes: this.inodes.size,
      stagedBytes: this.logEnd,
      stagedFiles: this.runs.size,
      oldestStagedMs: 0,
      contentBytes,
    };
  }
  logIsIdle(): boolean {
    return this.logEnd === 0;
  }
  relief(): Promise<void> | undefined {
    return this.reliefs?.();
  }
  async reclaim(): Promise<void> {}
  onFatal(): void {}
  async close(): Promise<void> {}

  append(data: Buffer): number {
    const addr = this.logEnd;
    while (this.log.length < addr + data.length)
      this.log = Buffer.concat([this.log, Buffer.alloc(this.log.length)]);
    data.copy(this.log, addr);
    this.logEnd += data.length;
    return addr;
  }
  cutRun(ino: Ino, from: number, to: number): void {
    const kept: Extent[] = [];
    for (const run of this.runs.get(ino) ?? []) {
      const end = run.offset + run.length;
      if (end <= from || run.offset >= to) kept.push(run);
      else {
        if (run.offset < from) kept.push(clip(run, run.offset, from));
        if (end > to) kept.push(clip(run, to, end));
      }
    }
    this.setRuns(ino, kept);
  }
  addRun(ino: Ino, run: Extent): void {
    this.setRuns(ino, [...(this.runs.get(ino) ?? []), run]);
  }
  setRuns(ino: Ino, runs: Extent[]): void {
    this.runs.set(
      ino,
      runs.sort((a, b) => a.offset - b.offset),
    );
    const bytes = runs.reduce((sum, run) => sum + run.length, 0);
    this.inodes.get(ino)!.blocks = Math.ceil(bytes / 512);
  }
  removeAll(ino: Ino): void {
    for (const table of [this.inodes, this.names, this.attributes, this.targets, this.runs])
      table.delete(ino);
  }
}

/** Steps are kept until the commit, then applied in order. */
class MemoryChange implements Change {
  readonly #index: MemoryIndex;
  readonly #steps: (() => void)[] = [];

  constructor(index: MemoryIndex) {
    this.#index = index;
  }

  createInode(fields: InodeFields): Inode {
    const row = { ...EMPTY, ...fields, ino: this.#index.nextIno++ };
    this.#steps.push(() => this.#index.inodes.set(row.ino, row));
    return row;
  }
  setInode(ino: Ino, fields: InodeFields): void {
    // What was given out before stays as it was.
    this.#steps.push(() =>
      this.#index.inodes.set(ino, { ...this.#index.inodes.get(ino)!, ...fields }),
    );
  }
  removeInode(ino: Ino): void {
    this.#steps.push(() => this.#index.removeAll(ino));
  }
  setDentry(parent: Ino, name: Name, ino: Ino, type: number): void {
    this.#steps.push(() => {
      const names = this.#index.names.get(parent) ?? new Map();
      names.set(name, { parent, name, ino, type, cookie: this.#index.nextCookie++ });
      this.#index.names.set(parent, names);
    });
  }
  removeDentry(parent: Ino, name: Name): void {
    this.#steps.push(() => this.#index.names.get(parent)?.delete(name));
  }
  setXattr(ino: Ino, name: Name, value: Uint8Array): void {
    const kept = Buffer.from(value);
    this.#steps.push(() => {
      const values = this.#index.attributes.get(ino) ?? new Map();
      this.#index.attributes.set(ino, values.set(name, kept));
    });
  }
  removeXattr(ino: Ino, name: Name): void {
    this.#steps.push(() => this.#index.attributes.get(ino)?.delete(name));
  }
  setSymlink(ino: Ino, target: Uint8Array): void {
    const kept = Buffer.from(target);
    this.#steps.push(() => this.#index.targets.set(ino, kept));
  }
  stage(ino: Ino, offset: number, data: Buffer): void {
    this.#steps.push(() => {
      const addr = this.#index.append(data);
      this.#index.cutRun(ino, offset, offset + data.length);
      this.#index.addRun(ino, { offset, length: data.length, addr, frame: 0, at: 0 });
    });
  }
  cut(ino: Ino, from: number, to: number): void {
    this.#steps.push(() => this.#index.cutRun(ino, from, to));
  }
  share(source: Ino, from: number, length: number, target: Ino, to: number): void {
    this.#steps.push(() => {
      const runs = this.#index.extents(source, from, length);
      this.#index.cutRun(target, to, to + length);
      for (const run of runs)
        this.#index.addRun(target, { ...run, offset: run.offset - from + to });
    });
  }
  commit(reserve = false): number {
    if (reserve ? this.#index.reserveFull : this.#index.full) return -Errno.ENOSPC;
    this.#index.commits++;
    for (const step of this.#steps) step();
    return 0;
  }
}
