/**
 * The journal: one file of lines a pack, each fsynced before the step it announces or behind the
 * step it proves. What each state has proved, and what a crash right after it leads to, is the
 * table in JOURNAL.md.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf, TuskError } from '../base/errors.ts';
import { replaceFile, syncDirectory } from '../base/files.ts';
import type { BlobId, SuiId } from '../base/ids.ts';
import type { SignedTx } from '../walrus/network.ts';

/** One step of a pack. */
export type JournalEntry =
  | { state: 'chosen' }
  | { state: 'sealed'; size: number; nShards: number }
  | { state: 'encoded'; blobId: BlobId; rootHash: string }
  | { state: 'register_signed'; tx: SignedTx }
  | { state: 'register_failed'; error: string }
  | { state: 'registered'; objectId: SuiId; endEpoch: number }
  | { state: 'stored'; shards: number }
  | { state: 'certify_signed'; tx: SignedTx }
  | { state: 'certify_failed'; error: string }
  | { state: 'certified' }
  | { state: 'lapsed'; isHead: boolean }
  | { state: 'committed' };

/** All that the journal says of one pack. */
export interface PackState {
  size: number;
  nShards: number;
  blobId: BlobId | undefined;
  rootHash: Buffer;
  /** The registration as signed: perhaps not executed while there is no `objectId`. */
  registerTx: SignedTx | undefined;
  objectId: SuiId | undefined;
  endEpoch: number;
  /** Has a quorum confirmed once? */
  stored: boolean;
  certifyTx: SignedTx | undefined;
  certified: boolean;
  /** The Blob object of an earlier life of this pack that is the head on chain. */
  lapsedHead: SuiId | undefined;
  committed: boolean;
}

const fresh = (): PackState => ({
  size: 0,
  nShards: 0,
  blobId: undefined,
  rootHash: Buffer.alloc(0),
  registerTx: undefined,
  objectId: undefined,
  endEpoch: 0,
  stored: false,
  certifyTx: undefined,
  certified: false,
  lapsedHead: undefined,
  committed: false,
});

/** What a registration whose time is over leaves behind: a sealed and encoded pack. */
const lapse = (state: PackState, isHead: boolean): void => {
  const { registerTx, objectId, endEpoch, stored, certifyTx, certified } = fresh();
  if (isHead) state.lapsedHead = state.objectId;
  Object.assign(state, { registerTx, objectId, endEpoch, stored, certifyTx, certified });
};

const apply = (state: PackState, entry: JournalEntry): void => {
  if (entry.state === 'sealed') Object.assign(state, { size: entry.size, nShards: entry.nShards });
  else if (entry.state === 'encoded')
    Object.assign(state, { blobId: entry.blobId, rootHash: Buffer.from(entry.rootHash, 'hex') });
  else if (entry.state === 'register_signed') state.registerTx = entry.tx;
  else if (entry.state === 'register_failed') state.registerTx = undefined;
  else if (entry.state === 'registered')
    Object.assign(state, { objectId: entry.objectId, endEpoch: entry.endEpoch });
  else if (entry.state === 'stored') state.stored = true;
  else if (entry.state === 'certify_signed') state.certifyTx = entry.tx;
  else if (entry.state === 'certify_failed') state.certifyTx = undefined;
  else if (entry.state === 'certified') state.certified = true;
  else if (entry.state === 'lapsed') lapse(state, entry.isHead);
  else if (entry.state === 'committed') state.committed = true;
  else if (entry.state !== 'chosen') throw new Error('no step has such a name');
};

/** Takes a torn last line away, or the next one would be part of it. */
const cutTornLine = (path: string): void => {
  const bytes = readFileSync(path);
  const whole = bytes.lastIndexOf('\n') + 1;
  if (whole < bytes.length) truncateSync(path, whole);
};

