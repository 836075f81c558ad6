/**
 * One pack's cache file: sparse, in the pack's own layout, filled by systematic slivers and
 * emptied by punching holes. Invariant: a bit in the map means that the bytes were written before
 * it was set; the map on disk loses a bit before its bytes are punched, unless it finds room only in
 * what they leave. What a power loss tears between the two shows as a tag that does not hold, never
 * as wrong bytes.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { isDiskFull } from '../base/errors.ts';
import { native } from '../native.ts';
import { encodeSliverMap, type SliverMap } from './sliver-map.ts';

/** Numbers of a pack that its cache file depends on. */
export interface PackShape {
  readonly size: number;
  readonly nShards: number;
  /** Bytes of one systematic primary sliver. */
  readonly primaryBytes: number;
  /** Systematic slivers that hold bytes of the pack. */
  readonly slivers: number;
}

/** Shape of a pack of `size` bytes; throws if no blob of that size exists for so many shards. */
export const packShape = (size: number, nShards: number): PackShape => {
  const { primaryBytes } = native.blobShape(size, nShards);
  return { size, nShards, primaryBytes, slivers: Math.ceil(size / primaryBytes) };
};

/** A pack's bytes on this disk. */
export class PackFile {
  readonly path: string;
  readonly shape: PackShape;
  /** Bytes of the pack that are here. */
  bytes = 0;
  /** When each sliver was last used, in the cache's own count. */
  readonly stamps: Uint32Array;
  /** Judgements of wrong bytes, one after the other. */
  judging: Promise<void> = Promise.resolve();
  /** Readings under way; a file that is held is not removed. */
  holders = 0;
  /** The file is gone from the cache: ask the cache again. */
  removed = false;
  /** Slivers to be fetched with proof: bytes that came for them before were wrong. */
  readonly distrusted = new Set<number>();
  /** Arrivals in this file so far, and the count at which each sliver arrived last. */
  arrivals = 0;
  readonly arrivedAt: Uint32Array;
  readonly #bits: Uint8Array;
  readonly #pins: Uint16Array;
  readonly #mapPath: string;
  /** Descriptors given up while reads still used them. */
  readonly #retired: Promise<FileHandle>[] = [];
  #unsaved = false;
  #saving: Promise<void> = Promise.resolve();
  #emptying: Promise<void> = Promise.resolve();
  #handle: Promise<FileHandle> | undefined;
  #users = 0;

  /** `bits`: slivers that are there. */
  constructor(path: string, shape: PackShape, bits: Uint8Array, stamp: number) {
    this.path = path;
    this.shape = shape;
    this.#mapPath = mapPathOf(path);
    this.#bits = bits;
    this.arrivedAt = new Uint32Array(shape.slivers);
    this.#pins = new Uint16Array(shape.slivers);
    this.stamps = new Uint32Array(shape.slivers).fill(stamp);
    for (let i = 0; i < shape.slivers; i++) if (this.has(i)) this.bytes += this.sliverBytes(i);
  }

  /** An empty file for a pack. */
  static async create(path: string, shape: PackShape): Promise<PackFile> {
    const file = new PackFile(path, shape, new Uint8Array(Math.ceil(shape.slivers / 8)), 0);
    await file.#make();
    return file;
  }

