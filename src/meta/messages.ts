/** What the front and the index writer say to each other; bytes go through the log, but for last pages, which the log is about to lose. */
import type { Ino, Seq } from '../base/ids.ts';
import type { LogPosition } from '../log/record.ts';
import type { TailPiece } from './tails.ts';

/**
 * The last request that the log answers. Whoever died may not have sent the answer: this, and the
 * tree as it is, tell what it was.
 */
export interface LastAnswer {
  /** Its mark. */
  readonly request: number;
  /** The first inode that the change set; 0 if none. */
  readonly ino: Ino;
  /** Bytes of the first range that it made a hole; 0 if none. */
  readonly cutBytes: number;
  /** It made that inode, and gave it no name. */
  readonly isNameless: boolean;
}

/** How the writer is started. */
export interface WriterSettings {
  directory: string;
  logDirectory: string;
  /** Owner of the root directory, should there be none yet. */
  uid: number;
  gid: number;
  nowMs: number;
  /** Records a transaction, at most. */
  batchRecords: number;
  /** Becomes 1 when the index closes: no failed write is tried again then. */
  ending: SharedArrayBuffer;
}

/** Front to writer. Requests with an `id` are answered. */
export type ToWriter =
  | { type: 'apply'; seq: Seq }
  | { type: 'checkpoint'; id: number }
  | { type: 'copy'; id: number; directory: string }
  | { type: 'keep'; id: number; pieces: TailPiece[] }
  | { type: 'close'; id: number };

/** Writer to front. */
export type FromWriter =
  /** Everything in the log is applied; `end` is where it ended. */
  | { type: 'ready'; end: LogPosition; durable: Seq; lastAnswer: LastAnswer | undefined }
  | { type: 'applied'; seq: Seq }
  /** SQLite survives power loss with everything up to here. */
  | { type: 'durable'; seq: Seq }
  | { type: 'done'; id: number }
  | { type: 'failed'; id: number; message: string }
  | { type: 'fatal'; message: string };
