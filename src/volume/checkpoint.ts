/**
 * Reading a checkpoint back from blobs alone: header and envelope, manifest, groups, index file.
 * Where the bytes come from is the caller's business; everything is opened under the volume's
 * keys and compared with its identity.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import { messageOf, TuskError } from '../base/errors.ts';
import { writeWhole } from '../base/files.ts';
import { type BlobId, blobIdToBytes, type SuiId } from '../base/ids.ts';
import { aadPrefix, indexKey, type VolumeKeys } from '../format/keys.ts';
import {
  decodeLeaf,
  decodeRoot,
  type ManifestRoot,
  type PackRef,
  type SealedRef,
} from '../format/manifest.ts';
import {
  decodeHeader,
  envelopeOf,
  PACK_HEAD_BYTES,
  type PackHeader,
  type Place,
} from '../format/pack.ts';
import { INDEX_SCHEMA } from '../meta/schema.ts';
import { native } from '../native.ts';

/** Groups fetched and opened side by side. */
const GROUPS_AT_ONCE = 16;

/** A blob to read from. */
export interface SourceBlob {
  readonly blobId: BlobId;
  readonly size: number;
  readonly nShards: number;
}

/** Reads [offset, offset + length) of a blob. */
export type ReadRange = (blob: SourceBlob, offset: number, length: number) => Promise<Buffer>;

/** A checkpoint's blob as the chain knows it. */
export interface HeadBlob extends SourceBlob {
  readonly objectId: SuiId;
  readonly endEpoch: number;
}

/** Header and envelope of a blob; `not_found` if it is a pack without a checkpoint. */
export const readHead = async (
  blob: SourceBlob,
  readRange: ReadRange,
): Promise<{ header: PackHeader; envelope: Buffer }> => {
  const bytes = await readRange(blob, 0, Math.min(PACK_HEAD_BYTES, blob.size));
  const header = decodeHeader(bytes);
  const envelope = envelopeOf(header, bytes);
  if (envelope === undefined)
    throw new TuskError('not_found', `blob ${blob.blobId} carries no checkpoint`);
  return { header, envelope };
};

const openPlace = async (
  pack: Pick<PackRef, 'packId' | 'salt'>,
  blob: SourceBlob,
  place: Place & { readonly identity?: Buffer },
  keys: VolumeKeys,
  readRange: ReadRange,
): Promise<Buffer> => {
  const sealed = await readRange(blob, place.offset, place.sealedBytes);
  const prefix = aadPrefix(keys.volumeId, pack.packId);
  const key = indexKey(keys, pack.salt);
  const { slot, compression, plainBytes } = place;
  const check = place.identity === undefined ? [] : ([keys.checks, place.identity] as const);
  try {
    return await native.openFrame(key, prefix, slot, compression, plainBytes, sealed, ...check);
  } catch (cause) {
    throw new TuskError(
      'unverified',
      `slot ${slot} of blob ${blob.blobId} is not what this volume sealed: ${messageOf(cause)}`,
      { cause, details: { blobId: blob.blobId, slot } },
    );
  }
};

/** The opened manifest of a head; `damaged` if it belongs to another volume. */
export const readManifest = async (
  blob: SourceBlob,
  header: PackHeader,
  keys: VolumeKeys,
  readRange: ReadRange,
): Promise<ManifestRoot> => {
  const root = decodeRoot(await openPlace(header, blob, header.root!, keys, readRange));
  if (!root.volumeId.equals(keys.volumeId))
    throw new TuskError('damaged', `the manifest in blob ${blob.blobId} is of another volume`);
  if (root.indexSchema > INDEX_SCHEMA.version)
    throw new TuskError(
      'newer_format',
      `the index in blob ${blob.blobId} has version ${root.indexSchema}; this tuskfs reads up to ${INDEX_SCHEMA.version}. Nothing was changed; use a newer tuskfs`,
    );
  return root;
};

/** Writes the index file of a checkpoint to `path` (must not exist), ready to be opened as `index.db`. */
export const restoreIndex = async (
  head: HeadBlob,
  keys: VolumeKeys,
  readRange: ReadRange,
  path: string,
): Promise<ManifestRoot> => {
  const { header } = await readHead(head, readRange);
  const root = await readManifest(head, header, keys, readRange);
  const open = (ref: SealedRef, carrier: SourceBlob) =>
    openPlace(ref.pack, blobOf(ref, carrier), ref, keys, readRange);
  const fd = openSync(path, 'wx', 0o600);
  try {
    let at = 0;
    for (const leaf of root.leaves) {
      const groups = decodeLeaf(await open(leaf, head));
      const carrier = blobOf(leaf, head);
      for (let i = 0; i < groups.length; i += GROUPS_AT_ONCE) {
        const batch = groups.slice(i, i + GROUPS_AT_ONCE);
        for (const bytes of await Promise.all(batch.map(ref => open(ref, carrier)))) {
          writeWhole(fd, bytes, at);
          at += bytes.length;
        }
      }
    }
    if (at !== root.indexBytes)
      throw new TuskError(
        'damaged',
        `the index in blob ${head.blobId} has ${at} bytes, not ${root.indexBytes}`,
      );
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  nameHead(path, header, head);
  return root;
};

const blobOf = ({ pack }: SealedRef, carrier: SourceBlob): SourceBlob =>
  pack.blobId === undefined
    ? carrier
    : { blobId: pack.blobId, size: pack.size, nShards: pack.nShards };

/** The index cannot name the blob that carries it: fills that row in, and drops rows of packs that held only index groups. */
const nameHead = (path: string, header: PackHeader, head: HeadBlob): void => {
  const db = new Database(path);
  try {
    db.prepare(
      `UPDATE pack SET blob_id = ?, object_id = ?, size = ?, n_shards = ?, end_epoch = ?
       WHERE pack_id = ? AND blob_id IS NULL`,
    ).run(
      blobIdToBytes(head.blobId),
      head.objectId,
      head.size,
      head.nShards,
      head.endEpoch,
      header.packId,
    );
    db.prepare('DELETE FROM pack WHERE blob_id IS NULL').run();
  } finally {
    db.close();
  }
};
