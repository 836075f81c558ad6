/**
 * Parts of directory listings that were read lately, so that a directory listed again costs no
 * reading. Invariant: what is kept for a directory is what a listing would give now; any change of
 * its names drops all of it.
 */
import { LRUCache } from 'lru-cache';
import type { Ino } from '../base/ids.ts';
import type { Dentry } from './types.ts';

/** One directory's parts, by the cookie that they stand behind. */
interface Parts {
  readonly byCookie: Map<number, { limit: number; dentries: Dentry[] }>;
  entries: number;
}

/** A bounded cache of listings. */
export class Listings {
  readonly #directories: LRUCache<Ino, Parts>;

  /** `max`: names kept, all directories together. */
  constructor(max: number) {
    this.#directories = new LRUCache({
      maxSize: max,
      sizeCalculation: parts => parts.entries + 4,
    });
  }

  /** The names behind `cookie` as last read with the same limit. */
  get(directory: Ino, cookie: number, limit: number): Dentry[] | undefined {
    const part = this.#directories.get(directory)?.byCookie.get(cookie);
    return part?.limit === limit ? part.dentries : undefined;
  }

  keep(directory: Ino, cookie: number, limit: number, dentries: Dentry[]): void {
    const parts = this.#directories.peek(directory) ?? { byCookie: new Map(), entries: 0 };
    parts.entries += dentries.length - (parts.byCookie.get(cookie)?.dentries.length ?? 0);
    parts.byCookie.set(cookie, { limit, dentries });
    // Set anew even if it is there: its size has changed.
    this.#directories.delete(directory);
    this.#directories.set(directory, parts);
  }

  /** A name in the directory changes. */
  drop(directory: Ino): void {
    this.#directories.delete(directory);
  }
}
