/**
 * What one storage node keeps on disk. Layout, so that a test can damage it:
 *
 *     <node>/blobs/<blob ID>/metadata                 BCS BlobMetadata, as it was PUT
 *     <node>/blobs/<blob ID>/<pair>.primary           BCS SliverData, as it was PUT
 *     <node>/blobs/<blob ID>/<pair>.secondary
 *     <node>/trash/                                   on its way out; emptied at start
 *
 * Invariant: a file under its final name was whole and synced before it got that name. Which names
 * there are is read once, at the start. Nothing is checked again when it is read: a node whose files
 * were altered answers with the altered bytes. What is quick is done at once: to hand a call
 * to another thread takes longer than to write a sliver or to rename a file.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  mkdirSync,
  open as openFile,
  openSync,
  read as readFile,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCode } from '../../base/errors.ts';
import type { BlobId, SliverType } from '../../base/ids.ts';

const create = promisify(openFile);
const datasync = promisify(fdatasync);
const read = promisify(readFile);

/** Result of a read that may find nothing. */
const orUndefined = (error: unknown): undefined => {
  if (systemCode(error) === 'ENOENT') return undefined;
  throw error;
};

/** Does something with the file at `path`; undefined if there is none. */
const opened = async <T>(path: string, use: (fd: number) => T): Promise<Awaited<T> | undefined> => {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    return orUndefined(error);
  }
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
};

const readWhole = async (fd: number): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafe(fstatSync(fd).size);
  const { bytesRead } = await read(fd, bytes, 0, bytes.length, 0);
  return bytes.subarray(0, bytesRead);
};

/** Files of one node. */
export class NodeStore {
  /** Whether slivers are kept; a misbehaving node only says so. */
  keepsSlivers = true;
  readonly #blobs: string;
  readonly #trash: string;
  /** Names of what is kept of each blob. */
  readonly #kept = new Map<BlobId, Set<string>>();
  #drafts = 0;

  constructor(directory: string) {
    this.#blobs = join(directory, 'blobs');
    this.#trash = join(directory, 'trash');
    mkdirSync(this.#blobs, { recursive: true });
    mkdirSync(this.#trash, { recursive: true });
  }

  /** Removes what an earlier run did not get to (trash, files that never got their name) and reads what is kept. */
  async open(): Promise<void> {
    for (const name of await readdir(this.#trash)) {
      await rm(join(this.#trash, name), { recursive: true, force: true });
    }
    for (const blobId of await readdir(this.#blobs)) {
      const names = await readdir(join(this.#blobs, blobId));
      const drafts = names.filter(name => name.endsWith('.new'));
      for (const name of drafts) await rm(this.#path(blobId, name), { force: true });
      this.#kept.set(blobId, new Set(names.filter(name => !drafts.includes(name))));
    }
  }

  /** IDs of all blobs of which something is kept. */
  blobIds(): BlobId[] {
    return [...this.#kept.keys()];
  }

  /** BlobMetadata, or undefined. */
  metadata(blobId: BlobId): Promise<Buffer | undefined> {
    return opened(this.#path(blobId, 'metadata'), readWhole);
  }

  /** Is the metadata kept? */
  hasMetadata(blobId: BlobId): boolean {
    return this.#kept.get(blobId)?.has('metadata') ?? false;
  }

  /** Keeps the metadata; it is durable when this returns. */
  putMetadata(blobId: BlobId, bytes: Uint8Array): Promise<void> {
    return this.#put(blobId, 'metadata', bytes);
  }

  /** BCS SliverData, or undefined. */
  sliver(blobId: BlobId, pair: number, type: SliverType): Promise<Buffer | undefined> {
    return opened(this.#path(blobId, `${pair}.${type}`), readWhole);
  }

  /** Is the sliver kept? */
  hasSliver(blobId: BlobId, pair: number, type: SliverType): boolean {
    return this.#kept.get(blobId)?.has(`${pair}.${type}`) ?? false;
  }

  /** Keeps a sliver: its bytes are durable when this returns, its name after `syncBlob`. */
  async putSliver(
    blobId: BlobId,
    pair: number,
    type: SliverType,
    bytes: Uint8Array,
  ): Promise<void> {
    if (this.keepsSlivers) await this.#put(blobId, `${pair}.${type}`, bytes);
  }

  /** Parts [at, at + length) of a sliver file for each `at`; undefined without the file. */
  async sliverParts(
    blobId: BlobId,
    pair: number,
    type: SliverType,
    ats: readonly number[],
    length: number,
  ): Promise<Buffer[] | undefined> {
    return opened(this.#path(blobId, `${pair}.${type}`), fd => {
      const all = Buffer.allocUnsafe(ats.length * length);
      return ats.map((at, i) => {
        const bytes = readSync(fd, all, i * length, length, at);
        return all.subarray(i * length, i * length + bytes);
      });
    });
  }

  /** Makes the names of what is kept of a blob durable; are metadata and both slivers of these pairs kept? */
  async syncBlob(blobId: BlobId, pairs: readonly number[]): Promise<boolean> {
    const kept = this.#kept.get(blobId);
    if (kept?.has('metadata') !== true) return false;
    const isWhole = (pair: number) => kept.has(`${pair}.primary`) && kept.has(`${pair}.secondary`);
    if (this.keepsSlivers && !pairs.every(isWhole)) return false;
    const directory = await open(join(this.#blobs, blobId)).catch(orUndefined);
    if (directory === undefined) return false;
    try {
      await directory.sync();
      return true;
    } finally {
      await directory.close();
    }
  }

  /** Removes all slivers of a blob but those of these pairs. */
  async keepPairs(blobId: BlobId, pairs: ReadonlySet<number>): Promise<void> {
    const kept = this.#kept.get(blobId) ?? new Set<string>();
    for (const name of [...kept]) {
      if (name === 'metadata' || pairs.has(Number.parseInt(name, 10))) continue;
      kept.delete(name);
      await rm(this.#path(blobId, name), { force: true });
    }
  }

  /** Makes a blob unavailable at once and its space free soon. */
  forget(blobId: BlobId): Promise<void> {
    this.#kept.delete(blobId);
    const grave = join(this.#trash, `${process.hrtime.bigint()}-${blobId}`);
    try {
      renameSync(join(this.#blobs, blobId), grave);
    } catch (error) {
      return Promise.resolve(orUndefined(error));
    }
    return rm(grave, { recursive: true, force: true });
  }

  #path(blobId: BlobId, name: string): string {
    return join(this.#blobs, blobId, name);
  }

  async #put(blobId: BlobId, name: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(blobId, name);
    const kept = this.#kept.get(blobId) ?? new Set();
    if (kept.size === 0) mkdirSync(join(this.#blobs, blobId), { recursive: true });
    const draft = `${path}.${++this.#drafts}.new`;
    const fd = await create(draft, 'w', 0o600);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      await datasync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, path);
    this.#kept.set(blobId, (this.#kept.get(blobId) ?? new Set()).add(name));
  }
}
