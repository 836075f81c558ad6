/**
 * The extents of one file in memory: sorted, never overlapping, adjacent runs merged. Kept in
 * chunks, so that a file with 100,000 extents changes as fast as one with ten.
 */
import type { Extent } from './types.ts';

const CHUNK_MAX = 256;

const endOf = (extent: Extent): number => extent.offset + extent.length;

/** The part of an extent within [from, to). */
const clip = (extent: Extent, from: number, to: number): Extent => {
  const offset = Math.max(extent.offset, from);
  const end = Math.min(endOf(extent), to);
  if (offset === extent.offset && end === endOf(extent)) return extent;
  const skipped = offset - extent.offset;
  return {
    offset,
    length: end - offset,
    addr: extent.addr >= 0 ? extent.addr + skipped : -1,
    frame: extent.frame,
    at: extent.addr >= 0 ? 0 : extent.at + skipped,
  };
};

/** Does `b` continue the bytes of `a`? */
const continues = (a: Extent, b: Extent): boolean =>
  endOf(a) === b.offset &&
  (a.addr >= 0
    ? b.addr === a.addr + a.length
    : b.addr < 0 && b.frame === a.frame && b.at === a.at + a.length);

/** Appends, merging where the bytes run on. */
const push = (to: Extent[], extent: Extent): void => {
  const last = to.at(-1);
  if (last !== undefined && continues(last, extent)) {
    to[to.length - 1] = { ...last, length: last.length + extent.length };
  } else {
    to.push(extent);
  }
};

/** Extents of one file. */
export class ExtentMap {
  /** Non-empty chunks in order. */
  #chunks: Extent[][] = [];
  #count = 0;
  /** Sum of lengths, and of those in the log. */
  bytes = 0;
  stagedBytes = 0;

  /** From extents in order, as loaded. */
  static of(extents: Iterable<Extent>): ExtentMap {
    const map = new ExtentMap();
    const all: Extent[] = [];
    for (const extent of extents) {
      push(all, extent);
      map.bytes += extent.length;
      if (extent.addr >= 0) map.stagedBytes += extent.length;
    }
    map.#count = all.length;
    for (let i = 0; i < all.length; i += CHUNK_MAX / 2)
      map.#chunks.push(all.slice(i, i + CHUNK_MAX / 2));
    return map;
  }

  /** Number of extents. */
  get count(): number {
    return this.#count;
  }

  /** All of them, in order. */
  *[Symbol.iterator](): Generator<Extent> {
    for (const chunk of this.#chunks) yield* chunk;
  }

  /** Those that touch [from, to), clipped to it. */
  within(from: number, to: number): Extent[] {
    const found: Extent[] = [];
    for (let c = this.#chunkAt(from); c < this.#chunks.length; c++) {
      const chunk = this.#chunks[c]!;
      for (let i = this.#indexAt(chunk, from); i < chunk.length; i++) {
        const extent = chunk[i]!;
        if (extent.offset >= to) return found;
        found.push(clip(extent, from, to));
      }
    }
    return found;
  }

  /** Next offset ≥ `offset` of data or of a hole; −1 if no data lies there (a hole is always found). */
  seek(offset: number, what: 'data' | 'hole'): number {
    let at = offset;
    for (let c = this.#chunkAt(offset); c < this.#chunks.length; c++) {
      const chunk = this.#chunks[c]!;
      for (let i = this.#indexAt(chunk, offset); i < chunk.length; i++) {
        const extent = chunk[i]!;
        if (what === 'data') return Math.max(offset, extent.offset);
        if (extent.offset > at) return at;
        at = endOf(extent);
      }
    }
    return what === 'data' ? -1 : at;
  }

  /** Puts `extents` (in order, inside the range) in place of all that [from, to) held, which is returned clipped. */
  replace(from: number, to: number, extents: readonly Extent[]): Extent[] {
    // Neighbours that end at `from` or begin at `to` may merge: they are taken out and put back.
    const first = this.#chunkAt(from - 1);
    const start = first < this.#chunks.length ? this.#indexAt(this.#chunks[first]!, from - 1) : 0;
    const old: Extent[] = [];
    let [last, end] = [first, start];
    for (let chunk = this.#chunks[last]; chunk !== undefined; chunk = this.#chunks[last]) {
      while (end < chunk.length && chunk[end]!.offset <= to) old.push(chunk[end++]!);
      if (end < chunk.length || last + 1 === this.#chunks.length) break;
      [last, end] = [last + 1, 0];
    }
    const removed: Extent[] = [];
    const fresh: Extent[] = [];
    let put = false;
    const putNew = () => {
      for (const extent of extents) push(fresh, extent);
      put = true;
    };
    for (const extent of old) {
      if (!put && extent.offset >= to) putNew();
      if (endOf(extent) <= from || extent.offset >= to) {
        push(fresh, extent);
        continue;
      }
      removed.push(clip(extent, from, to));
      if (extent.offset < from) push(fresh, clip(extent, extent.offset, from));
      if (endOf(extent) > to) {
        if (!put) putNew();
        push(fresh, clip(extent, to, endOf(extent)));
      }
    }
    if (!put) putNew();
    this.#count += fresh.length - old.length;
    this.#splice(first, start, last, end, fresh);
    for (const extent of removed) this.#account(extent, -1);
    for (const extent of extents) this.#account(extent, 1);
    return removed;
  }

  #account(extent: Extent, sign: 1 | -1): void {
    this.bytes += sign * extent.length;
    if (extent.addr >= 0) this.stagedBytes += sign * extent.length;
  }

  /** Puts `fresh` in place of what stands from `start` of chunk `first` to `end` of chunk `last`. */
  #splice(first: number, start: number, last: number, end: number, fresh: Extent[]): void {
    const head = this.#chunks[first] ?? [];
    const left = head.length - (end - start) + fresh.length;
    if (first === last && left > 0 && left <= CHUNK_MAX && head.length > 0) {
      head.splice(start, end - start, ...fresh);
      return;
    }
    const all = head.slice(0, start).concat(fresh, this.#chunks[last]?.slice(end) ?? []);
    const size = all.length <= CHUNK_MAX ? CHUNK_MAX : CHUNK_MAX / 2;
    const chunks: Extent[][] = [];
    for (let i = 0; i < all.length; i += size) chunks.push(all.slice(i, i + size));
    this.#chunks.splice(first, last + 1 - first, ...chunks);
  }

  /** First chunk that may hold something behind `from` (0 if empty). */
  #chunkAt(from: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (endOf(this.#chunks[mid]!.at(-1)!) <= from) low = mid + 1;
      else high = mid;
    }
    return Math.min(low, Math.max(this.#chunks.length - 1, 0));
  }

  /** First extent of a chunk that ends behind `from`. */
  #indexAt(chunk: Extent[], from: number): number {
    let low = 0;
    let high = chunk.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (endOf(chunk[mid]!) <= from) low = mid + 1;
      else high = mid;
    }
    return low;
  }
}
