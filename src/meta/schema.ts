/**
 * The tables of the index. `index.db` is what a checkpoint carries: the tree and where its bytes
 * stand in packs. `local.db` belongs to this machine only: which ranges are still in the log, and
 * which frame has which content. (`tails.db` holds last pages of files: tails.ts.)
 * The two never overlap for one range of a file: staging a range cuts it out of `extent`,
 * committing a flush cuts it out of `staged`. Names and targets are bytes (BLOB).
 *
 * Every page of `index.db` that changes is paid for, so nothing in it may be ordered by what is as
 * good as random: such an index has changes on all of its pages, and they stand all over the file.
 */

/** A file of tables: its version, how a new one is made, and by the version found what makes it the next one. */
export interface Schema {
  readonly version: number;
  readonly tables: string;
  readonly upgrades: Readonly<Record<number, string>>;
}

const FRAME_COLUMNS = `
  id INTEGER PRIMARY KEY,
  identity BLOB NOT NULL, -- keyed BLAKE3 of the plaintext
  pack INTEGER NOT NULL, slot INTEGER NOT NULL,
  offset INTEGER NOT NULL, sealed_bytes INTEGER NOT NULL, plain_bytes INTEGER NOT NULL,
  compression INTEGER NOT NULL
`;

const IDENTITY_TABLE = `
-- Frames by the first 8 bytes of their identity; filled from index.db where it is empty.
CREATE TABLE identity(start BLOB PRIMARY KEY, frame INTEGER NOT NULL) WITHOUT ROWID;
`;

const INDEX_TABLES = `
CREATE TABLE state(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- keys: schema, applied_seq, next_ino, next_cookie, inodes, content_bytes

CREATE TABLE inode(
  ino INTEGER PRIMARY KEY,
  mode INTEGER NOT NULL, nlink INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
  rdev INTEGER NOT NULL, size INTEGER NOT NULL,
  bytes INTEGER NOT NULL, -- that its extents take up, staged or not
  atime INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, btime INTEGER NOT NULL, btime_ns INTEGER NOT NULL,
  parent INTEGER NOT NULL -- of a directory; 0 for everything else
);
CREATE INDEX inode_orphan ON inode(ino) WHERE nlink = 0;

CREATE TABLE dentry(
  parent INTEGER NOT NULL, name BLOB NOT NULL,
  ino INTEGER NOT NULL, type INTEGER NOT NULL, -- DT_*
  cookie INTEGER NOT NULL, -- position in listings: grows, never used again
  PRIMARY KEY(parent, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX dentry_cookie ON dentry(parent, cookie, ino, type);
CREATE INDEX dentry_ino ON dentry(ino);

CREATE TABLE xattr(ino INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(ino, name)) WITHOUT ROWID;
CREATE TABLE symlink(ino INTEGER PRIMARY KEY, target BLOB NOT NULL);

CREATE TABLE extent(
  ino INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
  frame INTEGER NOT NULL, frame_offset INTEGER NOT NULL, -- plain bytes
  PRIMARY KEY(ino, offset)
) WITHOUT ROWID;

CREATE TABLE frame(${FRAME_COLUMNS});

CREATE TABLE pack(
  id INTEGER PRIMARY KEY,
  pack_id BLOB NOT NULL UNIQUE, salt BLOB NOT NULL,
  size INTEGER NOT NULL, n_shards INTEGER NOT NULL,
  blob_id BLOB, object_id TEXT, -- NULL: the very blob that carries this checkpoint
  end_epoch INTEGER NOT NULL
);
CREATE TABLE snapshot(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, taken_ms INTEGER NOT NULL, checkpoint BLOB NOT NULL);
`;

/** `index.db`. */
export const INDEX_SCHEMA: Schema = {
  version: 2,
  tables: INDEX_TABLES,
  upgrades: {
    // Identities were UNIQUE.
    1: `CREATE TABLE frame_2(${FRAME_COLUMNS});
        INSERT INTO frame_2 SELECT * FROM frame;
        DROP TABLE frame;
        ALTER TABLE frame_2 RENAME TO frame;`,
  },
};

const LOCAL_TABLES = `
CREATE TABLE state(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- keys: schema, applied_seq

CREATE TABLE staged(
  ino INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
  addr INTEGER NOT NULL, -- LogAddr of the first byte
  PRIMARY KEY(ino, offset)
) WITHOUT ROWID;
CREATE INDEX staged_addr ON staged(addr);
${IDENTITY_TABLE}`;

/** `local.db`. */
export const LOCAL_SCHEMA: Schema = {
  version: 2,
  tables: LOCAL_TABLES,
  upgrades: { 1: IDENTITY_TABLE },
};
