/** Opening the two database files: settings of SQLite that the durability of the index rests on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { TuskError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { INDEX_SCHEMA, LOCAL_SCHEMA, type Schema } from './schema.ts';

/** A SQLite connection. */
export type Db = Database.Database;

/** Paths of the two files of an index. */
export const indexPath = (directory: string): string => join(directory, 'index.db');
export const localPath = (directory: string): string => join(directory, 'local.db');

/** Pages kept of each file: what the writer changes at random, and little of what the front reads, which the system keeps too. */
const WRITER_CACHE_KIB = 32 * 1024;
const READER_CACHE_KIB = 8 * 1024;

/** A number of the `state` table; 0 if it is not there. */
export const stateOf = (db: Db, key: string): number =>
  Number(db.prepare('SELECT value FROM state WHERE key = ?').pluck().get(key) ?? 0);

/** Sets numbers of the `state` table. */
export const setState = (db: Db, values: Readonly<Record<string, number>>): void => {
  const set = db.prepare('INSERT OR REPLACE INTO state(key, value) VALUES(?, ?)');
  for (const [key, value] of Object.entries(values)) set.run(key, BigInt(value));
};

const open = (path: string, { version, tables, upgrades }: Schema): Db => {
  const db = new Database(path);
  // The log is what survives power loss: SQLite syncs at checkpoints only, which we start ourselves.
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.pragma('wal_autocheckpoint = 0');
  db.pragma(`cache_size = -${WRITER_CACHE_KIB}`);
  db.pragma('temp_store = MEMORY');
  const known = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'state'").get();
  if (known === undefined) {
    db.transaction(() => {
      db.exec(tables);
      setState(db, { schema: version, applied_seq: 0 });
    })();
  }
  const found = stateOf(db, 'schema');
  if (found > version) {
    db.close();
    throw new TuskError(
      'newer_format',
      `${path} has version ${found}, this tuskfs knows up to ${version}; nothing was changed: use a newer tuskfs`,
    );
  }
  for (let from = found; from < version; from++)
    db.transaction(() => {
      db.exec(upgrades[from]!);
      setState(db, { schema: from + 1 });
    })();
  return db;
};

/** Enters frames that `local.db` does not know yet: it is new, or of a version that knew none. */
const fillIdentities = (local: Db, path: string): void => {
  if (local.prepare('SELECT 1 FROM identity LIMIT 1').get() !== undefined) return;
  local.prepare('ATTACH ? AS whole').run(path);
  local.exec(
    'INSERT OR IGNORE INTO identity SELECT substr(identity, 1, 8), id FROM whole.frame ORDER BY 1, 2',
  );
  local.exec('DETACH whole');
};

/** Both files, opened for writing, created if absent. */
export interface Databases {
  readonly index: Db;
  readonly local: Db;
}

/**
 * Opens both files of an index for the one writer. An `index.db` that came from a checkpoint has no
 * `local.db` beside it: nothing is staged then, and the log goes on behind the checkpoint's record.
 */
export const openDatabases = (directory: string): Databases => {
  const isNew = !existsSync(localPath(directory));
  const index = open(indexPath(directory), INDEX_SCHEMA);
  const local = open(localPath(directory), LOCAL_SCHEMA);
  if (isNew) setState(local, { applied_seq: stateOf(index, 'applied_seq') });
  fillIdentities(local, indexPath(directory));
  return { index, local };
};

/** A connection that only reads; sees whatever the writer has committed. */
export const openForReading = (path: string): Db => {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  db.pragma(`cache_size = -${READER_CACHE_KIB}`);
  return db;
};

/** Record up to which a database has everything. */
export const appliedSeqOf = (db: Db): Seq => stateOf(db, 'applied_seq');
