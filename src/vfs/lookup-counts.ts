/**
 * Lookups that the kernel holds, by inode. Numbers of inodes made together lie together, so counts
 * stand in pages of plain numbers: 8 bytes an inode for a tree that was walked as a whole.
 */
import type { Ino } from '../base/ids.ts';

const PAGE_INODES = 512;

interface Page {
  readonly counts: Float64Array;
  /** Inodes with a count above zero. */
  held: number;
}

/** Counts of lookups; an inode never counted has none. */
export class LookupCounts {
  readonly #pages = new Map<number, Page>();

  /** Lookups held of an inode. */
  get(ino: Ino): number {
    return this.#pages.get(Math.floor(ino / PAGE_INODES))?.counts[ino % PAGE_INODES] ?? 0;
  }

  /** Counts one more. */
  add(ino: Ino): void {
    const number = Math.floor(ino / PAGE_INODES);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { counts: new Float64Array(PAGE_INODES), held: 0 };
      this.#pages.set(number, page);
    }
    if (page.counts[ino % PAGE_INODES]!++ === 0) page.held++;
  }

  /** Takes `lookups` back; returns how many are left, never less than none. */
  take(ino: Ino, lookups: number): number {
    const number = Math.floor(ino / PAGE_INODES);
    const page = this.#pages.get(number);
    const held = page?.counts[ino % PAGE_INODES] ?? 0;
    if (page === undefined || held === 0) return 0;
    const left = Math.max(0, held - lookups);
    page.counts[ino % PAGE_INODES] = left;
    if (left === 0 && --page.held === 0) this.#pages.delete(number);
    return left;
  }

  /** Takes all back. */
  clear(): void {
    this.#pages.clear();
  }
}
