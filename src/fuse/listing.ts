/**
 * Answers to READDIR and READDIRPLUS. `.` and `..` have cookies 1 and 2, so the file system's
 * own cookies, which stay with their names for ever, are passed on shifted by 2.
 */
import type { Ino } from '../base/ids.ts';
import type { DirEntry, Filesystem } from './filesystem.ts';
import type { Form } from './forms.ts';
import type { Reply } from './reply.ts';
import { OUT_HEADER_BYTES as BODY, DIRENT_BYTES, ENTRY_BYTES } from './wire.ts';

const DOTS = 2;
const DT_DIR = 4;
/** More than this is not answered at once, so that a large directory keeps nobody waiting. */
const LISTING_BYTES_MAX = 128 * 1024;
/** Bytes that a name of middling length takes in the listing. */
const USUAL_NAME_BYTES = 16;

/** One listing of `ino` from `cookie` on, into `size` bytes, with attributes if `plus`. */
export class Listing implements Form<DirEntry[]> {
  readonly #fs: Filesystem;
  readonly #ino: Ino;
  readonly #cookie: number;
  readonly #plus: boolean;
  readonly #size: number;
  #end: number = BODY;

  constructor(fs: Filesystem, ino: Ino, cookie: number, size: number, plus: boolean) {
    this.#fs = fs;
    this.#ino = ino;
    this.#cookie = cookie;
    this.#plus = plus;
    this.#size = Math.min(size, LISTING_BYTES_MAX);
  }

  /** What the file system is asked for. */
  get cookie(): number {
    return Math.max(0, this.#cookie - DOTS);
  }
  get limit(): number {
    return Math.ceil(this.#size / (this.#headBytes + USUAL_NAME_BYTES));
  }
  get #headBytes(): number {
    return DIRENT_BYTES + (this.#plus ? ENTRY_BYTES : 0);
  }

  encode(reply: Reply, entries: DirEntry[]): number {
    this.#end = BODY;
    let fits = this.#cookie > 0 || this.#dot(reply, this.#ino, 1, '.');
    fits &&= this.#cookie > 1 || this.#dot(reply, this.#fs.parentOf(this.#ino), 2, '..');
    if (fits) {
      for (const entry of entries) if (!this.#add(reply, entry)) break;
    }
    return this.#end - BODY;
  }

  /** Gives back the lookups that the listing in `reply` counted. */
  undo(fs: Filesystem, _entries: DirEntry[], reply: Reply): void {
    if (!this.#plus) return;
    for (let at = BODY; at < this.#end; ) {
      const ino = reply.readU64(at);
      if (ino !== 0) fs.forget(ino, 1);
      const nameBytes = reply.readU32(at + ENTRY_BYTES + 16);
      at = (at + ENTRY_BYTES + DIRENT_BYTES + nameBytes + 7) & ~7;
    }
    this.#end = BODY;
  }

  #fits(nameBytes: number): boolean {
    const next = (this.#end + this.#headBytes + nameBytes + 7) & ~7;
    return next - BODY <= this.#size;
  }

  #dot(reply: Reply, ino: Ino, cookie: number, name: string): boolean {
    if (!this.#fits(name.length)) return false;
    let at = this.#end;
    if (this.#plus) {
      reply.zero(at, at + ENTRY_BYTES);
      at += ENTRY_BYTES;
    }
    this.#end = reply.dirent(at, ino, cookie, DT_DIR, name);
    return true;
  }

  /** False when there is no room; a name whose inode is gone meanwhile is left out. */
  #add(reply: Reply, entry: DirEntry): boolean {
    if (!this.#fits(entry.name.length)) return false;
    let at = this.#end;
    if (this.#plus) {
      const attr = this.#fs.readdirAttr(entry.ino);
      if (attr === undefined) return true;
      reply.entry(at, attr);
      at += ENTRY_BYTES;
    }
    this.#end = reply.dirent(at, entry.ino, entry.cookie + DOTS, entry.type, entry.name);
    return true;
  }
}
