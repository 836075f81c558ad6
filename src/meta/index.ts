/**
 * The index of a mounted volume: memory over SQLite in front of the log. The log is what makes a
 * change last; the index writer follows behind. Whatever is not in memory is in SQLite.
 */
import { rmSync } from 'node:fs';
import { ByteWriter } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { TuskError } from '../base/errors.ts';
import {
  type FrameId,
  type Ino,
  type LogAddr,
  type Name,
  nameToText,
  type PackNo,
  ROOT_INO,
  type Seq,
} from '../base/ids.ts';
import type { Log } from '../log/log.ts';
import { damagedBytes } from '../log/place.ts';
import { addrOf, slotOf } from '../log/record.ts';
import { IndexChange } from './change.ts';
import { commitPack } from './commit-pack.ts';
import { Memory } from './memory.ts';
import type { LastAnswer } from './messages.ts';
import { Kind } from './mutation.ts';
import type { Queries } from './queries.ts';
import { Reclaimer } from './reclaim.ts';
import type { TailReader } from './tails.ts';
import type {
  Change,
  Dentry,
  Extent,
  FramePlace,
  Index,
  IndexSnapshot,
  IndexTotals,
  Inode,
  PackCommit,
  PackRow,
} from './types.ts';
import type { WriterHost } from './writer-host.ts';

/** Orphans removed a record. */
const ORPHANS_SLICE = 200;

/**
 * Records that the index writer may lag behind. What they changed is pinned in memory: beyond this,
 * each change waits a moment, so that the writer gains on the front and memory stays bounded.
 */
const LAG_RECORDS_MAX = 100_000;
const LAG_PAUSE_MS = 2;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Figures of the index for metrics. */
export interface IndexMetrics {
  /** Records not yet applied by the index writer, and things pinned in memory by them. */
  lagRecords: number;
  pinned: number;
  /** Log segments in use, and those taken before they were filled with zeros. */
  segments: number;
  coldSegments: number;
}

/** The parts that `openIndex` has put together. */
export interface IndexParts {
  log: Log;
  queries: Queries;
  tails: TailReader;
  writer: WriterHost;
  clock: Clock;
  durable: Seq;
  lastAnswer: LastAnswer | undefined;
}

/** The index as the front thread uses it. */
export class MetaIndex implements Index {
  readonly log: Log;
  readonly memory: Memory;
  readonly scratch = new ByteWriter(64 * 1024);
  nextIno: Ino;
  nextCookie: number;
  inodes: number;
  /** Set while a request of the kernel's is answered, so that the log can tell which it was. */
  readonly cause = { request: 0 };
  /** As found when the index was opened. */
  readonly lastAnswer: LastAnswer | undefined;
  readonly #queries: Queries;
  readonly #tails: TailReader;
  readonly #writer: WriterHost;
  readonly #clock: Clock;
  readonly #reclaimer: Reclaimer;
  #appliedSeq: Seq;
  #changes = 0;
  #fatal: Error | undefined;
  #onFatal: ((error: Error) => void) | undefined;
  #onChange: () => void = () => {};

  constructor({ log, queries, tails, writer, clock, durable, lastAnswer }: IndexParts) {
    this.log = log;
    this.lastAnswer = lastAnswer;
    this.#queries = queries;
    this.#tails = tails;
    this.#writer = writer;
    this.#clock = clock;
    this.nextIno = queries.state('next_ino');
    this.memory = new Memory(queries, this.nextIno, (addr, bytes, seq) =>
      log.segments.account(addr, bytes, seq, clock.nowMs()),
    );
    this.nextCookie = queries.state('next_cookie');
    this.inodes = queries.state('inodes');
    this.memory.contentBytes = queries.state('content_bytes');
    this.memory.stagedFiles = queries.stagedFiles();
    this.#appliedSeq = log.lastSeq;
    for (const { slot, bytes } of queries.liveBytes()) {
      log.segments.account(addrOf(slot, 0), bytes, 0, log.segments.writtenMs(slot));
      this.memory.stagedBytes += bytes;
    }
    this.#reclaimer = new Reclaimer(this, queries, writer, durable);
    this.#listen();
  }

