/** Reading SQLite on the front thread: what the memory does not hold. Prepared once, indexed always. */
import type { Statement } from 'better-sqlite3';
import type { FrameId, Ino, LogAddr, Name, PackNo } from '../base/ids.ts';
import { SEGMENT_BYTES } from '../base/limits.ts';
import { type Db, indexPath, localPath, openForReading, stateOf } from './database.ts';
import { blocksOf, type InodeRow } from './mutation.ts';
import type { Dentry, Extent, FramePlace, PackRow } from './types.ts';

const bytesOf = (name: Name): Buffer => Buffer.from(name, 'latin1');

/** A staged range as the local database has it. */
export interface StagedRow {
  readonly ino: Ino;
  readonly offset: number;
  readonly length: number;
  readonly addr: LogAddr;
}

type Row = Record<string, number>;

/**
 * One connection's statements within a turn of the event loop share a read transaction: each by
 * itself would lock and unlock a file, which costs more than the reading.
 */
class Reading {
  readonly #db: Db;
  readonly #begin: Statement;
  readonly #commit: Statement;
  #isOpen = false;

  constructor(db: Db) {
    this.#db = db;
    this.#begin = db.prepare('BEGIN');
    this.#commit = db.prepare('COMMIT');
  }

  /** To be called before a statement. */
  begin(): void {
    if (this.#isOpen) return;
    this.#begin.run();
    this.#isOpen = true;
    setImmediate(() => this.end());
  }

  /** What is read from now on is what the writer has committed by now. */
  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#db.open) this.#commit.run();
  }
}

/** The read-only connections and their statements. */
export class Queries {
  readonly index: Db;
  readonly local: Db;
  readonly #indexReading: Reading;
  readonly #localReading: Reading;
  readonly #get: Record<string, Statement>;

