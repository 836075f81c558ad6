/**
 * Applies log records to SQLite. Each database keeps the number of the last record it has, and
 * skips what it has already: so the two files need not commit together, and applying a record
 * twice changes nothing.
 */
import type { Statement } from 'better-sqlite3';
import { ByteReader } from '../base/bytes.ts';
import type { Ino, Seq } from '../base/ids.ts';
import type { LogRecord } from '../log/record.ts';
import { appliedSeqOf, type Databases, type Db, setState, stateOf } from './database.ts';
import {
  CLEARS_FRAMES,
  CLEARS_STAGED,
  decodeMutation,
  type InodeRow,
  Kind,
  type Mutation,
} from './mutation.ts';
import type { TailDrop } from './tails.ts';

/** All of a file. */
const WHOLE = { from: 0, to: Number.MAX_SAFE_INTEGER };

const bytesOf = (name: string): Buffer => Buffer.from(name, 'latin1');

/** Cuts ranges out of one of the two extent tables. */
class RangeTable {
  readonly #before: Statement;
  readonly #shorten: Statement;
  readonly #delete: Statement;
  readonly #deleteAll: Statement;
  readonly #insert: Statement;
  readonly #moves: boolean;

  /** `columns`: what follows ino, offset, length; the last of them moves with the offset. */
  constructor(db: Db, table: string, columns: readonly string[]) {
    const list = columns.join(', ');
    this.#moves = columns.length > 1;
    this.#before = db
      .prepare(
        `SELECT offset, length, ${list} FROM ${table} WHERE ino = ? AND offset < ? ORDER BY offset DESC LIMIT 1`,
      )
      .raw();
    this.#shorten = db.prepare(`UPDATE ${table} SET length = ? WHERE ino = ? AND offset = ?`);
    this.#delete = db.prepare(`DELETE FROM ${table} WHERE ino = ? AND offset >= ? AND offset < ?`);
    this.#deleteAll = db.prepare(`DELETE FROM ${table} WHERE ino = ?`);
    const marks = columns.map(() => '?').join(', ');
    this.#insert = db.prepare(
      `INSERT INTO ${table}(ino, offset, length, ${list}) VALUES(?, ?, ?, ${marks})`,
    );
  }

  cut(ino: Ino, from: number, to: number): void {
    const last = this.#before.get(ino, to) as number[] | undefined;
    if (last === undefined) return;
    const before = last[0]! < from ? last : (this.#before.get(ino, from) as number[] | undefined);
    if (before !== undefined && before[0]! + before[1]! > from) {
      this.#shorten.run(from - before[0]!, ino, before[0]!);
      this.#keepTail(ino, before, to);
    }
    if (last === before) return;
    this.#delete.run(ino, from, to);
    this.#keepTail(ino, last, to);
  }

  cutAll(ino: Ino): void {
    this.#deleteAll.run(ino);
  }

  insert(ino: Ino, offset: number, length: number, ...place: number[]): void {
    this.#insert.run(ino, offset, length, ...place);
  }

  /** Enters again what of a row stood at or behind `to`. */
  #keepTail(ino: Ino, row: number[], to: number): void {
    const end = row[0]! + row[1]!;
    if (end <= to) return;
    const skipped = to - row[0]!;
    if (this.#moves) this.insert(ino, to, end - to, row[2]!, row[3]! + skipped);
    else this.insert(ino, to, end - to, row[2]! + skipped);
  }
}

const INODE_COLUMNS =
  'ino, mode, nlink, uid, gid, rdev, size, bytes, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns, btime, btime_ns, parent';

/** The one writer of both databases. */
export class Applier {
  readonly #dbs: Databases;
  readonly #staged: RangeTable;
  readonly #extents: RangeTable;
  readonly #run: Record<string, Statement>;
  /** Inode rows of the transaction, the newest only: parents change with every name. */
  readonly #rows = new Map<Ino, InodeRow | null>();
  /** Ranges of files that showed frames, and were cut or written anew in the last transaction. */
  readonly replaced: TailDrop[] = [];
  #nextIno: number;
  #nextCookie: number;
  #indexSeq: Seq;
  #localSeq: Seq;
  #last: LogRecord | undefined;

