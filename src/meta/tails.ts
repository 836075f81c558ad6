/**
 * Last pages. The kernel needs all of a page to change a part of it: so that appending works while
 * the network is away, the last, partial page of every file stays here when its bytes leave the
 * log, 4 KiB a file at most, in a database of its own that is neither checkpointed nor copied.
 * Pieces name the content that they are part of by its identity, so that an outdated one is never
 * taken for current; one that is missing is only a reason to ask the network.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import Database, { type Statement } from 'better-sqlite3';
import { messageOf, systemCode } from '../base/errors.ts';
import type { Ino } from '../base/ids.ts';
import { PAGE_BYTES } from '../base/limits.ts';
import { log } from '../base/log.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS tail(
  ino INTEGER NOT NULL, offset INTEGER NOT NULL, -- in the file
  identity BLOB NOT NULL, at INTEGER NOT NULL, -- frame whose content it is, and where in it
  crc INTEGER NOT NULL, bytes BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS tail_ino ON tail(ino, offset);
`;
const CACHE_KIB = 2048;

/** A part of a file's last page: bytes of a frame's plain content. */
export interface TailPiece {
  readonly ino: Ino;
  readonly offset: number;
  readonly identity: Uint8Array;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** A range of a file whose content was replaced. */
export interface TailDrop {
  readonly ino: Ino;
  readonly from: number;
  readonly to: number;
}

/** Where the last page of a file of this size begins; the size itself if no page is partial. */
export const lastPageOf = (size: number): number => size - (size % PAGE_BYTES);

const tailsPath = (directory: string): string => join(directory, 'tails.db');

const openAt = (path: string): Database.Database => {
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    db.pragma(`cache_size = -${CACHE_KIB}`);
    db.exec(SCHEMA);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
};

/** Opens the file, or makes a new one in place of one that cannot be read: all of it is on the network. */
const openOrReplace = (directory: string): Database.Database => {
  const path = tailsPath(directory);
  try {
    return openAt(path);
  } catch (error) {
    if (!/SQLITE_(CORRUPT|NOTADB)/.test(systemCode(error) ?? '')) throw error;
    log('meta').warn({ path, error: messageOf(error) }, 'kept last pages are damaged: thrown away');
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    return openAt(path);
  }
};

/** The one writer (index writer's thread). What fails here is logged: nothing but speed and offline use depends on it. */
export class TailWriter {
  readonly #db: Database.Database;
  readonly #run: Record<'forget' | 'keep' | 'drop', Statement>;

  constructor(directory: string) {
    this.#db = openOrReplace(directory);
    this.#run = {
      forget: this.#db.prepare('DELETE FROM tail WHERE ino = ? AND (offset < ? OR offset >= ?)'),
      keep: this.#db.prepare(
        'INSERT INTO tail(ino, offset, identity, at, crc, bytes) VALUES(?, ?, ?, ?, ?, ?)',
      ),
      drop: this.#db.prepare('DELETE FROM tail WHERE ino = ? AND offset >= ? AND offset < ?'),
    };
  }

  /** Keeps pieces (those of one page in order), in place of what their files had from there on and on other pages. */
  keep(pieces: readonly TailPiece[]): void {
    this.#attempt(() => {
      for (const { ino, offset, identity, at, bytes } of pieces) {
        this.#run.forget.run(ino, lastPageOf(offset), offset);
        this.#run.keep.run(ino, offset, identity, at, crc32(bytes), bytes);
      }
    });
  }

  /** Drops what begins in ranges that were cut or written anew. */
  drop(drops: readonly TailDrop[]): void {
    if (drops.length === 0) return;
    this.#attempt(() => {
      for (const { ino, from, to } of drops) this.#run.drop.run(ino, from, to);
    });
  }

  /** Makes what was kept last, as far as readers let it. */
  checkpoint(): void {
    try {
      this.#db.pragma('wal_checkpoint(PASSIVE)');
    } catch (error) {
      log('meta').warn({ error: messageOf(error) }, 'last pages of files are not durable yet');
    }
  }

  close(): void {
    this.#db.close();
  }

  #attempt(work: () => void): void {
    try {
      this.#db.transaction(work)();
    } catch (error) {
      log('meta').warn({ error: messageOf(error) }, 'last pages of files could not be kept');
    }
  }
}

interface Row {
  readonly identity: Buffer;
  readonly at: number;
  readonly crc: number;
  readonly bytes: Buffer;
}

/** Reads what is kept (front thread). */
export class TailReader {
  readonly #db: Database.Database;
  readonly #of: Statement;

  constructor(directory: string) {
    this.#db = new Database(tailsPath(directory), { readonly: true, fileMustExist: true });
    this.#of = this.#db.prepare('SELECT identity, at, crc, bytes FROM tail WHERE ino = ?');
  }

  /** Bytes [at, at + length) of the content with this identity, if the file's last page kept them. */
  find(ino: Ino, identity: Uint8Array, at: number, length: number): Buffer | undefined {
    try {
      for (const row of this.#of.all(ino) as Row[]) {
        const from = at - row.at;
        if (from < 0 || from + length > row.bytes.length) continue;
        if (Buffer.compare(row.identity, identity) !== 0) continue;
        if (crc32(row.bytes) === row.crc) return row.bytes.subarray(from, from + length);
        log('meta').warn({ ino }, 'a kept last page is damaged: the network is asked');
      }
    } catch (error) {
      log('meta').warn({ ino, error: messageOf(error) }, 'kept last pages cannot be read');
    }
    return undefined;
  }

  close(): void {
    this.#db.close();
  }
}
