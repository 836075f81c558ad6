/**
 * The ledger's database (ledger.db, SQLite in WAL mode). Every change is one `Commit`, applied in
 * one SQLite transaction: after a kill the database holds all of it or nothing. Superseded
 * versions of objects stay readable until no lagging read can ask for them.
 */
import Database from 'better-sqlite3';
import type { LedgerEvent } from '../feed.ts';
import type { Owner, StoredObject } from './objects.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  id TEXT NOT NULL, from_seq INTEGER NOT NULL, until_seq INTEGER,
  version INTEGER NOT NULL, digest TEXT NOT NULL, type TEXT NOT NULL,
  owner_kind TEXT NOT NULL, owner TEXT NOT NULL, contents BLOB NOT NULL,
  previous_transaction TEXT NOT NULL, storage_rebate TEXT NOT NULL,
  PRIMARY KEY (id, from_seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_owner ON objects (owner, type, id);
CREATE INDEX IF NOT EXISTS objects_until ON objects (until_seq) WHERE until_seq IS NOT NULL;
CREATE TABLE IF NOT EXISTS transactions (
  seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, digest TEXT NOT NULL UNIQUE,
  sender TEXT NOT NULL, ok INTEGER NOT NULL, executed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS transactions_at ON transactions (at_ms);
CREATE INDEX IF NOT EXISTS transactions_sender ON transactions (sender, seq);
CREATE TABLE IF NOT EXISTS locks (
  id TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, epoch INTEGER NOT NULL,
  PRIMARY KEY (id, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, event TEXT NOT NULL);
`;

/** An event before it has its number. */
export type NewEvent = LedgerEvent extends infer E
  ? E extends LedgerEvent
    ? Omit<E, 'seq' | 'atMs' | 'txDigest' | 'eventSeq'>
    : never
  : never;

/** Everything that one transaction (or one act of the administrator) changes. */
export interface Commit {
  readonly digest: string;
  readonly sender: string;
  readonly ok: boolean;
  readonly written: readonly StoredObject[];
  /** Ids of objects that are no more (or are inside others now). */
  readonly removed: readonly string[];
  readonly events: readonly NewEvent[];
  readonly meta: Readonly<Record<string, string>>;
  /** Protobuf ExecutedTransaction; gets the number of the commit. */
  readonly executed: (seq: number, atMs: number) => Uint8Array;
}

/** A consistent state to read objects from. */
export interface View {
  object(id: string): StoredObject | undefined;
  /** Objects of an address, by id, from behind `after`; `type` may lack its type arguments. */
  owned(owner: string, type: string | undefined, after: string, limit: number): StoredObject[];
}

interface ObjectRow {
  id: string;
  version: number;
  digest: string;
  type: string;
  owner_kind: Owner['kind'];
  owner: string;
  contents: Buffer;
  previous_transaction: string;
  storage_rebate: string;
}

const ownerFrom = (kind: Owner['kind'], owner: string): Owner =>
  kind === 'address'
    ? { kind, address: owner }
    : kind === 'object'
      ? { kind, parent: owner }
      : { kind, initialVersion: Number(owner) };

const ownerText = (owner: Owner): string =>
  owner.kind === 'address'
    ? owner.address
    : owner.kind === 'object'
      ? owner.parent
      : String(owner.initialVersion);

const fromRow = (row: ObjectRow): StoredObject => ({
  id: row.id,
  version: row.version,
  digest: row.digest,
  type: row.type,
  owner: ownerFrom(row.owner_kind, row.owner),
  contents: row.contents,
  previousTransaction: row.previous_transaction,
  storageRebate: BigInt(row.storage_rebate),
});

/** The database and its few questions. */
export class Store {
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  constructor(path: string) {
    this.#db = new Database(path);
    this.#db.pragma('journal_mode = WAL');
    this.#db.pragma('synchronous = NORMAL');
    this.#db.exec(SCHEMA);
  }

  #sql(text: string): Database.Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  /** A setting fixed at genesis or counted along. */
  meta(key: string): string | undefined {
    const row = this.#sql('SELECT value FROM meta WHERE key = ?').get(key);
    return (row as { value: string } | undefined)?.value;
  }

  /** Number of the newest commit; 0 before genesis. */
  lastSeq(): number {
    return (
      (this.#sql('SELECT max(seq) AS seq FROM transactions').get() as { seq: number }).seq ?? 0
    );
  }

  /** Number of the newest commit made at or before `atMs`. */
  seqAt(atMs: number): number {
    const row = this.#sql('SELECT max(seq) AS seq FROM transactions WHERE at_ms <= ?').get(atMs);
    return (row as { seq: number | null }).seq ?? 0;
  }

  /** The state right after commit `seq`. */
  view(seq: number): View {
    const at = 'from_seq <= ? AND (until_seq IS NULL OR until_seq > ?)';
    return {
      object: id => {
        const row = this.#sql(
          `SELECT * FROM objects WHERE id = ? AND ${at} ORDER BY from_seq DESC LIMIT 1`,
        ).get(id, seq, seq);
        return row === undefined ? undefined : fromRow(row as ObjectRow);
      },
      owned: (owner, type, after, limit) => {
        const rows = this.#sql(
          `SELECT * FROM objects WHERE owner = ? AND owner_kind = 'address'
             AND (? IS NULL OR type = ? OR substr(type, 1, length(?) + 1) = ? || '<')
             AND id > ? AND ${at} ORDER BY id LIMIT ?`,
        ).all(owner, type ?? null, type, type, type, after, seq, seq, limit);
        return (rows as ObjectRow[]).map(fromRow);
      },
    };
  }

  /** All current objects of a type, by id. */
  objectsOfType(type: string): StoredObject[] {
    const rows = this.#sql(
      'SELECT * FROM objects WHERE type = ? AND until_seq IS NULL ORDER BY id',
    ).all(type);
    return (rows as ObjectRow[]).map(fromRow);
  }

  /** Current objects that hang on another object (dynamic fields), by id, from behind `after`. */
  children(parent: string, after: string, limit: number): StoredObject[] {
    const rows = this.#sql(
      `SELECT * FROM objects WHERE owner = ? AND owner_kind = 'object' AND until_seq IS NULL
         AND id > ? ORDER BY id LIMIT ?`,
    ).all(parent, after, limit);
    return (rows as ObjectRow[]).map(fromRow);
  }

  /** Protobuf bytes of a final transaction, its number and its time. */
  transaction(digest: string): { executed: Buffer; seq: number; atMs: number } | undefined {
    const row = this.#sql('SELECT executed, seq, at_ms FROM transactions WHERE digest = ?').get(
      digest,
    ) as { executed: Buffer; seq: number; at_ms: number } | undefined;
    return row && { executed: row.executed, seq: row.seq, atMs: row.at_ms };
  }

  /** Final transactions, oldest first; of one sender if given. */
  transactions(sender?: string): { digest: string; sender: string; ok: boolean; atMs: number }[] {
    const rows = this.#sql(
      'SELECT digest, sender, ok, at_ms FROM transactions WHERE ? IS NULL OR sender = ? ORDER BY seq',
    ).all(sender ?? null, sender) as {
      digest: string;
      sender: string;
      ok: number;
      at_ms: number;
    }[];
    return rows.map(row => ({
      digest: row.digest,
      sender: row.sender,
      ok: row.ok === 1,
      atMs: row.at_ms,
    }));
  }

  /** Events behind `since`, at most `limit`. */
  events(since: number, limit: number): LedgerEvent[] {
    const rows = this.#sql('SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?').all(
      since,
      limit,
    ) as { seq: number; at_ms: number; event: string }[];
    return rows.map(row => ({ ...JSON.parse(row.event), seq: row.seq, atMs: row.at_ms }));
  }

  /** Digest of the transaction that holds this version, unless its epoch has ended. */
  lockHolder(id: string, version: number, epoch: number): string | undefined {
    const row = this.#sql(
      'SELECT digest FROM locks WHERE id = ? AND version = ? AND epoch = ?',
    ).get(id, version, epoch);
    return (row as { digest: string } | undefined)?.digest;
  }

  /** Gives the versions to one signed transaction until the epoch ends; durable by itself. */
  lock(versions: readonly { id: string; version: number }[], digest: string, epoch: number): void {
    this.#db.transaction(() => {
      for (const { id, version } of versions)
        this.#sql('INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?)').run(
          id,
          version,
          digest,
          epoch,
        );
    })();
  }

  /** Applies a commit at `atMs` and returns its number; forgets versions that ended by `forget`. */
  commit(commit: Commit, atMs: number, forget: number): number {
    return this.#db.transaction(() => {
      const seq = this.lastSeq() + 1;
      for (const id of commit.removed) this.#end(id, seq);
      for (const object of commit.written) this.#write(object, seq);
      for (const [eventSeq, event] of commit.events.entries())
        this.#sql('INSERT INTO events (at_ms, event) VALUES (?, ?)').run(
          atMs,
          JSON.stringify({ ...event, txDigest: commit.digest, eventSeq }),
        );
      for (const [key, value] of Object.entries(commit.meta))
        this.#sql('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(key, value);
      this.#sql('INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)').run(
        seq,
        atMs,
        commit.digest,
        commit.sender,
        commit.ok ? 1 : 0,
        commit.executed(seq, atMs),
      );
      this.#sql('DELETE FROM locks WHERE digest = ?').run(commit.digest);
      this.#sql('DELETE FROM objects WHERE until_seq <= ?').run(forget);
      return seq;
    })();
  }

  #end(id: string, seq: number): void {
    this.#sql('UPDATE objects SET until_seq = ? WHERE id = ? AND until_seq IS NULL').run(seq, id);
  }

  #write(object: StoredObject, seq: number): void {
    this.#end(object.id, seq);
    this.#sql('INSERT INTO objects VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      object.id,
      seq,
      object.version,
      object.digest,
      object.type,
      object.owner.kind,
      ownerText(object.owner),
      object.contents,
      object.previousTransaction,
      String(object.storageRebate),
    );
  }

  /** Drops locks of epochs that have ended. */
  dropLocksBefore(epoch: number): void {
    this.#sql('DELETE FROM locks WHERE epoch < ?').run(epoch);
  }

  /** Closes the database. */
  close(): void {
    this.#db.close();
  }
}