  inode(ino: Ino): Inode | undefined {
    return this.memory.inodes.get(ino) ?? undefined;
  }

  lookup(parent: Ino, name: Name): Dentry | undefined {
    return this.memory.name(parent, name) ?? undefined;
  }

  list(parent: Ino, cookie: number, limit: number): Dentry[] {
    return this.memory.list(parent, cookie, limit);
  }

  isEmpty(directory: Ino): boolean {
    return this.memory.isEmpty(directory);
  }

  xattr(ino: Ino, name: Name): Buffer | undefined {
    return this.memory.xattrs.get(ino)?.get(name);
  }

  xattrNames(ino: Ino): Name[] {
    return [...(this.memory.xattrs.get(ino)?.keys() ?? [])];
  }

  symlink(ino: Ino): Buffer | undefined {
    return this.memory.symlinks.get(ino)?.bytes;
  }

  extents(ino: Ino, offset: number, length: number): Extent[] {
    return this.memory.extents(ino).within(offset, offset + length);
  }

  seek(ino: Ino, offset: number, what: 'data' | 'hole'): number {
    return this.memory.extents(ino).seek(offset, what);
  }

  frame(frame: FrameId): FramePlace | undefined {
    return this.memory.frames.get(frame) ?? undefined;
  }

  pack(pack: PackNo): PackRow | undefined {
    return this.memory.packs.get(pack) ?? undefined;
  }

  tail(ino: Ino, frame: FramePlace, at: number, length: number): Buffer | undefined {
    return this.#tails.find(ino, frame.identity, at, length);
  }

  stagedBytes(addr: LogAddr, length: number): Buffer | Promise<void> {
    const bytes = this.log.segments.bytes(addr, length);
    if (bytes === 'damaged') throw damagedBytes(this.log.segments.directory, addr, length, []);
    if (bytes === 'unknown') return this.log.segments.verify(slotOf(addr)).then(() => {});
    return bytes;
  }

  /** Reads a segment that is about to be flushed; rejects `damaged`, naming the files, if staged bytes in it do not match their checksum. */
  async verifyStaged(slot: number): Promise<void> {
    for (const { from, to } of await this.log.segments.verify(slot)) {
      const shown = this.#queries
        .inSegment(slot)
        .filter(row => row.addr < to && row.addr + row.length > from);
      if (shown.length === 0) continue;
      const paths = [...new Set(shown.map(row => this.pathOf(row.ino)))];
      throw damagedBytes(this.log.segments.directory, from, to - from, paths);
    }
  }

  pathOf(ino: Ino): string {
    const parts: string[] = [];
    for (let at = ino; at !== ROOT_INO; ) {
      const dentry = this.memory.nameOf(at);
      if (dentry === undefined || parts.length > 4096) return `inode ${ino}`;
      parts.unshift(nameToText(dentry.name));
      at = dentry.parent;
    }
    return `/${parts.join('/')}`;
  }