  constructor(directory: string) {
    this.index = openForReading(indexPath(directory));
    this.local = openForReading(localPath(directory));
    const { index, local } = this;
    this.#indexReading = new Reading(index);
    this.#localReading = new Reading(local);
    this.#get = {
      inode: index.prepare('SELECT * FROM inode WHERE ino = ?'),
      dentry: index.prepare('SELECT ino, type, cookie FROM dentry WHERE parent = ? AND name = ?'),
      list: index
        .prepare(
          'SELECT name, ino, type, cookie FROM dentry INDEXED BY dentry_cookie WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?',
        )
        .raw(),
      names: index.prepare('SELECT parent, name, type, cookie FROM dentry WHERE ino = ?'),
      xattrs: index.prepare('SELECT name, value FROM xattr WHERE ino = ?'),
      symlink: index.prepare('SELECT target FROM symlink WHERE ino = ?').pluck(),
      extents: index
        .prepare(
          'SELECT offset, length, frame, frame_offset FROM extent WHERE ino = ? ORDER BY offset',
        )
        .raw(),
      staged: local
        .prepare('SELECT offset, length, addr FROM staged WHERE ino = ? ORDER BY offset')
        .raw(),
      frame: index.prepare('SELECT * FROM frame WHERE id = ?'),
      pack: index.prepare('SELECT * FROM pack WHERE id = ?'),
      orphans: index.prepare('SELECT ino FROM inode WHERE nlink = 0').pluck(),
      inSegment: local.prepare(
        'SELECT ino, offset, length, addr FROM staged WHERE addr >= ? AND addr < ? ORDER BY addr',
      ),
      liveBytes: local.prepare(
        `SELECT addr / ${SEGMENT_BYTES} AS slot, SUM(length) AS bytes FROM staged GROUP BY 1`,
      ),
      stagedFiles: local.prepare('SELECT COUNT(DISTINCT ino) FROM staged').pluck(),
    };
  }

  /** The index writer has committed more: statements from now on see it. */
  refresh(): void {
    this.#indexReading.end();
    this.#localReading.end();
  }

  inode(ino: Ino): InodeRow | null {
    this.#indexReading.begin();
    const r = this.#get.inode!.get(ino) as Row | undefined;
    if (r === undefined) return null;
    const { mode, nlink, uid, gid, rdev, size, bytes, parent, atime, mtime, ctime, btime } =
      r as unknown as InodeRow;
    return {
      ...{ ino, mode, nlink, uid, gid, rdev, size, blocks: blocksOf(bytes), bytes, parent },
      ...{ atime, atimeNs: r.atime_ns!, mtime, mtimeNs: r.mtime_ns! },
      ...{ ctime, ctimeNs: r.ctime_ns!, btime, btimeNs: r.btime_ns! },
    };
  }

  dentry(parent: Ino, name: Name): Dentry | null {
    this.#indexReading.begin();
    const r = this.#get.dentry!.get(parent, bytesOf(name)) as Row | undefined;
    return r === undefined ? null : { parent, name, ino: r.ino!, type: r.type!, cookie: r.cookie! };
  }

  /** Names of a directory behind `cookie`, in cookie order, at most `limit`. */
  list(parent: Ino, cookie: number, limit: number): Dentry[] {
    this.#indexReading.begin();
    const rows = this.#get.list!.all(parent, cookie, limit) as [Buffer, Ino, number, number][];
    return rows.map(([name, ino, type, cookie]) => ({
      parent,
      name: name.latin1Slice(),
      ino,
      type,
      cookie,
    }));
  }

  /** Every name of an inode. */
  names(ino: Ino): Dentry[] {
    const rows = this.#get.names!.all(ino) as (Omit<Dentry, 'name' | 'ino'> & { name: Buffer })[];
    return rows.map(r => ({ ...r, ino, name: r.name.latin1Slice() }));
  }

  xattrs(ino: Ino): Map<Name, Buffer> {
    this.#indexReading.begin();
    const rows = this.#get.xattrs!.all(ino) as { name: Buffer; value: Buffer }[];
    return new Map(rows.map(r => [r.name.latin1Slice(), r.value]));
  }

  symlink(ino: Ino): Buffer | null {
    return (this.#get.symlink!.get(ino) as Buffer | undefined) ?? null;
  }

  /** All extents of a file, of both tables, in order. */
  extents(ino: Ino): Extent[] {
    this.#indexReading.begin();
    this.#localReading.begin();
    const frames = (this.#get.extents!.all(ino) as [number, number, number, number][]).map(
      ([offset, length, frame, at]) => ({ offset, length, addr: -1, frame, at }),
    );
    const staged = (this.#get.staged!.all(ino) as [number, number, number][]).map(
      ([offset, length, addr]) => ({ offset, length, addr, frame: 0, at: 0 }),
    );
    if (staged.length === 0) return frames;
    return [...frames, ...staged].sort((a, b) => a.offset - b.offset);
  }

  frame(id: FrameId): FramePlace | null {
    const r = this.#get.frame!.get(id) as (Row & { identity: Buffer }) | undefined;
    if (r === undefined) return null;
    return {
      ...{ frame: id, identity: r.identity as Buffer, pack: r.pack!, slot: r.slot! },
      ...{ offset: r.offset!, sealedBytes: r.sealed_bytes!, plainBytes: r.plain_bytes! },
      compression: r.compression!,
    };
  }

  pack(id: PackNo): PackRow | null {
    const r = this.#get.pack!.get(id) as
      | {
          pack_id: Buffer;
          salt: Buffer;
          size: number;
          n_shards: number;
          blob_id: Buffer | null;
          object_id: string | null;
          end_epoch: number;
        }
      | undefined;
    if (r === undefined) return null;
    return {
      ...{ pack: id, packId: r.pack_id, salt: r.salt, size: r.size, nShards: r.n_shards },
      blobId: r.blob_id ?? Buffer.alloc(0),
      objectId: r.object_id ?? '',
      endEpoch: r.end_epoch,
    };
  }

  orphans(): Ino[] {
    return this.#get.orphans!.all() as Ino[];
  }

  /** Staged ranges whose first byte stands in a segment, by address. */
  inSegment(slot: number): StagedRow[] {
    const from = slot * SEGMENT_BYTES;
    return this.#get.inSegment!.all(from, from + SEGMENT_BYTES) as StagedRow[];
  }

  /** Staged bytes a segment. */
  liveBytes(): { slot: number; bytes: number }[] {
    return this.#get.liveBytes!.all() as { slot: number; bytes: number }[];
  }

  stagedFiles(): number {
    return this.#get.stagedFiles!.get() as number;
  }

  state(key: string): number {
    return stateOf(this.index, key);
  }

  close(): void {
    this.index.close();
    this.local.close();
  }
}
