/**
 * A full check of an index that nobody is writing (unmounted, or a snapshot's copy): every rule that
 * the tree and its extents obey, one query a rule. Reads only.
 */
import { existsSync } from 'node:fs';
import { ROOT_INO } from '../base/ids.ts';
import { type Db, indexPath, localPath, openForReading } from './database.ts';

/** Findings of one rule that are told one by one; the rest as a number. */
const TOLD_MAX = 20;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const IS_DIRECTORY = `(i.mode & ${S_IFMT}) = ${S_IFDIR}`;

/** A rule: rows that break it, and how to say so; `$1` … stand for the columns. */
interface Rule {
  sql: string;
  says: string;
}

const TREE: readonly Rule[] = [
  {
    sql: `SELECT ${ROOT_INO} WHERE NOT EXISTS(SELECT 1 FROM inode i WHERE ino = ${ROOT_INO} AND ${IS_DIRECTORY} AND parent = ${ROOT_INO})`,
    says: 'the root directory (inode $1) is missing or is no directory',
  },
  {
    sql: 'SELECT d.ino, d.parent, d.name FROM dentry d LEFT JOIN inode i ON i.ino = d.ino WHERE i.ino IS NULL',
    says: 'inode $1, named in directory $2 as "$3", does not exist',
  },
  {
    sql: `SELECT DISTINCT d.parent FROM dentry d LEFT JOIN inode i ON i.ino = d.parent WHERE i.ino IS NULL OR NOT ${IS_DIRECTORY}`,
    says: 'inode $1 has names in it but is no directory',
  },
  {
    sql: `SELECT d.ino, d.parent, d.name FROM dentry d JOIN inode i ON i.ino = d.ino WHERE d.type != i.mode >> 12`,
    says: 'the type of inode $1 and that of its name "$3" in directory $2 differ',
  },
  {
    sql: `SELECT i.ino, i.nlink, (SELECT COUNT(*) FROM dentry d WHERE d.ino = i.ino) AS n
      FROM inode i WHERE NOT ${IS_DIRECTORY} AND i.nlink != n`,
    says: 'inode $1 counts $2 links but has $3 names',
  },
  {
    sql: `SELECT i.ino, i.nlink, 2 + (SELECT COUNT(*) FROM dentry d WHERE d.parent = i.ino AND d.type = ${S_IFDIR >> 12}) AS n
      FROM inode i WHERE ${IS_DIRECTORY} AND i.nlink != 0 AND i.nlink != n`,
    says: 'directory $1 counts $2 links but should count $3',
  },
  {
    sql: `SELECT i.ino, COUNT(d.ino) AS n FROM inode i LEFT JOIN dentry d ON d.ino = i.ino
      WHERE ${IS_DIRECTORY} AND i.ino != ${ROOT_INO} GROUP BY i.ino HAVING n != MIN(i.nlink, 1)`,
    says: 'directory $1 has $2 names',
  },
  {
    sql: `SELECT i.ino, i.parent, d.parent FROM inode i JOIN dentry d ON d.ino = i.ino WHERE ${IS_DIRECTORY} AND i.parent != d.parent`,
    says: 'directory $1 says that its parent is $2 but stands in $3',
  },
  {
    sql: `WITH RECURSIVE reached(ino) AS (SELECT ${ROOT_INO} UNION
        SELECT d.ino FROM reached r JOIN dentry d ON d.parent = r.ino AND d.type = ${S_IFDIR >> 12})
      SELECT i.ino FROM inode i WHERE ${IS_DIRECTORY} AND i.nlink != 0 AND i.ino NOT IN reached`,
    says: 'directory $1 cannot be reached from the root',
  },
  {
    sql: 'SELECT parent, cookie, COUNT(*) FROM dentry GROUP BY parent, cookie HAVING COUNT(*) > 1',
    says: 'directory $1 uses listing position $2 for $3 names',
  },
  {
    sql: "SELECT MAX(cookie), value FROM dentry, state WHERE key = 'next_cookie' HAVING MAX(cookie) >= value",
    says: 'listing position $1 is not below the next one, $2',
  },
  {
    sql: "SELECT MAX(ino), value FROM inode, state WHERE key = 'next_ino' HAVING MAX(ino) >= value",
    says: 'inode number $1 is not below the next one, $2',
  },
  {
    sql: "SELECT value, (SELECT COUNT(*) FROM inode) AS n FROM state WHERE key = 'inodes' AND value != n",
    says: 'the index counts $1 inodes but has $2',
  },
  {
    sql: 'SELECT DISTINCT x.ino FROM xattr x LEFT JOIN inode i ON i.ino = x.ino WHERE i.ino IS NULL',
    says: 'there are attributes of inode $1, which does not exist',
  },
  {
    sql: `SELECT i.ino FROM inode i LEFT JOIN symlink s ON s.ino = i.ino WHERE ((i.mode & ${S_IFMT}) = ${S_IFLNK}) != (s.ino IS NOT NULL)
      UNION SELECT s.ino FROM symlink s LEFT JOIN inode i ON i.ino = s.ino WHERE i.ino IS NULL`,
    says: 'inode $1 is a symbolic link without target, or has a target and is none',
  },
  {
    sql: 'SELECT ino, size, bytes FROM inode WHERE size < 0 OR bytes < 0',
    says: 'inode $1 has size $2 and $3 bytes',
  },
];

