/**
 * A sliver on its way in: BCS SliverData whose data goes straight to where it is to stay, however
 * the network cuts it. Thousands of buffers in between would cost more than the bytes: memory
 * outside of the heap, asked for anew, has the collector mark the whole heap again and again.
 */
import type { Sink } from './exchange.ts';
import { lengthBytes, wireBytes } from './places.ts';

/** Takes one sliver in. */
export class IncomingSliver implements Sink {
  /** Bytes of the sliver on the wire. */
  readonly wireBytes: number;
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
    const head = lengthBytes(place.length);
    this.wireBytes = wireBytes(place.length);
    const around = Buffer.allocUnsafe(this.wireBytes - place.length);
    this.#head = around.subarray(0, head);
    // Behind the data: length of a symbol and index, u16 each.
    this.#tail = around.subarray(head);
    this.#parts = [this.#head, place, this.#tail];
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

  /** Did exactly the sliver of that index come, with symbols of that length? */
  is(symbolBytes: number, index: number): boolean {
    if (this.#bytes !== this.wireBytes) return false;
    let declared = 0;
    for (let at = this.#head.length - 1; at >= 0; at--) {
      declared = declared * 128 + (this.#head[at]! & 127);
    }
    return (
      declared === this.#parts[1]!.length &&
      this.#tail.readUInt16LE(0) === symbolBytes &&
      this.#tail.readUInt16LE(2) === index
    );
  }
}
