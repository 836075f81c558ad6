/**
 * One kind of thing in memory: what unapplied records changed is pinned, the rest is a bounded
 * cache over SQLite. Invariant: what is neither pinned nor cached is in SQLite as of every answered
 * change. `null` means that the thing does not exist.
 */
import { LRUCache } from 'lru-cache';
import type { Seq } from '../base/ids.ts';

interface Pinned<V> {
  value: V | null;
  seq: Seq;
}

/** `NonNullable` values cannot be null in the cache, so absence has a sign of its own. */
const ABSENT = Symbol('absent');

/** Pinned changes over a bounded cache over a loader. */
export class Layer<K extends string | number, V extends object> {
  readonly #pinned = new Map<K, Pinned<V>>();
  readonly #cache: LRUCache<K, V | typeof ABSENT>;
  readonly #load: (key: K) => V | null;
  #queue: { key: K; seq: Seq }[] = [];
  #done = 0;

  /** `weight`: how many units of `max` a value takes. */
  constructor(max: number, load: (key: K) => V | null, weight?: (value: V) => number) {
    this.#load = load;
    this.#cache = new LRUCache(
      weight === undefined
        ? { max }
        : { maxSize: max, sizeCalculation: value => (value === ABSENT ? 1 : weight(value)) },
    );
  }

  /** Things pinned now. */
  get pinnedCount(): number {
    return this.#pinned.size;
  }

  /** The value, from memory or SQLite. */
  get(key: K): V | null {
    const pinned = this.#pinned.get(key);
    if (pinned !== undefined) return pinned.value;
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached === ABSENT ? null : cached;
    const value = this.#load(key);
    this.#cache.set(key, value ?? ABSENT);
    return value;
  }

  /** Sets (or with null removes) by record `seq`. */
  set(key: K, value: V | null, seq: Seq): void {
    const pinned = this.#pinned.get(key);
    if (pinned === undefined) {
      // What the cache holds stays until the release overwrites it: what is pinned is looked at first.
      this.#pinned.set(key, { value, seq });
    } else {
      pinned.value = value;
      if (pinned.seq === seq) return;
      pinned.seq = seq;
    }
    this.#queue.push({ key, seq });
  }

  /** What is pinned, with null for removed. */
  *pinned(): Generator<[K, V | null]> {
    for (const [key, { value }] of this.#pinned) yield [key, value];
  }

  /** True if SQLite may not have the last word on this key. */
  isPinned(key: K): boolean {
    return this.#pinned.has(key);
  }

  /** Lets go of what records up to `seq` changed: SQLite has it now. */
  applied(seq: Seq, released?: (key: K) => void): void {
    const queue = this.#queue;
    while (this.#done < queue.length && queue[this.#done]!.seq <= seq) {
      const { key } = queue[this.#done++]!;
      const pinned = this.#pinned.get(key);
      if (pinned === undefined || pinned.seq > seq) continue;
      this.#pinned.delete(key);
      this.#cache.set(key, pinned.value ?? ABSENT);
      released?.(key);
    }
    if (this.#done > 1024 && this.#done * 2 > queue.length) {
      this.#queue = queue.slice(this.#done);
      this.#done = 0;
    }
  }
}
