/**
 * Writes one pack file: sealed once under a salt of its own, fsynced, never written again. The
 * room for the envelope is always left, because whether the pack carries a checkpoint shows only
 * when its frames are in.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncDirectory, writeWhole } from '../base/files.ts';
import type { Random } from '../base/random.ts';
import {
  aadPrefix,
  ID_BYTES,
  indexKey,
  KEY_BYTES,
  packKey,
  type VolumeKeys,
} from '../format/keys.ts';
import type { PackRef, SealedRef } from '../format/manifest.ts';
import {
  type Compression,
  type DirectoryEntry,
  encodeDirectory,
  encodeHeader,
  PACK_HEAD_BYTES,
  type Place,
  SEAL_BYTES,
  SlotKind,
} from '../format/pack.ts';
import { type MatrixShape, paddedBytes } from '../format/shape.ts';
import { native, type Piece } from '../native.ts';

/** Bytes of an entry in the directory. */
const ENTRY_BYTES = 61;
/** Plain bytes handed to native code at a time: how fine progress and aborting are. */
const STEP_BYTES = 64 * 1024 * 1024;

/** Something to be sealed. */
export interface Plain {
  readonly identity: Buffer;
  readonly plainBytes: number;
  readonly pieces: Piece[];
}

/** A pack being sealed. */
export class PackWriter {
  readonly packId: Buffer;
  readonly salt: Buffer;
  readonly path: string;
  readonly #keys: VolumeKeys;
  readonly #aad: Buffer;
  readonly #fd: number;
  readonly #entries: DirectoryEntry[] = [];
  #offset = PACK_HEAD_BYTES;
  #root: Place | undefined;

  /** Draws pack id and salt and creates the file. */
  constructor(outbox: string, keys: VolumeKeys, random: Random) {
    this.#keys = keys;
    this.packId = random.bytes(ID_BYTES);
    this.salt = random.bytes(KEY_BYTES);
    this.#aad = aadPrefix(keys.volumeId, this.packId);
    this.path = join(outbox, `${this.packId.toString('hex')}.pack`);
    this.#fd = openSync(this.path, 'wx', 0o600);
  }

  /** How the manifest in this pack refers to this pack. */
  get self(): PackRef {
    return { blobId: undefined, packId: this.packId, salt: this.salt, size: 0, nShards: 0 };
  }

  /** Content bytes if nothing but the directory came after. */
  get bytes(): number {
    return this.#offset + (this.#entries.length + 2) * ENTRY_BYTES + SEAL_BYTES;
  }

  /** Slots taken. */
  get slots(): number {
    return this.#entries.length;
  }

  /** Seals a list of plain runs one behind the other. */
  async add(
    kind: SlotKind,
    list: readonly Plain[],
    onBytes: (bytes: number) => void,
  ): Promise<DirectoryEntry[]> {
    const first = this.#entries.length;
    const key = this.#key(kind);
    for (let at = 0; at < list.length; ) {
      const start = at;
      let bytes = 0;
      while (at < list.length && bytes < STEP_BYTES) bytes += list[at++]!.plainBytes;
      const step = list.slice(start, at);
      const slot = this.#entries.length;
      const inputs = step.map(({ pieces }, i) => ({ slot: slot + i, pieces }));
      const sealed = await native.sealFrames(this.#fd, this.#offset, key, this.#aad, inputs);
      sealed.forEach((place, i) => {
        this.#enter(kind, step[i]!.identity, { ...place, compression: compressionOf(place) });
      });
      onBytes(bytes);
    }
    return this.#entries.slice(first);
  }

  /** Seals bytes in memory: a leaf or the root of the manifest. */
  async addBytes(kind: SlotKind, plain: Buffer): Promise<SealedRef> {
    const identity = native.keyedHash(this.#keys.checks, plain);
    const place = await this.#seal(this.#key(kind), plain);
    this.#enter(kind, identity, place);
    if (kind === SlotKind.manifestRoot) this.#root = place;
    return { ...place, identity, pack: this.self };
  }

  /** Directory, header, envelope (if there is a root), padding, fsync. Returns the size. */
  async finish(shape: MatrixShape, envelope: Buffer): Promise<number> {
    const { packId, salt } = this;
    const { volumeId } = this.#keys;
    const plain = encodeDirectory({ volumeId, packId, entries: this.#entries });
    const directory = await this.#seal(packKey(this.#keys, salt), plain);
    const contentBytes = directory.offset + directory.sealedBytes;
    const root = this.#root;
    const envelopeBytes = root === undefined ? 0 : envelope.length;
    const header = encodeHeader({ packId, salt, contentBytes, envelopeBytes, directory, root });
    writeWhole(this.#fd, header, 0);
    if (root !== undefined) writeWhole(this.#fd, envelope, header.length);
    const size = paddedBytes(contentBytes, shape);
    ftruncateSync(this.#fd, size);
    fsyncSync(this.#fd);
    syncDirectory(dirname(this.path));
    // Last: whoever gives the pack up after a failure closes it, and its number may be another file's by then.
    closeSync(this.#fd);
    return size;
  }

  /** Gives the pack up before it is finished. */
  discard(): void {
    closeSync(this.#fd);
    rmSync(this.path, { force: true });
  }

  #key(kind: SlotKind): Buffer {
    return kind === SlotKind.data
      ? packKey(this.#keys, this.salt)
      : indexKey(this.#keys, this.salt);
  }

  async #seal(key: Buffer, plain: Buffer): Promise<Place> {
    const slot = this.#entries.length;
    const { sealed, compression } = await native.sealBytes(key, this.#aad, slot, plain);
    writeWhole(this.#fd, sealed, this.#offset);
    return {
      slot,
      offset: this.#offset,
      sealedBytes: sealed.length,
      plainBytes: plain.length,
      compression: compressionOf({ compression }),
    };
  }

  #enter(kind: SlotKind, identity: Buffer, place: Place): void {
    this.#entries.push({ ...place, kind, identity });
    this.#offset = place.offset + place.sealedBytes;
  }
}

const compressionOf = (sealed: { compression: number }): Compression =>
  sealed.compression === 0 ? 0 : 1;