  /** Is sliver `i` here? */
  has(i: number): boolean {
    return (this.#bits[i >> 3]! & (1 << (i & 7))) !== 0;
  }

  /** Bytes of the pack in sliver `i`; the last one may be padded beyond them. */
  sliverBytes(i: number): number {
    const { primaryBytes, size } = this.shape;
    return Math.min(primaryBytes, size - i * primaryBytes);
  }

  /** First and last sliver of [offset, offset + length). */
  sliversOf(offset: number, length: number): [number, number] {
    const { primaryBytes } = this.shape;
    return [Math.floor(offset / primaryBytes), Math.floor((offset + length - 1) / primaryBytes)];
  }

  /** Keeps sliver `i` from being emptied until `unpin`. */
  pin(i: number): void {
    this.#pins[i]!++;
  }
  unpin(i: number): void {
    this.#pins[i]!--;
  }
  isPinned(i: number): boolean {
    return this.#pins[i] !== 0;
  }

  /** Sliver `i` was written into the file. */
  arrived(i: number): void {
    this.arrivedAt[i] = ++this.arrivals;
    if (this.has(i)) return;
    this.#bits[i >> 3]! |= 1 << (i & 7);
    this.bytes += this.sliverBytes(i);
    this.#unsaved = true;
  }

  /** Does the file have a second name? Then its bytes are not the cache's alone. */
  async isShared(): Promise<boolean> {
    return this.use(async handle => (await handle.stat()).nlink > 1);
  }

  /** Leaves the shared file to its other name and starts again with an empty one. */
  detach(): Promise<void> {
    this.forgetAll();
    this.#retire();
    return this.#emptied(async () => {
      await rm(this.path, { force: true });
      await this.#make();
    });
  }

  /** Gives slivers up: their bits at once, then their bytes. Resolves to the bytes freed. */
  async empty(slivers: readonly number[]): Promise<number> {
    const going = slivers.filter(i => this.has(i));
    let freed = 0;
    for (const i of going) {
      this.#bits[i >> 3]! &= ~(1 << (i & 7));
      freed += this.sliverBytes(i);
    }
    this.bytes -= freed;
    await this.#emptied(async () => {
      const isSaved = await this.save(true).then(
        () => true,
        error => {
          if (!isDiskFull(error)) throw error;
          return false;
        },
      );
      await this.use(async handle => this.#punch(handle, going));
      if (!isSaved) await this.save(true);
    });
    return freed;
  }

  /** Resolves when nothing is being emptied: before that, bytes written anew could be punched. */
  get writable(): Promise<void> {
    return this.#emptying;
  }

  /** One after the other; a failure is the caller's alone. */
  #emptied(work: () => Promise<void>): Promise<void> {
    const run = this.#emptying.then(work);
    this.#emptying = run.catch(() => {});
    return run;
  }

  /** Somebody removed the file under us: nothing is here. Returns the bytes lost. */
  forgetAll(): number {
    const lost = this.bytes;
    this.#bits.fill(0);
    this.bytes = 0;
    return lost;
  }

  /** Frees what the map does not name: slivers that were being written when the process died. */
  async emptyAbsent(): Promise<void> {
    const absent = Array.from({ length: this.shape.slivers }, (_, i) => i).filter(
      i => !this.has(i),
    );
    if (absent.length > 0) await this.use(async handle => this.#punch(handle, absent));
  }

  /** Up to `length` bytes from `offset`; fewer only if the file was cut short. */
  read(offset: number, length: number): Promise<Buffer> {
    return this.use(async handle => {
      const out = Buffer.allocUnsafeSlow(length);
      const { bytesRead } = await handle.read(out, 0, length, offset);
      return out.subarray(0, bytesRead);
    });
  }

  /** Writes the map if it changed (or `always`). */
  save(always = false): Promise<void> {
    if (!this.#unsaved && !always) return this.#saving;
    this.#unsaved = false;
    this.#saving = this.#saving
      .catch(() => {})
      .then(async () => {
        const draft = `${this.#mapPath}.new`;
        await writeFile(draft, encodeSliverMap(this.#map()), { mode: 0o600 });
        await rename(draft, this.#mapPath);
      });
    return this.#saving;
  }

  /** Removes file and map. */
  async remove(): Promise<void> {
    await this.close();
    await this.#saving.catch(() => {});
    await rm(this.#mapPath, { force: true });
    await rm(this.path, { force: true });
  }

  /** True while a read is under way. */
  get busy(): boolean {
    return this.#users > 0;
  }
  get isOpen(): boolean {
    return this.#handle !== undefined;
  }

  /** Closes the descriptor as soon as nobody uses it; the next use opens another. */
  async close(): Promise<void> {
    this.#retire();
    if (this.#users === 0) await this.#closeRetired();
  }

  /** Runs with the file open. */
  async use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    this.#users++;
    try {
      return await work(await this.#open());
    } finally {
      if (--this.#users === 0) await this.#closeRetired();
    }
  }

  /** One descriptor for all; an attempt that failed is not the next one's. */
  #open(): Promise<FileHandle> {
    if (this.#handle !== undefined) return this.#handle;
    const opening = open(this.path, 'r+');
    this.#handle = opening;
    opening.catch(() => {
      if (this.#handle === opening) this.#handle = undefined;
    });
    return opening;
  }

  async #make(): Promise<void> {
    await this.save(true);
    await writeFile(this.path, '', { mode: 0o600 });
    await truncate(this.path, this.shape.size);
  }

  #retire(): void {
    if (this.#handle !== undefined) this.#retired.push(this.#handle);
    this.#handle = undefined;
  }

  async #closeRetired(): Promise<void> {
    for (const opening of this.#retired.splice(0)) {
      const handle = await opening.catch(() => undefined);
      await handle?.close();
    }
  }

  #punch(handle: FileHandle, slivers: readonly number[]): void {
    const { primaryBytes } = this.shape;
    for (const i of slivers) native.punchHole(handle.fd, i * primaryBytes, this.sliverBytes(i));
  }

  #map(): SliverMap {
    const { size, nShards, slivers } = this.shape;
    return { size, nShards, slivers, bits: this.#bits };
  }
}

/** Path of the map beside a pack's cache file. */
export const mapPathOf = (path: string): string => path.replace(/\.pack$/, '.map');
