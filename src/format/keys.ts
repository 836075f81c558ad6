/**
 * Keys of a volume. One random volume key is the root; everything else follows from it by
 * HKDF-SHA256, each key for one purpose, so that no key ever seals two kinds of things. The
 * labels are part of the format (FORMAT.md, section Keys).
 */
import { hkdfSync } from 'node:crypto';
import { TuskError } from '../base/errors.ts';

/** Bytes of every key, salt and identity. */
export const KEY_BYTES = 32;
/** Bytes of a volume id and of a pack id. */
export const ID_BYTES = 16;

/** The sub-keys of a volume, 32 bytes each. */
export interface VolumeKeys {
  readonly volumeId: Buffer;
  /** Root of the keys that seal data frames and directories. */
  readonly packs: Buffer;
  /** Root of the keys that seal index groups and manifests. */
  readonly index: Buffer;
  /** Makes the gear table. */
  readonly cutting: Buffer;
  /** Keys the identities of data frames. */
  readonly identity: Buffer;
  /** Keys the identities of index groups and manifest leaves. */
  readonly checks: Buffer;
}

/** HKDF-SHA256 to 32 bytes; `info` is ASCII. */
export const derive = (key: Uint8Array, salt: Uint8Array, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, info, KEY_BYTES));

/** All sub-keys of a volume (key of 32 bytes, id of 16). */
export const volumeKeys = (volumeId: Buffer, volumeKey: Buffer): VolumeKeys => {
  if (volumeKey.length !== KEY_BYTES || volumeId.length !== ID_BYTES)
    throw new TuskError('internal', 'a volume has a key of 32 bytes and an id of 16');
  const sub = (purpose: string) => derive(volumeKey, volumeId, `tuskfs 1 ${purpose}`);
  return {
    volumeId,
    packs: sub('packs'),
    index: sub('index'),
    cutting: sub('cutting'),
    identity: sub('identity'),
    checks: sub('checks'),
  };
};

/** Key that seals the data frames and the directory of the pack with this salt. */
export const packKey = (keys: VolumeKeys, salt: Uint8Array): Buffer =>
  derive(keys.packs, salt, 'tuskfs 1 pack');

/** Key that seals the index groups and the manifest in the pack with this salt. */
export const indexKey = (keys: VolumeKeys, salt: Uint8Array): Buffer =>
  derive(keys.index, salt, 'tuskfs 1 index frames');

/**
 * Associated data of everything sealed in a pack, before slot and compression: which volume and
 * which pack it belongs to.
 */
export const aadPrefix = (volumeId: Uint8Array, packId: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from('tuskfs 1 frame', 'latin1'), volumeId, packId]);
