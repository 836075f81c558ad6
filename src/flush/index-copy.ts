/**
 * The snapshot's copy of the index, made into what the checkpoint says: staged ranges become
 * extents in the packs of this flush. The live index takes the same step later, when the packs
 * are certified; the copy never depends on that.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { PackNo, Seq } from '../base/ids.ts';
import { blobIdToBytes } from '../base/ids.ts';
import type { FlushedRange } from '../meta/types.ts';
import type { PackDraft, StoredPack } from './draft.ts';
import type { Head } from './types.ts';

/** Tables of the tree: what a checkpoint is made for. Extents are compared by what they show. */
const TREE = ['inode', 'dentry', 'xattr', 'symlink', 'snapshot'] as const;

interface ExtentRow {
  readonly ino: number;
  readonly offset: number;
  readonly length: number;
  readonly frame: number;
  readonly at: number;
}

/** Extents in order, those that run on in file and frame as one: how a run is cut into rows says nothing. */
function* runsOf(rows: Iterable<ExtentRow>): Generator<ExtentRow> {
  let run: ExtentRow | undefined;
  for (const row of rows) {
    const continues =
      run !== undefined &&
      run.ino === row.ino &&
      run.frame === row.frame &&
      run.offset + run.length === row.offset &&
      run.at + run.length === row.at;
    if (continues) run = { ...run!, length: run!.length + row.length };
    else {
      if (run !== undefined) yield run;
      run = row;
    }
  }
  if (run !== undefined) yield run;
}

/** Opens a database file of a snapshot. */
export const openSnapshot = (directory: string, name: 'index.db' | 'local.db'): Database.Database =>
  new Database(join(directory, name), { fileMustExist: true });

/** One plain file: no write-ahead log beside it, and none of its marks in the header. */
const openPlain = (path: string): Database.Database => {
  const db = new Database(path, { fileMustExist: true });
  db.pragma('journal_mode = DELETE');
  db.pragma('journal_mode = OFF');
  db.pragma('synchronous = OFF');
  return db;
};

/** Is this what SQLite says of a damaged file, or of one without its tables? */
const isTorn = (error: unknown): boolean =>
  error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(error.code);

/** A pack with its end, as the chain has it. */
export interface PackEnd {
  readonly pack: PackNo;
  readonly endEpoch: number;
}

/** The index copy of one flush. */
export class IndexCopy {
  readonly path: string;
  #db: Database.Database;
  #isRenewed = false;

  constructor(directory: string) {
    this.path = join(directory, 'index.db');
    this.#db = openPlain(this.path);
  }

  /** The open database. */
  get db(): Database.Database {
    return this.#db;
  }

  /** Opens the file again after `close`. */
  open(): void {
    this.#db = openPlain(this.path);
  }

  /** Row number for the next pack. */
  nextPack(): PackNo {
    return ((this.db.prepare('SELECT max(id) FROM pack').pluck().get() as number | null) ?? 0) + 1;
  }

  /** Version of the tables. */
  schema(): number {
    return Number(this.db.prepare("SELECT value FROM state WHERE key = 'schema'").pluck().get());
  }

  /** Does the tree say what the last checkpoint (kept at `checkpointPath`) says, which knows until when packs are paid? An empty volume needs none. */
  isUnchanged(checkpointPath: string, head: Head | undefined, seq: Seq): boolean {
    if (head?.seq === seq && !this.#isRenewed) return true;
    if (head === undefined)
      return this.db.prepare('SELECT 1 FROM inode LIMIT 1 OFFSET 1').get() === undefined;
    try {
      return existsSync(checkpointPath) && this.#sameTree(checkpointPath);
    } catch (error) {
      // It was never synced. What a power loss has torn says something else: one more checkpoint is only a matter of price.
      if (isTorn(error)) return false;
      throw error;
    }
  }

  #sameTree(otherPath: string): boolean {
    this.db.prepare('ATTACH ? AS other').run(otherPath);
    try {
      return this.#sameEnds() && TREE.every(table => this.#sameTable(table)) && this.#sameExtents();
    } finally {
      this.db.exec('DETACH other');
    }
  }

