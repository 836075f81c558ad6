/**
 * Memory for slivers on their way to nodes, used again over all uploads: V8 lets what is dropped
 * grow to tens of megabytes before it looks for it.
 */

/** Buffers that are free; those that nobody takes for long are collected. */
export class WirePool {
  #free: WeakRef<ArrayBuffer>[] = [];

  /** A buffer of `bytes`, with anything in it. */
  take(bytes: number): Buffer {
    const kept: WeakRef<ArrayBuffer>[] = [];
    let found: ArrayBuffer | undefined;
    for (const ref of this.#free) {
      const memory = ref.deref();
      if (memory === undefined) continue;
      if (found === undefined && memory.byteLength >= bytes) found = memory;
      else kept.push(ref);
    }
    this.#free = kept;
    // Packs differ in size: a buffer for one should do for the next. What is not written takes no memory.
    found ??= Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes))).buffer;
    return Buffer.from(found, 0, bytes);
  }

  /** Takes a buffer back; nobody reads it any more. */
  give(buffer: Buffer): void {
    this.#free.push(new WeakRef(buffer.buffer as ArrayBuffer));
  }
}
