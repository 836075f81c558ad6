/** /dev/fuse in memory: what the session does with given requests, without a kernel. */
import type { FuseCalls, FuseDevice } from '../../src/native.ts';

const IO_BYTES = 1 << 20;

/** One reply as the kernel would get it. */
export interface Answered {
  error: number;
  unique: bigint;
  body: Buffer;
}

export class MemoryDevice implements FuseDevice {
  readonly answers: Answered[] = [];
  /** What `send` returns: −2 plays a kernel that has given the request up. */
  sendResult = 0;
  readonly fd = -1;
  closed = false;
  readonly #request = Buffer.from(new ArrayBuffer(IO_BYTES + 4096));
  readonly #reply = Buffer.from(new ArrayBuffer(IO_BYTES + 4096));
  #queue: Buffer[] = [];
  #unmounted = false;
  #onReadable = () => {};

  request(): Buffer {
    return this.#request;
  }
  reply(): Buffer {
    return this.#reply;
  }
  start(onReadable: () => void): void {
    this.#onReadable = onReadable;
  }
  look(): void {}
  calls(): FuseCalls {
    const send = () => this.sendViews(this.#reply.readUInt32LE(0), []);
    return { next: () => this.#next(), send };
  }
  #next(): number {
    const request = this.#queue.shift();
    if (request === undefined) return this.#unmounted ? -19 : 0;
    // What a longer request left behind must not be taken for this one's.
    this.#request.fill(0xee);
    request.copy(this.#request);
    return request.length;
  }
  sendViews(length: number, views: Buffer[]): number {
    const bytes = Buffer.concat([this.#reply.subarray(0, length), ...views]);
    if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('length of the reply is wrong');
    const [error, unique] = [bytes.readInt32LE(4), bytes.readBigUInt64LE(8)];
    this.answers.push({ error, unique, body: bytes.subarray(16) });
    return this.sendResult;
  }
  notify(): Promise<number> {
    return Promise.resolve(0);
  }
  close(): void {
    this.closed = true;
  }

  /** Serves requests and returns what was answered at once. */
  feed(...requests: Buffer[]): Answered[] {
    this.#queue.push(...requests);
    this.answers.length = 0;
    this.#onReadable();
    return this.answers;
  }
  /** The kernel unmounts. */
  unmount(): void {
    this.#unmounted = true;
    this.#onReadable();
  }
}

/** A request as the kernel sends it (fuse_in_header, then `body`). */
export const request = (
  op: number,
  ino: number | bigint,
  body: Uint8Array = Buffer.alloc(0),
  unique = 2n,
): Buffer => {
  const header = Buffer.alloc(40);
  header.writeUInt32LE(40 + body.length, 0);
  header.writeUInt32LE(op, 4);
  header.writeBigUInt64LE(unique, 8);
  header.writeBigUInt64LE(BigInt(ino), 16);
  header.writeUInt32LE(1000, 24);
  header.writeUInt32LE(1001, 28);
  header.writeUInt32LE(4242, 32);
  return Buffer.concat([header, body]);
};

/** Fields one behind the other: numbers are u32, bigints u64, strings end with NUL. */
export const fields = (...values: (number | bigint | string | Uint8Array)[]): Buffer =>
  Buffer.concat(
    values.map(value => {
      if (typeof value === 'string') return Buffer.from(`${value}\0`, 'latin1');
      if (typeof value === 'object') return value;
      const bytes = Buffer.alloc(typeof value === 'number' ? 4 : 8);
      if (typeof value === 'number') bytes.writeUInt32LE(value);
      else bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
      return bytes;
    }),
  );