  change(): Change {
    this.#changes++;
    this.#onChange();
    return new IndexChange(this);
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  keepPace(): void {
    if (this.log.lastSeq - this.#appliedSeq > LAG_RECORDS_MAX)
      Atomics.wait(PAUSE, 0, 0, LAG_PAUSE_MS);
  }

  syncNow(company: number): boolean {
    this.#throwIfFatal();
    return this.log.syncNow(company);
  }

  async sync(): Promise<void> {
    this.#throwIfFatal();
    await this.log.sync();
  }

  async snapshot(directory: string): Promise<IndexSnapshot> {
    await this.sync();
    // `apply` for this record was posted when it was synced; nothing newer can be before the copy. Only
    // now is it known in which segments all that stands that the copy shows.
    const seq = this.log.syncedSeq;
    const release = this.#reclaimer.pin();
    try {
      await this.#writer.copy(directory);
      return {
        directory,
        seq,
        release: async () => {
          rmSync(directory, { recursive: true, force: true });
          release();
        },
      };
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      release();
      throw error;
    }
  }

  async commitPack(pack: PackCommit): Promise<{ applied: number; superseded: number }> {
    this.#throwIfFatal();
    const result = await commitPack(this, pack, {
      find: (ino, frame, at, length) => this.tail(ino, frame, at, length),
      keep: pieces => this.#writer.keep(pieces),
    });
    await this.sync();
    this.#reclaimer.soon();
    return result;
  }

  async renewPacks(ends: readonly { pack: PackNo; endEpoch: number }[]): Promise<void> {
    this.#throwIfFatal();
    const change = new IndexChange(this);
    for (const { pack, endEpoch } of ends) {
      const row = this.pack(pack);
      if (row !== undefined) change.put({ kind: Kind.pack, row: { ...row, endEpoch } });
    }
    if (change.commit(true) < 0)
      throw new TuskError(
        'disk_full',
        'no space is left in the state directory to note until when packs are paid: free some space',
      );
    await this.sync();
  }

  orphans(): Ino[] {
    return this.#queries.orphans();
  }

  removeOrphans(): void {
    const orphans = this.orphans();
    for (let i = 0; i < orphans.length; i += ORPHANS_SLICE) {
      const change = this.change();
      for (const ino of orphans.slice(i, i + ORPHANS_SLICE)) {
        if (this.inode(ino)?.nlink === 0) change.removeInode(ino);
      }
      if (change.commit(true) < 0) return;
    }
  }

  totals(): IndexTotals {
    const { stagedBytes, stagedFiles, contentBytes } = this.memory;
    let oldestStagedMs = 0;
    for (const segment of this.log.segments.used) {
      if (segment.liveBytes > 0 && (oldestStagedMs === 0 || segment.oldestMs < oldestStagedMs))
        oldestStagedMs = segment.oldestMs;
    }
    return { inodes: this.inodes, stagedBytes, stagedFiles, oldestStagedMs, contentBytes };
  }

  roomBytes(freeBytes: number): number {
    return this.log.segments.roomBytes(freeBytes);
  }

  changes(): number {
    return this.#changes;
  }

  isSynced(): boolean {
    return this.log.syncedSeq === this.log.lastSeq;
  }

  /** Figures for the metrics page. */
  metrics(): IndexMetrics {
    return {
      lagRecords: this.log.lastSeq - this.#appliedSeq,
      pinned: this.memory.pinnedCount,
      segments: this.log.segments.usedCount,
      coldSegments: this.log.segments.coldTakes,
    };
  }

  logIsIdle(): boolean {
    return this.#reclaimer.isIdle();
  }

  relief(): Promise<void> | undefined {
    return this.#reclaimer.relief();
  }

  async reclaim(): Promise<void> {
    this.#throwIfFatal();
    await this.#reclaimer.everything();
  }

  /** `listener` hears of each change that is tried, before it is made. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  onFatal(listener: (error: Error) => void): void {
    this.#onFatal = listener;
    if (this.#fatal !== undefined) listener(this.#fatal);
  }

  async close(): Promise<void> {
    try {
      this.#writer.hurry();
      await this.#reclaimer.stop();
      await this.log.sync();
      await this.#writer.close();
    } finally {
      this.#queries.close();
      this.#tails.close();
      await this.log.close();
    }
  }

  /** Ends without syncing, applying or cleaning up, as a crash would; for tests. */
  async crash(): Promise<void> {
    await this.#reclaimer.stop();
    await this.#writer.kill();
    this.#queries.close();
    this.#tails.close();
    await this.log.abandon();
  }

  #listen(): void {
    const failed = (error: Error): void => {
      if (this.#fatal !== undefined) return;
      this.#fatal = error;
      this.#onFatal?.(error);
    };
    this.log.listen(seq => this.#writer.apply(seq), failed);
    this.#writer.listen({
      applied: seq => {
        this.#appliedSeq = seq;
        this.memory.applied(seq);
      },
      durable: seq => this.#reclaimer.durable(seq),
      fatal: failed,
    });
  }

  #throwIfFatal(): void {
    if (this.#fatal === undefined) return;
    throw new TuskError('io', this.#fatal.message, { cause: this.#fatal, kind: 'permanent' });
  }
}