  #sameTable(table: string): boolean {
    const one = (sql: string) => this.db.prepare(sql).pluck().get();
    const count = (schema: string) => one(`SELECT count(*) FROM ${schema}.${table}`);
    if (count('main') !== count('other')) return false;
    const columns = this.db.pragma(`main.table_info(${table})`) as { name: string; pk: number }[];
    const keys = columns.filter(column => column.pk > 0).map(column => column.name);
    const equal = columns.map(({ name }) => `a.${name} IS b.${name}`).join(' AND ');
    return (
      one(
        `SELECT 1 FROM main.${table} a LEFT JOIN other.${table} b USING (${keys.join(', ')})
         WHERE NOT (${equal}) LIMIT 1`,
      ) === undefined
    );
  }

  /** The carrier of a checkpoint is none of its packs with an end. */
  #sameEnds(): boolean {
    const renewed = this.db.prepare(
      `SELECT 1 FROM main.pack a JOIN other.pack b USING (id)
       WHERE b.blob_id IS NOT NULL AND a.end_epoch != b.end_epoch LIMIT 1`,
    );
    return renewed.get() === undefined;
  }

  #sameExtents(): boolean {
    const [ours, others] = ['main', 'other'].map(schema =>
      runsOf(
        this.db
          .prepare(
            `SELECT ino, offset, length, frame, frame_offset AS at FROM ${schema}.extent ORDER BY ino, offset`,
          )
          .iterate() as IterableIterator<ExtentRow>,
      ),
    ) as [Generator<ExtentRow>, Generator<ExtentRow>];
    try {
      for (;;) {
        const [a, b] = [ours.next().value, others.next().value] as (ExtentRow | undefined)[];
        if (a === undefined || b === undefined) return a === b;
        const same =
          a.ino === b.ino && a.offset === b.offset && a.length === b.length && a.frame === b.frame;
        if (!same || a.at !== b.at) return false;
      }
    } finally {
      ours.return(undefined);
      others.return(undefined);
    }
  }

  /** Enters a pack that has no blob ID yet, with its frames and the ranges they hold. */
  enter(draft: PackDraft): void {
    const { db } = this;
    db.transaction(() => {
      db.prepare('INSERT INTO pack VALUES (?, ?, ?, 0, 0, NULL, NULL, 0)').run(
        draft.pack,
        draft.packId,
        draft.salt,
      );
      // As the index does: one that is stored anew keeps its number, and no other may go for it.
      const frame = db.prepare(
        `INSERT INTO frame(id, identity, pack, slot, offset, sealed_bytes, plain_bytes, compression) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT(id) DO UPDATE SET pack = excluded.pack, slot = excluded.slot, offset = excluded.offset,
           sealed_bytes = excluded.sealed_bytes, compression = excluded.compression`,
      );
      for (const row of draft.frames)
        frame.run(
          row.frame,
          row.identity,
          row.pack,
          row.slot,
          row.offset,
          row.sealedBytes,
          row.plainBytes,
          row.compression,
        );
      this.#extents(draft.ranges);
    })();
  }

  /** Writes what is known of a pack once it is certified. */
  name(pack: PackNo, stored: StoredPack): void {
    const { size, nShards, objectId, endEpoch } = stored;
    this.db
      .prepare(
        'UPDATE pack SET size = ?, n_shards = ?, blob_id = ?, object_id = ?, end_epoch = ? WHERE id = ?',
      )
      .run(size, nShards, blobIdToBytes(stored.blobId), objectId, endEpoch, pack);
  }

  #extents(ranges: readonly FlushedRange[]): void {
    const insert = this.db.prepare('INSERT INTO extent VALUES (?, ?, ?, ?, ?)');
    for (const range of ranges) if (range.addr < 0) this.#cut(range);
    for (const run of runsOf(ranges))
      insert.run(run.ino, run.offset, run.length, run.frame, run.at);
  }

  /** Takes a range out of the extents that show older frames there. */
  #cut(range: FlushedRange): void {
    const { ino } = range;
    const [from, to] = [range.offset, range.offset + range.length];
    const rows = this.db
      .prepare(
        `SELECT offset, length, frame, frame_offset AS at FROM extent
         WHERE ino = ? AND offset < ? AND offset + length > ?
         AND offset >= coalesce((SELECT max(offset) FROM extent WHERE ino = ? AND offset <= ?), 0)`,
      )
      .all(ino, to, from, ino, from) as {
      offset: number;
      length: number;
      frame: number;
      at: number;
    }[];
    const insert = this.db.prepare('INSERT INTO extent VALUES (?, ?, ?, ?, ?)');
    for (const { offset, length, frame, at } of rows) {
      this.db.prepare('DELETE FROM extent WHERE ino = ? AND offset = ?').run(ino, offset);
      const end = offset + length;
      if (offset < from) insert.run(ino, offset, from - offset, frame, at);
      if (end > to) insert.run(ino, to, end - to, frame, at + to - offset);
    }
  }

  /** Learns until when packs are paid. */
  renew(ends: readonly PackEnd[]): void {
    const learn = this.db.prepare('UPDATE pack SET end_epoch = ? WHERE id = ?');
    for (const { pack, endEpoch } of ends) learn.run(endEpoch, pack);
    this.#isRenewed = true;
  }

  /** Closes the file: from here on its bytes are the checkpoint. */
  close(): void {
    if (this.db.open) this.db.close();
  }
}
