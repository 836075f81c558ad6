/**
 * What one storage node keeps on disk. Layout, so that a test can damage it:
 *
 *     <node>/blobs/<blob ID>/metadata    BCS BlobMetadata, as it was PUT
 *     <node>/blobs/<blob ID>/slivers     its slivers (see sliver-file.ts)
 *     <node>/trash/                      on its way out; emptied at start
 *
 * Invariant: metadata under its final name was whole and synced before it got that name; slivers are
 * synced before `syncBlob` answers. What is kept is read once, at the start. Nothing is checked again
 * when it is read: a node whose files were altered answers with the altered bytes.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCode } from '../../base/errors.ts';
import type { BlobId, SliverType } from '../../base/ids.ts';
import { readAt, reading, SliverFile, sliverName } from './sliver-file.ts';

const OLD_SLIVER = /^\d+\.(primary|secondary)$/;

const datasync = promisify(fdatasync);

/** Result of a read that may find nothing. */
const orUndefined = (error: unknown): undefined => {
  if (systemCode(error) === 'ENOENT') return undefined;
  throw error;
};

/** What is kept of a blob. */
interface Kept {
  hasMetadata: boolean;
  readonly slivers: SliverFile;
}

/** Files of one node. */
export class NodeStore {
  /** Whether slivers are kept; a misbehaving node only says so. */
  keepsSlivers = true;
  readonly #blobs: string;
  readonly #trash: string;
  readonly #kept = new Map<BlobId, Kept>();
  #drafts = 0;

  constructor(directory: string) {
    this.#blobs = join(directory, 'blobs');
    this.#trash = join(directory, 'trash');
    mkdirSync(this.#blobs, { recursive: true });
    mkdirSync(this.#trash, { recursive: true });
  }

  /** Removes what an earlier run did not get to (trash, metadata that never got its name) and reads what is kept. */
  async open(): Promise<void> {
    for (const name of await readdir(this.#trash)) {
      await rm(join(this.#trash, name), { recursive: true, force: true });
    }
    for (const blobId of await readdir(this.#blobs)) {
      const names = await readdir(join(this.#blobs, blobId));
      const drafts = names.filter(name => name.endsWith('.new'));
      for (const name of drafts) await rm(this.#path(blobId, name), { force: true });
      const kept = this.#keep(blobId);
      kept.hasMetadata = names.includes('metadata');
      if (names.includes('slivers')) kept.slivers.open();
      await this.#takeOver(blobId, names, kept.slivers);
    }
  }

  /** Holds no file any more; the next sliver opens its own again. */
  close(): void {
    for (const { slivers } of this.#kept.values()) slivers.close();
  }

  /** IDs of all blobs of which something is kept. */
  blobIds(): BlobId[] {
    return [...this.#kept.keys()];
  }

  /** BlobMetadata, or undefined. */
  metadata(blobId: BlobId): Promise<Buffer | undefined> {
    return reading(this.#path(blobId, 'metadata'), fd => readAt(fd, 0, fstatSync(fd).size));
  }

  /** Is the metadata kept? */
  hasMetadata(blobId: BlobId): boolean {
    return this.#kept.get(blobId)?.hasMetadata ?? false;
  }

  /** Keeps the metadata; it is durable when this returns. */
  async putMetadata(blobId: BlobId, bytes: Uint8Array): Promise<void> {
    if (!this.#kept.has(blobId)) mkdirSync(join(this.#blobs, blobId), { recursive: true });
    const path = this.#path(blobId, 'metadata');
    const draft = `${path}.${++this.#drafts}.new`;
    const fd = openSync(draft, 'w', 0o600);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      await datasync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, path);
    this.#keep(blobId).hasMetadata = true;
  }

  /** BCS SliverData, or undefined. */
  async sliver(blobId: BlobId, pair: number, type: SliverType): Promise<Buffer | undefined> {
    return this.#kept.get(blobId)?.slivers.sliver(sliverName(pair, type));
  }

  /** Is the sliver kept? */
  hasSliver(blobId: BlobId, pair: number, type: SliverType): boolean {
    return this.#kept.get(blobId)?.slivers.places.has(sliverName(pair, type)) ?? false;
  }

  /** Keeps a sliver of a blob whose metadata is kept; it is durable after `syncBlob`. */
  putSliver(blobId: BlobId, pair: number, type: SliverType, bytes: Uint8Array): void {
    if (this.keepsSlivers) this.#kept.get(blobId)?.slivers.append(pair, type, bytes);
  }

  /** Parts [at, at + length) of a sliver for each `at`; undefined without the sliver. */
  async sliverParts(
    blobId: BlobId,
    pair: number,
    type: SliverType,
    ats: readonly number[],
    length: number,
  ): Promise<Buffer[] | undefined> {
    return this.#kept.get(blobId)?.slivers.parts(sliverName(pair, type), ats, length);
  }

  /** Makes what is kept of a blob durable; are metadata and both slivers of these pairs kept? */
  async syncBlob(blobId: BlobId, pairs: readonly number[]): Promise<boolean> {
    const kept = this.#kept.get(blobId);
    if (kept?.hasMetadata !== true) return false;
    const { places } = kept.slivers;
    const has = (pair: number, type: SliverType) => places.has(sliverName(pair, type));
    const isWhole = (pair: number) => has(pair, 'primary') && has(pair, 'secondary');
    if (this.keepsSlivers && !pairs.every(isWhole)) return false;
    await kept.slivers.sync();
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
  keepPairs(blobId: BlobId, pairs: ReadonlySet<number>): void {
    const slivers = this.#kept.get(blobId)?.slivers;
    for (const name of [...(slivers?.places.keys() ?? [])]) {
      if (!pairs.has(Number.parseInt(name, 10))) slivers!.drop(name);
    }
  }

  /** Makes a blob unavailable at once and its space free soon. */
  forget(blobId: BlobId): Promise<void> {
    this.#kept.get(blobId)?.slivers.close();
    this.#kept.delete(blobId);
    const grave = join(this.#trash, `${process.hrtime.bigint()}-${blobId}`);
    try {
      renameSync(join(this.#blobs, blobId), grave);
    } catch (error) {
      return Promise.resolve(orUndefined(error));
    }
    return rm(grave, { recursive: true, force: true });
  }

  /** Earlier versions kept each sliver in a file of its own. */
  async #takeOver(blobId: BlobId, names: readonly string[], slivers: SliverFile): Promise<void> {
    const old = names.filter(name => OLD_SLIVER.test(name));
    if (old.length === 0) return;
    for (const name of old) {
      const [pair, type] = name.split('.') as [string, SliverType];
      slivers.append(Number(pair), type, await readFile(this.#path(blobId, name)));
    }
    await this.syncBlob(blobId, []);
    for (const name of old) await rm(this.#path(blobId, name));
  }

  #path(blobId: BlobId, name: string): string {
    return join(this.#blobs, blobId, name);
  }

  #keep(blobId: BlobId): Kept {
    const kept = this.#kept.get(blobId) ?? {
      hasMetadata: false,
      slivers: new SliverFile(this.#path(blobId, 'slivers')),
    };
    this.#kept.set(blobId, kept);
    return kept;
  }
}
