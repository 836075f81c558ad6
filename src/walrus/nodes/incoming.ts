/**
 * A sliver on its way in: BCS SliverData whose data goes straight to where it is to stay, however
 * the network cuts it. Thousands of buffers in between would cost more than the bytes: memory
 * outside of the heap, asked for anew, has the collector mark the whole heap again and again.
 */
import type { Sink } from './exchange.ts';
import { bcsLength } from './places.ts';

/** Takes one sliver in. */
export class IncomingSliver implements Sink {
  /** Bytes of the sliver on the wire. */
  readonly wireBytes: number;
  /** The length that ought to come, and what came before the data and behind it. */
  readonly #length: Buffer;
  readonly #head: Buffer;
  readonly #tail: Buffer;
  readonly #parts: readonly Buffer[];
  readonly #came: ((bytes: number) => void) | undefined;
  #bytes = 0;
  /** Where the next byte goes. */
  #part = 0;
  #at = 0;

  /** The data will be in `place`, which is as long; `came` hears of bytes as they come. */
  constructor(place: Buffer, came?: (bytes: number) => void) {
    this.#came = came;
    this.#length = bcsLength(place.length);
    this.#head = Buffer.allocUnsafe(this.#length.length);
    // Length of a symbol and index, u16 each.
    this.#tail = Buffer.allocUnsafe(4);
    this.#parts = [this.#head, place, this.#tail];
    this.wireBytes = this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  put(chunk: Buffer): void {
    for (let taken = 0; taken < chunk.length && this.#part < this.#parts.length; ) {
      const part = this.#parts[this.#part]!;
      const bytes = chunk.copy(part, this.#at, taken);
      taken += bytes;
      this.#at += bytes;
      if (this.#at < part.length) break;
      this.#part++;
      this.#at = 0;
    }
    this.#bytes += chunk.length;
    this.#came?.(chunk.length);
  }

  /** Bytes that did not come so far. */
  get missingBytes(): number {
    return Math.max(0, this.wireBytes - this.#bytes);
  }

  /** Did exactly the sliver of that index come, with symbols of that length? */
  is(symbolBytes: number, index: number): boolean {
    return (
      this.#bytes === this.wireBytes &&
      this.#head.equals(this.#length) &&
      this.#tail.readUInt16LE(0) === symbolBytes &&
      this.#tail.readUInt16LE(2) === index
    );
  }
}
