/**
 * The index writer: a worker thread and the only writer of SQLite. It reads the log's files behind
 * the front, applies what is synced in bounded transactions, and starts checkpoints. Messages are
 * handled one after the other, so a copy holds exactly what was asked to be applied before it.
 */
import { constants, copyFileSync, existsSync, mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { ByteReader } from '../base/bytes.ts';
import { isDiskFull, messageOf, systemCode, TuskError } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { ROOT_INO, type Seq } from '../base/ids.ts';
import { log } from '../base/log.ts';
import { enterBackground } from '../log/background.ts';
import { BALLAST_BYTES, Ballast } from '../log/ballast.ts';
import { slotsIn } from '../log/place.ts';
import { LogReader } from '../log/reader.ts';
import type { LogRecord } from '../log/record.ts';
import { Applier } from './apply.ts';
import {
  type Databases,
  type Db,
  indexPath,
  localPath,
  openDatabases,
  setState,
} from './database.ts';
import type { FromWriter, LastAnswer, ToWriter, WriterSettings } from './messages.ts';
import { decodeMutation, Kind, type Mutation } from './mutation.ts';
import { TailWriter } from './tails.ts';

/** Records applied after which a checkpoint starts: bounds SQLite's own write-ahead logs. */
const CHECKPOINT_RECORDS = 20_000;
/** A checkpoint also starts after this much rest. */
const REST_MS = 2000;
/** The front reads in transactions that last a turn of its event loop: one in the way is waited out. */
const READER_TRIES = 5;
const READER_PAUSE_MS = 2;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 5000;
/** Errors other than a full disk are taken for lasting after this many attempts. */
const ATTEMPTS_MAX = 8;

const settings = workerData as WriterSettings;
/** Given up when the disk is full, so that applying can go on and free log segments. */
const ballast = new Ballast(join(settings.directory, 'ballast'), BALLAST_BYTES);
const port = parentPort!;
const say = (message: FromWriter): void => port.postMessage(message);

const ending = new Int32Array(settings.ending);

/** Waits, but not once the index is being closed. */
const pause = (ms: number): void => {
  Atomics.wait(ending, 0, 0, ms);
};
const isEnding = (): boolean => Atomics.load(ending, 0) === 1;

/** Does `work` until it succeeds: a full disk is waited out, other errors for a while. */
const retrying = <T>(what: string, work: () => T): T => {
  for (let attempt = 1; ; attempt++) {
    try {
      return work();
    } catch (error) {
      const corrupt = /SQLITE_(CORRUPT|NOTADB)/.test(systemCode(error) ?? '');
      log('meta').warn({ what, attempt, error: messageOf(error) }, 'index write failed');
      if (
        corrupt ||
        error instanceof RangeError ||
        isEnding() ||
        (!isDiskFull(error) && attempt >= ATTEMPTS_MAX)
      )
        throw error;
      if (isDiskFull(error) && ballast.release()) continue;
      pause(Math.min(RETRY_FIRST_MS * 2 ** attempt, RETRY_MAX_MS));
    }
  }
};

/** The root directory of a new volume. */
const makeRoot = ({ index }: Databases): void => {
  if (index.prepare('SELECT 1 FROM inode LIMIT 1').get() !== undefined) return;
  const seconds = Math.floor(settings.nowMs / 1000);
  const ns = (settings.nowMs % 1000) * 1_000_000;
  index.transaction(() => {
    index
      .prepare(
        `INSERT INTO inode(ino, mode, nlink, uid, gid, rdev, size, bytes, atime, atime_ns, mtime, mtime_ns,
           ctime, ctime_ns, btime, btime_ns, parent) VALUES(?, ?, 2, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[ROOT_INO, 0o040755, settings.uid, settings.gid],
        ...[seconds, ns, seconds, ns, seconds, ns, seconds, ns, ROOT_INO],
      );
    setState(index, { next_ino: ROOT_INO + 1, next_cookie: 1, inodes: 1, content_bytes: 0 });
  })();
};

const lastAnswerOf = ({ request, mutations }: LogRecord): LastAnswer => {
  const all: Mutation[] = [];
  for (const reader = new ByteReader(mutations); reader.left > 0; )
    all.push(decodeMutation(reader));
  const row = all.find(m => m.kind === Kind.inode)?.row;
  const isNameless =
    row?.nlink === 0 &&
    row.ctime === row.btime &&
    row.ctimeNs === row.btimeNs &&
    all.every(({ kind }) => kind === Kind.inode || kind === Kind.xattr);
  const cutBytes = all.find(m => m.kind === Kind.cut)?.length ?? 0;
  return { request, ino: row?.ino ?? 0, cutBytes, isNameless };
};

/** Opens the databases and brings them up to the end of the log. */
class Writer {
  readonly #dbs: Databases;
  readonly #tails: TailWriter;
  readonly #applier: Applier;
  #reader: LogReader;
  #durable: Seq = 0;
  #checkpointedAt: Seq = 0;
  #rest: NodeJS.Timeout | undefined;

  constructor() {
    if (!existsSync(localPath(settings.directory)) && slotsIn(settings.logDirectory).length > 0)
      throw new TuskError(
        'damaged',
        `${settings.logDirectory} holds a log, but ${localPath(settings.directory)}, which says what of it is staged, is missing; ` +
          'nothing was changed: put the file back, or move the log away to go on without what was staged',
      );
    this.#dbs = openDatabases(settings.directory);
    ballast.hold();
    makeRoot(this.#dbs);
    this.#tails = new TailWriter(settings.directory);
    this.#applier = new Applier(this.#dbs);
    this.#reader = new LogReader(settings.logDirectory, this.#applier.appliedSeq);
  }

  /** Verifies what the log holds, makes it durable, applies it. */
  async replay(): Promise<void> {
    const start = this.#reader.position;
    while (this.#reader.next(true) !== undefined);
    const end = this.#reader.position;
    const damage = this.#reader.damage();
    if (damage !== undefined)
      throw new TuskError(
        'damaged',
        `record ${end.seq + 1} of the log was altered on the disk since it was made durable (${damage.path}, at byte ${damage.offset}): ` +
          'what follows it cannot be taken over, and nothing was changed; check the disk and put the file back as it was, ' +
          'or restore the volume from its last checkpoint',
      );
    if (end.slot > 0) await this.#reader.sync(Math.max(start.slot, 1));
    const answer = this.#reader.lastAnswer();
    const lastAnswer = answer === undefined ? undefined : lastAnswerOf(answer);
    this.#reader.close();
    this.#reader = new LogReader(settings.logDirectory, this.#applier.appliedSeq, start);
    this.#applyUpTo(end.seq);
    this.#checkpoint();
    say({ type: 'ready', end, durable: this.#durable, lastAnswer });
  }

  #handle(message: ToWriter): void {
    clearTimeout(this.#rest);
    switch (message.type) {
      case 'apply':
        this.#applyUpTo(message.seq);
        this.#rest = setTimeout(() => this.#guarded(() => this.#checkpoint()), REST_MS);
        return;
      case 'checkpoint':
        this.#answer(message.id, () => this.#checkpoint());
        return;
      case 'copy':
        this.#answer(message.id, () => this.#copy(message.directory));
        return;
      case 'keep':
        // On a full disk what is left belongs to the index.
        this.#answer(message.id, () => ballast.isHeld && this.#tails.keep(message.pieces));
        return;
      case 'close':
        this.#answer(message.id, () => this.#close());
        port.close();
        return;
    }
  }

  handle(message: ToWriter): void {
    this.#guarded(() => this.#handle(message));
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      say({ type: 'fatal', message: messageOf(error) });
    }
  }

  #answer(id: number, work: () => void): void {
    try {
      work();
      say({ type: 'done', id });
    } catch (error) {
      say({ type: 'failed', id, message: messageOf(error) });
    }
  }

  #applyUpTo(target: Seq): void {
    while (this.#applier.appliedSeq < target) {
      retrying('apply', () => this.#applyBatch(target));
      say({ type: 'applied', seq: this.#applier.appliedSeq });
      const since = this.#applier.appliedSeq - this.#checkpointedAt;
      // On a full disk SQLite's write-ahead log is kept as small as it can be.
      if (since > CHECKPOINT_RECORDS || !ballast.isHeld) this.#checkpoint();
    }
  }

  #applyBatch(target: Seq): void {
    const from = this.#applier.appliedSeq;
    if (this.#reader.position.seq !== from) {
      this.#reader.close();
      this.#reader = new LogReader(settings.logDirectory, from);
    }
    const upTo = Math.min(target, from + settings.batchRecords);
    this.#reader.follow();
    this.#applier.begin();
    try {
      while (this.#reader.position.seq < upTo) {
        const record = this.#reader.next(false);
        if (record === undefined)
          throw new RangeError(
            `log record ${this.#reader.position.seq + 1} of ${target} is missing`,
          );
        this.#applier.record(record);
      }
      failpoint('meta.apply');
      this.#applier.commit(upTo);
      this.#tails.drop(this.#applier.replaced);
    } catch (error) {
      this.#applier.rollback();
      throw error;
    }
  }

  /** Brings both database files up to date and makes them durable, as far as readers let it. */
  #checkpoint(): void {
    const seq = this.#applier.appliedSeq;
    this.#checkpointedAt = seq;
    let whole = false;
    for (let tries = 0; !whole && tries < READER_TRIES; tries++) {
      if (tries > 0) pause(READER_PAUSE_MS);
      whole = retrying('checkpoint', () =>
        [this.#dbs.local, this.#dbs.index].map(db => checkpointed(db, 'PASSIVE')).every(Boolean),
      );
    }
    this.#tails.checkpoint();
    ballast.hold();
    if (!whole || seq <= this.#durable) return;
    this.#durable = seq;
    say({ type: 'durable', seq });
  }

  #copy(directory: string): void {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const [db, path] of [
      [this.#dbs.index, indexPath],
      [this.#dbs.local, localPath],
    ] as const) {
      retrying('copy', () => {
        if (!checkpointed(db, 'RESTART')) throw new Error('a reader is in the way');
        copyFileSync(path(settings.directory), path(directory), constants.COPYFILE_FICLONE);
      });
    }
    this.#checkpoint();
  }

  #close(): void {
    clearTimeout(this.#rest);
    this.#checkpoint();
    this.#reader.close();
    this.#dbs.index.close();
    this.#dbs.local.close();
    this.#tails.close();
  }
}

/** Runs a checkpoint; true if the database file then holds everything. */
const checkpointed = (db: Db, mode: 'PASSIVE' | 'RESTART'): boolean => {
  const [row] = db.pragma(`wal_checkpoint(${mode})`) as {
    busy: number;
    log: number;
    checkpointed: number;
  }[];
  return row!.busy === 0 && row!.log === row!.checkpointed;
};

const main = async (): Promise<void> => {
  try {
    // The addon knows it by this name.
    enterBackground('tuskfs-index');
    const writer = new Writer();
    await writer.replay();
    port.on('message', (message: ToWriter) => writer.handle(message));
  } catch (error) {
    // On a full disk SQLite calls what it cannot make (its -shm file) an I/O error.
    const { bavail } = statfsSync(settings.directory);
    const isFull =
      isDiskFull(error) || (bavail === 0 && /SQLITE_IOERR/.test(systemCode(error) ?? ''));
    const message = isFull
      ? `the disk of ${settings.directory} is full: free some space`
      : messageOf(error);
    say({ type: 'fatal', message });
    port.close();
  }
};

await main();
