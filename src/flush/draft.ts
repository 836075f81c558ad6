/**
 * What a sealed pack will mean once it is certified: its entry in the index and, if it carries a
 * checkpoint, the head and the groups it makes. Kept as one file beside the journal, so that a
 * daemon started later can finish the pack without the snapshot it was made from.
 */
import type { BlobId, PackNo, Seq, SuiId } from '../base/ids.ts';
import { blobIdToBytes } from '../base/ids.ts';
import type { FlushedRange, FramePlace, PackCommit } from '../meta/types.ts';
import type { FilesPaid } from './paid.ts';

/** The checkpoint that a pack carries. */
export interface CheckpointDraft {
  readonly sequence: number;
  readonly timeMs: number;
  readonly seq: Seq;
  /** Blob object of the head before. */
  readonly previous: SuiId | undefined;
  /** Opened bytes of the manifest, base64. */
  readonly root: string;
  readonly leaves: readonly string[];
  /** Epoch in which the time of the first of its index groups ends, beside this pack's own; older drafts do not say. */
  readonly groupsEndEpoch?: number;
  /** Its files by the end of their paid time; older drafts do not say. */
  readonly files?: readonly FilesPaid[];
}

/** A pack before it has a blob ID. */
export interface PackDraft {
  readonly pack: PackNo;
  readonly packId: Buffer;
  readonly salt: Buffer;
  readonly frames: readonly FramePlace[];
  readonly ranges: readonly FlushedRange[];
  readonly checkpoint: CheckpointDraft | undefined;
  /** Staged bytes that this pack makes certified, for progress. */
  readonly bytes: number;
}

/** A certified pack's place on the network. */
export interface StoredPack {
  readonly blobId: BlobId;
  readonly objectId: SuiId;
  readonly size: number;
  readonly nShards: number;
  readonly endEpoch: number;
}

type Flat<T> = { [K in keyof T]: T[K] extends Buffer ? string : T[K] };
type FlatDraft = Omit<Flat<PackDraft>, 'frames'> & { frames: Flat<FramePlace>[] };

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** Text of a draft. */
export const writeDraft = (draft: PackDraft): string => {
  const flat: FlatDraft = {
    ...draft,
    packId: draft.packId.toString('hex'),
    salt: draft.salt.toString('hex'),
    frames: draft.frames.map(frame => ({ ...frame, identity: frame.identity.toString('hex') })),
  };
  return JSON.stringify(flat);
};

/** A draft from its text. */
export const readDraft = (text: string): PackDraft => {
  const flat = JSON.parse(text) as FlatDraft;
  const frames = flat.frames.map(frame => ({ ...frame, identity: hex(frame.identity) }));
  return {
    ...flat,
    packId: hex(flat.packId),
    salt: hex(flat.salt),
    frames,
    checkpoint: flat.checkpoint,
  };
};

/** The draft as a change of the index. */
export const commitOf = (draft: PackDraft, stored: StoredPack): PackCommit => ({
  pack: {
    pack: draft.pack,
    packId: draft.packId,
    salt: draft.salt,
    size: stored.size,
    nShards: stored.nShards,
    blobId: blobIdToBytes(stored.blobId),
    objectId: stored.objectId,
    endEpoch: stored.endEpoch,
  },
  frames: draft.frames,
  ranges: draft.ranges,
});