/** Appends whole lines to a file and fsyncs it (and its name, with the first). */
export const appendSynced = (directory: string, name: string, text: string): void => {
  const path = join(directory, name);
  if (existsSync(path)) cutTornLine(path);
  const fd = openSync(path, 'a', 0o600);
  const { size } = fstatSync(fd);
  try {
    appendFileSync(fd, text);
    fsyncSync(fd);
  } catch (error) {
    // What the disk refused to keep proves nothing, and must not be found by the next flush.
    ftruncateSync(fd, size);
    throw error;
  } finally {
    closeSync(fd);
  }
  if (size === 0) syncDirectory(directory);
};

/** Whole lines of a file; a torn last line was never answered and does not count. */
export const wholeLines = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];

/** What `read` finds in a file of the journal; where it fails the file was altered, and `advice` says what to do about it. */
export const reading = <T>(what: string, advice: string, read: () => T): T => {
  try {
    return read();
  } catch (cause) {
    throw new TuskError(
      'damaged',
      `${what} cannot be read: ${messageOf(cause)}. Nothing was changed; staged files are safe on this machine. ${advice}`,
      { cause },
    );
  }
};

/** Gives every whole line of a file, parsed, to `take`. */
export const readLines = <T>(path: string, advice: string, take: (entry: T) => void): void => {
  for (const [i, line] of wholeLines(path).entries())
    reading(`line ${i + 1} of ${path}`, advice, () => take(JSON.parse(line)));
};

/** The journal of one pack; `state` is what its lines add up to. */
export class PackJournal {
  readonly packId: string;
  readonly state: PackState = fresh();
  readonly #directory: string;

  /** Opens (or will create at the first line) the journal of pack `packId` (hex). */
  constructor(directory: string, packId: string) {
    this.#directory = directory;
    this.packId = packId;
    readLines<JournalEntry>(this.path('jsonl'), this.advice, entry => apply(this.state, entry));
  }

  /** What to do where a file of this pack was altered. */
  get advice(): string {
    return `Restore it; or move ${this.path('jsonl')} away: what that pack holds is flushed, and paid, once more`;
  }

  /** A file of this pack in the journal's directory. */
  path(kind: 'jsonl' | 'draft' | 'metadata' | 'index.db'): string {
    return join(this.#directory, `${this.packId}.${kind}`);
  }

  /** Makes a step durable. */
  add(entry: JournalEntry): void {
    appendSynced(this.#directory, `${this.packId}.jsonl`, `${JSON.stringify(entry)}\n`);
    apply(this.state, entry);
  }

  /** Keeps bytes beside the lines, whole or not at all. */
  keep(kind: 'draft' | 'metadata', bytes: string | Uint8Array): void {
    replaceFile(this.path(kind), bytes);
  }

  /** Forgets the pack. The lines go first and for good: they are of no use without the rest. */
  remove(): void {
    rmSync(this.path('jsonl'), { force: true });
    syncDirectory(this.#directory);
    for (const kind of ['draft', 'metadata', 'index.db'] as const)
      rmSync(this.path(kind), { force: true });
  }
}

const LINES = /^([0-9a-f]{32})\.jsonl$/;
const ANY_OF_A_PACK = /^([0-9a-f]{32})\./;

const packsOf = (names: readonly string[], pattern: RegExp): string[] =>
  names.flatMap(name => pattern.exec(name)?.[1] ?? []);

/** Journals of all packs that are not done. */
export const openJournals = (directory: string): PackJournal[] =>
  packsOf(readdirSync(directory), LINES).map(packId => new PackJournal(directory, packId));

/** Removes files of packs that have no lines: a crash has left them. */
export const sweepJournals = (directory: string): void => {
  const names = readdirSync(directory);
  const known = new Set(packsOf(names, LINES));
  for (const name of names) {
    const packId = ANY_OF_A_PACK.exec(name)?.[1];
    if (packId !== undefined && !known.has(packId)) rmSync(join(directory, name), { force: true });
  }
};
