/**
 * The slivers that a node keeps of one blob, in one file, one behind the other as they came: a file
 * for each costs more than its bytes. A record is a head and the sliver as it was PUT:
 *
 *     pair u16 · type u8 (1 primary, 2 secondary, 0 dropped) · mark u8 · bytes u32, little-endian
 *
 * Where a record is not whole the file ends. What is quick is done at once: to hand a call to
 * another thread takes longer than to write a sliver.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  openSync,
  read as readFile,
  readSync,
  truncateSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { systemCode } from '../../base/errors.ts';
import type { SliverType } from '../../base/ids.ts';
import { take } from './buffers.ts';

const datasync = promisify(fdatasync);
const read = promisify(readFile);

const HEAD_BYTES = 8;
const TYPE_AT = 2;
const TYPES: readonly (SliverType | undefined)[] = [undefined, 'primary', 'secondary'];
const MARK = 0xb5;
const { O_CREAT, O_RDONLY, O_RDWR } = constants;
/** So many bytes go on their way to the disk before anybody asks: little is left to wait for then. */
const WRITE_BYTES = 1024 * 1024;

/** Where a sliver is in the file. */
export interface Place {
  readonly at: number;
  readonly bytes: number;
}

/** What a sliver is called here: `<pair>.<type>`. */
export const sliverName = (pair: number, type: SliverType): string => `${pair}.${type}`;

const using = <T>(path: string, flags: number, use: (fd: number) => T): T => {
  const fd = openSync(path, flags, 0o600);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
};

/** What a file gives; undefined if there is none. */
export const reading = async <T>(
  path: string,
  use: (fd: number) => T,
): Promise<Awaited<T> | undefined> => {
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
};

/** Bytes [at, at + bytes) of an open file, or as many as there are. */
export const readAt = async (
  fd: number,
  at: number,
  bytes: number,
  buffer: Buffer = Buffer.allocUnsafe(bytes),
): Promise<Buffer> => {
  const { bytesRead } = await read(fd, buffer, 0, bytes, at);
  return buffer.subarray(0, bytesRead);
};

/** Where the slivers of a file are, by their names, and where its last whole record ends. */
export const recordsOf = (path: string): { places: Map<string, Place>; end: number } =>
  using(path, O_RDONLY, fd => {
    const places = new Map<string, Place>();
    const { size } = fstatSync(fd);
    const head = Buffer.alloc(HEAD_BYTES);
    let end = 0;
    while (readSync(fd, head, 0, HEAD_BYTES, end) === HEAD_BYTES && head[3] === MARK) {
      const at = end + HEAD_BYTES;
      const bytes = head.readUInt32LE(4);
      if (at + bytes > size) break;
      const type = TYPES[head[TYPE_AT]!];
      if (type !== undefined) places.set(sliverName(head.readUInt16LE(0), type), { at, bytes });
      end = at + bytes;
    }
    return { places, end };
  });

/** The slivers of one blob; there is no file before the first. */
export class SliverFile {
  readonly #path: string;
  readonly #places = new Map<string, Place>();
  /** While slivers come. */
  #fd: number | undefined;
  #end = 0;
  #newBytes = 0;
  #writing: Promise<void> | undefined;
  /** Why bytes did not reach the disk: Linux forgets which, so a later success would prove nothing. */
  #failure: unknown;

  constructor(path: string) {
    this.#path = path;
  }

  /** Where each sliver is, by its name. */
  get places(): ReadonlyMap<string, Place> {
    return this.#places;
  }

  /** Takes in what an earlier run kept. */
  open(): void {
    const { places, end } = recordsOf(this.#path);
    for (const [name, place] of places) this.#places.set(name, place);
    this.#end = end;
    truncateSync(this.#path, end);
  }

  /** Keeps a sliver: it survives the end of this process, and that of the machine after `sync`. */
  append(pair: number, type: SliverType, bytes: Uint8Array): void {
    const head = Buffer.of(0, 0, TYPES.indexOf(type), MARK, 0, 0, 0, 0);
    head.writeUInt16LE(pair, 0);
    head.writeUInt32LE(bytes.length, 4);
    const at = this.#end + HEAD_BYTES;
    this.#fd ??= openSync(this.#path, O_RDWR | O_CREAT, 0o600);
    let done = writevSync(this.#fd, [head, bytes], this.#end) - HEAD_BYTES;
    while (done < bytes.length) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    }
    this.#places.set(sliverName(pair, type), { at, bytes: bytes.length });
    this.#end = at + bytes.length;
    this.#newBytes += bytes.length;
    // `sync` tells of a failure.
    if (this.#newBytes >= WRITE_BYTES) this.#write().catch(() => undefined);
  }

  /** A sliver, or undefined; its buffer may be given back. */
  async sliver(name: string): Promise<Buffer | undefined> {
    const place = this.#places.get(name);
    if (place === undefined) return undefined;
    return reading(this.#path, fd => readAt(fd, place.at, place.bytes, take(place.bytes)));
  }

  /** Parts [at, at + length) of a sliver for each `at`; undefined without the sliver. */
  async parts(name: string, ats: readonly number[], length: number): Promise<Buffer[] | undefined> {
    const place = this.#places.get(name);
    if (place === undefined) return undefined;
    return reading(this.#path, fd => {
      const all = Buffer.allocUnsafe(ats.length * length);
      return ats.map((at, i) => {
        const bytes = readSync(fd, all, i * length, length, place.at + at);
        return all.subarray(i * length, i * length + bytes);
      });
    });
  }

  /** Keeps a sliver no longer; the space of its bytes is free when the blob goes. */
  drop(name: string): void {
    const place = this.#places.get(name);
    if (place === undefined) return;
    using(this.#path, O_RDWR, fd =>
      writeSync(fd, Buffer.of(0), 0, 1, place.at - HEAD_BYTES + TYPE_AT),
    );
    this.#places.delete(name);
  }

  /** Makes everything that was kept so far durable, but for the file's name. */
  async sync(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#write();
    this.close();
  }

  /** Holds no descriptor any more; the next sliver opens the file again. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  async #write(): Promise<void> {
    if (this.#writing !== undefined) return;
    this.#newBytes = 0;
    this.#writing = reading(this.#path, fd => datasync(fd));
    try {
      await this.#writing;
    } catch (error) {
      this.#failure = error;
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }
}