/** `span`: both tables as one, made by `checkIndex`. */
const CONTENT: readonly Rule[] = [
  {
    sql: 'SELECT ino, offset, length FROM span WHERE offset < 0 OR length <= 0',
    says: 'inode $1 has an extent at $2 of $3 bytes',
  },
  {
    sql: `SELECT ino, offset, before FROM (SELECT ino, offset, LAG(offset + length) OVER (PARTITION BY ino ORDER BY offset) AS before FROM span)
      WHERE before > offset`,
    says: 'inode $1 has an extent at $2, but the one before it ends at $3',
  },
  {
    sql: `SELECT DISTINCT s.ino FROM span s LEFT JOIN inode i ON i.ino = s.ino WHERE i.ino IS NULL OR (i.mode & ${S_IFMT}) != ${S_IFREG}`,
    says: 'inode $1 has content but is no file',
  },
  {
    sql: `SELECT i.ino, i.bytes, COALESCE(s.n, 0) FROM inode i LEFT JOIN (SELECT ino, SUM(length) AS n FROM span GROUP BY ino) s ON s.ino = i.ino
      WHERE i.bytes != COALESCE(s.n, 0)`,
    says: 'inode $1 counts $2 bytes of content but has $3',
  },
  {
    sql: "SELECT value, (SELECT COALESCE(SUM(length), 0) FROM span) AS n FROM state WHERE key = 'content_bytes' AND value != n",
    says: 'the index counts $1 bytes of content but has $2',
  },
  {
    sql: `SELECT e.ino, e.offset, e.frame FROM extent e LEFT JOIN frame f ON f.id = e.frame
      WHERE f.id IS NULL OR e.frame_offset < 0 OR e.frame_offset + e.length > f.plain_bytes`,
    says: 'the extent of inode $1 at $2 is not within frame $3',
  },
  {
    sql: `SELECT f.id, f.pack FROM frame f LEFT JOIN pack p ON p.id = f.pack
      WHERE p.id IS NULL OR f.offset < 0 OR f.offset + f.sealed_bytes > p.size`,
    says: 'frame $1 is not within pack $2',
  },
];

const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);

const findings = (db: Db, rule: Rule): string[] => {
  const rows = db.prepare(rule.sql).raw().all() as unknown[][];
  const told = rows
    .slice(0, TOLD_MAX)
    .map(row => rule.says.replace(/\$(\d)/g, (_, n: string) => textOf(row[Number(n) - 1])));
  const more = rows.length - told.length;
  return more > 0 ? [...told, `… and ${more} more of this kind`] : told;
};

/** What is wrong with the index in `directory`, in words; empty if it is sound. Pages of SQLite itself are checked first. */
export const checkIndex = (directory: string): string[] => {
  const db = openForReading(indexPath(directory));
  try {
    const whole = db.pragma('integrity_check', { simple: true });
    if (whole !== 'ok') return [`index.db is damaged: ${String(whole)}`];
    const local = localPath(directory);
    let staged = '';
    if (existsSync(local)) {
      db.prepare('ATTACH ? AS local').run(local);
      staged = 'UNION ALL SELECT ino, offset, length FROM local.staged';
    }
    db.exec(`CREATE TEMP VIEW span AS SELECT ino, offset, length FROM main.extent ${staged}`);
    return [...TREE, ...CONTENT].flatMap(rule => findings(db, rule));
  } finally {
    db.close();
  }
};