  constructor(dbs: Databases) {
    this.#dbs = dbs;
    const { index, local } = dbs;
    this.#staged = new RangeTable(local, 'staged', ['addr']);
    this.#extents = new RangeTable(index, 'extent', ['frame', 'frame_offset']);
    this.#run = {
      inode: index.prepare(
        `INSERT OR REPLACE INTO inode(${INODE_COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
      ),
      removeInode: index.prepare('DELETE FROM inode WHERE ino = ?'),
      removeXattrs: index.prepare('DELETE FROM xattr WHERE ino = ?'),
      removeSymlink: index.prepare('DELETE FROM symlink WHERE ino = ?'),
      dentry: index.prepare(
        'INSERT OR REPLACE INTO dentry(parent, name, ino, type, cookie) VALUES(?,?,?,?,?)',
      ),
      removeDentry: index.prepare('DELETE FROM dentry WHERE parent = ? AND name = ?'),
      xattr: index.prepare('INSERT OR REPLACE INTO xattr(ino, name, value) VALUES(?,?,?)'),
      removeXattr: index.prepare('DELETE FROM xattr WHERE ino = ? AND name = ?'),
      symlink: index.prepare('INSERT OR REPLACE INTO symlink(ino, target) VALUES(?,?)'),
      frame: index.prepare(
        // A frame that is stored anew keeps its number and is found in its newest pack.
        `INSERT INTO frame(id, identity, pack, slot, offset, sealed_bytes, plain_bytes, compression) VALUES(?,?,?,?,?,?,?,?)
         ON CONFLICT(id) DO UPDATE SET pack = excluded.pack, slot = excluded.slot, offset = excluded.offset,
           sealed_bytes = excluded.sealed_bytes, compression = excluded.compression`,
      ),
      identity: local.prepare('INSERT OR IGNORE INTO identity VALUES(substr(?, 1, 8), ?)'),
      pack: index.prepare(
        // One that is known may have been paid for longer.
        `INSERT INTO pack(id, pack_id, salt, size, n_shards, blob_id, object_id, end_epoch) VALUES(?,?,?,?,?,?,?,?)
         ON CONFLICT(id) DO UPDATE SET end_epoch = excluded.end_epoch WHERE excluded.end_epoch > end_epoch
         ON CONFLICT DO NOTHING`,
      ),
    };
    this.#nextIno = stateOf(index, 'next_ino');
    this.#nextCookie = stateOf(index, 'next_cookie');
    this.#indexSeq = appliedSeqOf(index);
    this.#localSeq = appliedSeqOf(local);
  }

  /** Record up to which both databases have everything (as of the last commit). */
  get appliedSeq(): Seq {
    return Math.min(this.#indexSeq, this.#localSeq);
  }

  begin(): void {
    this.#last = undefined;
    this.#rows.clear();
    this.replaced.length = 0;
    this.#dbs.index.exec('BEGIN IMMEDIATE');
    this.#dbs.local.exec('BEGIN IMMEDIATE');
  }

  /** Applies a record within the transaction. */
  record(record: LogRecord): void {
    const reader = new ByteReader(record.mutations);
    const index = record.seq > this.#indexSeq;
    const local = record.seq > this.#localSeq;
    while (reader.left > 0) {
      const mutation = decodeMutation(reader);
      if (index) this.#toIndex(mutation);
      if (local) this.#toLocal(mutation, record);
    }
    if (index) this.#last = record;
  }

  commit(seq: Seq): void {
    for (const [ino, row] of this.#rows) this.#writeRow(ino, row);
    if (this.#last !== undefined) {
      setState(this.#dbs.index, {
        applied_seq: seq,
        next_ino: this.#nextIno,
        next_cookie: this.#nextCookie,
        inodes: this.#last.inodes,
        content_bytes: this.#last.contentBytes,
      });
    }
    if (seq > this.#localSeq) setState(this.#dbs.local, { applied_seq: seq });
    this.#dbs.local.exec('COMMIT');
    this.#localSeq = Math.max(seq, this.#localSeq);
    this.#dbs.index.exec('COMMIT');
    this.#indexSeq = Math.max(seq, this.#indexSeq);
  }

  /** Undoes what was not committed; the numbers are read anew, as one of the two may have committed. */
  rollback(): void {
    for (const db of [this.#dbs.index, this.#dbs.local]) if (db.inTransaction) db.exec('ROLLBACK');
    this.#nextIno = stateOf(this.#dbs.index, 'next_ino');
    this.#nextCookie = stateOf(this.#dbs.index, 'next_cookie');
    this.#indexSeq = appliedSeqOf(this.#dbs.index);
    this.#localSeq = appliedSeqOf(this.#dbs.local);
  }

  #toIndex(m: Mutation): void {
    const run = this.#run;
    switch (m.kind) {
      case Kind.inode:
        this.#rows.set(m.row.ino, m.row);
        this.#nextIno = Math.max(this.#nextIno, m.row.ino + 1);
        return;
      case Kind.removeInode:
        this.#rows.set(m.ino, null);
        run.removeXattrs!.run(m.ino);
        run.removeSymlink!.run(m.ino);
        if ((m.clears & CLEARS_FRAMES) === 0) return;
        this.#extents.cutAll(m.ino);
        this.replaced.push({ ino: m.ino, ...WHOLE });
        return;
      case Kind.dentry:
        run.dentry!.run(m.parent, bytesOf(m.name), m.ino, m.type, m.cookie);
        this.#nextCookie = Math.max(this.#nextCookie, m.cookie + 1);
        return;
      case Kind.removeDentry:
        run.removeDentry!.run(m.parent, bytesOf(m.name));
        return;
      case Kind.xattr:
        run.xattr!.run(m.ino, bytesOf(m.name), m.value);
        return;
      case Kind.removeXattr:
        run.removeXattr!.run(m.ino, bytesOf(m.name));
        return;
      case Kind.symlink:
        run.symlink!.run(m.ino, m.target);
        return;
      case Kind.cut:
      case Kind.placeData:
        if ((m.clears & CLEARS_FRAMES) === 0) return;
        this.#extents.cut(m.ino, m.offset, m.offset + m.length);
        this.replaced.push({ ino: m.ino, from: m.offset, to: m.offset + m.length });
        return;
      case Kind.place:
        if (m.clears & CLEARS_FRAMES) this.#extents.cut(m.ino, m.offset, m.offset + m.length);
        if (m.addr < 0) this.#extents.insert(m.ino, m.offset, m.length, m.frame, m.at);
        return;
      case Kind.frame: {
        const f = m.place;
        run.frame!.run(
          ...[f.frame, f.identity, f.pack, f.slot, f.offset],
          ...[f.sealedBytes, f.plainBytes, f.compression],
        );
        return;
      }
      case Kind.pack: {
        const p = m.row;
        run.pack!.run(
          ...[p.pack, p.packId, p.salt, p.size, p.nShards],
          ...[p.blobId.length > 0 ? p.blobId : null, p.objectId || null, p.endEpoch],
        );
        return;
      }
    }
  }

  #toLocal(m: Mutation, record: LogRecord): void {
    switch (m.kind) {
      case Kind.removeInode:
        if (m.clears & CLEARS_STAGED) this.#staged.cutAll(m.ino);
        return;
      case Kind.cut:
      case Kind.place:
      case Kind.placeData:
        if (m.clears & CLEARS_STAGED) this.#staged.cut(m.ino, m.offset, m.offset + m.length);
        if (m.kind === Kind.place && m.addr >= 0)
          this.#staged.insert(m.ino, m.offset, m.length, m.addr);
        if (m.kind === Kind.placeData)
          this.#staged.insert(m.ino, m.offset, m.length, record.dataAddr + m.dataAt);
        return;
      case Kind.frame:
        this.#run.identity!.run(m.place.identity, m.place.frame);
        return;
    }
  }

  #writeRow(ino: Ino, row: InodeRow | null): void {
    if (row === null) {
      this.#run.removeInode!.run(ino);
      return;
    }
    const { mode, nlink, uid, gid, rdev, size, bytes, parent } = row;
    this.#run.inode!.run(
      ...[ino, mode, nlink, uid, gid, rdev, size, bytes, row.atime, row.atimeNs],
      ...[row.mtime, row.mtimeNs, row.ctime, row.ctimeNs, row.btime, row.btimeNs, parent],
    );
  }
}
