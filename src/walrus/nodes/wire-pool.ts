/**
 * Memory for slivers on their way to nodes, or back for a check, used again over all blobs: V8 lets
 * what is dropped grow to tens of megabytes before it looks for it.
 */

/** Buffers that are free; those that nobody takes for long are collected. */
export class WirePool {
  /** By the logarithm of their size: packs differ, and a buffer for one should do for the next. */
  readonly #free: WeakRef<ArrayBuffer>[][] = [];

  /** A buffer of `bytes`, with anything in it: the smallest free one of enough, or a new one. */
  take(bytes: number): Buffer {
    const least = Math.ceil(Math.log2(bytes));
    for (const free of this.#free.slice(least)) {
      for (let ref = free.pop(); ref !== undefined; ref = free.pop()) {
        const memory = ref.deref();
        if (memory !== undefined) return Buffer.from(memory, 0, bytes);
      }
    }
    while (this.#free.length <= least) this.#free.push([]);
    // What is never written of it takes no memory.
    return Buffer.from(Buffer.allocUnsafeSlow(2 ** least).buffer, 0, bytes);
  }

  /** Takes a buffer back; nobody reads it any more. */
  give({ buffer }: Buffer): void {
    this.#free[Math.log2(buffer.byteLength)]!.push(new WeakRef(buffer as ArrayBuffer));
  }
}
