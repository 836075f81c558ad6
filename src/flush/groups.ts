/**
 * Groups of the index file: which ones changed since the last checkpoint, and the manifest that
 * names them all. What the last checkpoint said is kept in `groups.json`; without it every group
 * is stored again, which is only a matter of price.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../base/files.ts';
import type { BlobId } from '../base/ids.ts';
import { INDEX_GROUP_BYTES } from '../base/limits.ts';
import type { VolumeKeys } from '../format/keys.ts';
import {
  decodeLeaf,
  decodeRoot,
  encodeLeaf,
  encodeRoot,
  LEAF_GROUPS,
  type ManifestRoot,
  type PackRef,
  type SealedRef,
} from '../format/manifest.ts';
import { SlotKind } from '../format/pack.ts';
import { native } from '../native.ts';
import type { CheckpointDraft } from './draft.ts';
import type { PackWriter, Plain } from './pack-writer.ts';
import { paidUntil, savePaid } from './paid.ts';

/** The groups of a checkpoint with every pack named. */
export interface KnownGroups {
  readonly groups: readonly SealedRef[];
  readonly leaves: readonly SealedRef[];
  /** Epoch in which the paid time of the first of them ends. */
  readonly endEpoch: number;
}

interface GroupsFile {
  blobId: BlobId;
  size: number;
  nShards: number;
  root: string;
  leaves: readonly string[];
  endEpoch?: number;
}

const FILE = 'groups.json';
const NONE: KnownGroups = { groups: [], leaves: [], endEpoch: Number.MAX_SAFE_INTEGER };

/** Keeps what a certified checkpoint said, and until when it is paid. */
export const saveGroups = (
  journal: string,
  checkpoint: CheckpointDraft,
  blob: { blobId: BlobId; size: number; nShards: number; endEpoch: number },
): void => {
  const { root, leaves, groupsEndEpoch = 0, files = [] } = checkpoint;
  const endEpoch = Math.min(blob.endEpoch, groupsEndEpoch);
  savePaid(journal, { checkpoint: endEpoch, files: paidUntil(files, blob.endEpoch) });
  const file: GroupsFile = { ...blob, root, leaves, endEpoch };
  replaceFile(join(journal, FILE), JSON.stringify(file));
};

/** What the last checkpoint said; nothing if the file is missing or damaged, or if any group is paid for until before the epoch `until`. */
export const loadGroups = (journal: string, until: number): KnownGroups => {
  const path = join(journal, FILE);
  if (!existsSync(path)) return NONE;
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as GroupsFile;
    const { endEpoch = 0 } = file;
    if (endEpoch < until) return NONE;
    const named = (ref: SealedRef): SealedRef => {
      if (ref.pack.blobId !== undefined) return ref;
      const { blobId, size, nShards } = file;
      const pack: PackRef = { ...ref.pack, blobId, size, nShards };
      return { ...ref, pack };
    };
    return {
      groups: file.leaves.flatMap(leaf => decodeLeaf(Buffer.from(leaf, 'base64')).map(named)),
      leaves: decodeRoot(Buffer.from(file.root, 'base64')).leaves.map(named),
      endEpoch,
    };
  } catch {
    return NONE;
  }
};

/** The groups of one checkpoint in the making. */
export class GroupsDraft {
  readonly #path: string;
  readonly #known: KnownGroups;
  readonly #hashes: Buffer;
  readonly #bytes: number;
  readonly #refs: (SealedRef | undefined)[];

  private constructor(path: string, known: KnownGroups, hashes: Buffer) {
    this.#path = path;
    this.#known = known;
    this.#hashes = hashes;
    this.#bytes = statSync(path).size;
    this.#refs = Array.from({ length: hashes.length / 32 }, (_, i) => {
      const old = known.groups[i];
      return old?.identity.equals(this.#hash(i)) ? old : undefined;
    });
  }

  /** Hashes the groups of a closed index file and compares them with those known. */
  static async of(path: string, keys: VolumeKeys, known: KnownGroups): Promise<GroupsDraft> {
    const hashes = await native.hashGroups(keys.checks, path, INDEX_GROUP_BYTES);
    return new GroupsDraft(path, known, hashes);
  }

  #hash(i: number): Buffer {
    return this.#hashes.subarray(i * 32, i * 32 + 32);
  }

  #plainBytes(i: number): number {
    return Math.min(INDEX_GROUP_BYTES, this.#bytes - i * INDEX_GROUP_BYTES);
  }

  #missing(): number[] {
    return [...this.#refs.keys()].filter(i => this.#refs[i] === undefined);
  }

  /** Most bytes that the missing groups and the manifest take in a pack. */
  bytesLeft(): number {
    const perGroup = INDEX_GROUP_BYTES + 16 + 61;
    const leaves = Math.ceil(this.#refs.length / LEAF_GROUPS);
    return this.#missing().length * perGroup + this.#refs.length * 64 + leaves * 4096 + 8192;
  }

  /** Seals missing groups, as many as fit into `bytesMax`; returns them by number. */
  async seal(writer: PackWriter, bytesMax: number): Promise<Map<number, SealedRef>> {
    const fitting = this.#missing().slice(0, Math.floor(bytesMax / (INDEX_GROUP_BYTES + 77)));
    const fd = openSync(this.#path, 'r');
    try {
      const list = fitting.map((i): Plain => {
        const plainBytes = this.#plainBytes(i);
        const pieces = [{ fd, offset: i * INDEX_GROUP_BYTES, length: plainBytes }];
        return { identity: Buffer.from(this.#hash(i)), plainBytes, pieces };
      });
      const entries = await writer.add(SlotKind.indexGroup, list, () => {});
      return new Map(entries.map((entry, n) => [fitting[n]!, refOf(entry, writer.self)]));
    } finally {
      closeSync(fd);
    }
  }

  /** Names sealed groups once it is known how to refer to their pack. */
  place(sealed: ReadonlyMap<number, SealedRef>, pack: PackRef): void {
    for (const [i, ref] of sealed) this.#refs[i] = { ...ref, pack };
  }

  /** Seals the manifest; every group must have its place. */
  async sealManifest(
    writer: PackWriter,
    head: Omit<ManifestRoot, 'leaves' | 'groupBytes' | 'indexBytes'>,
  ): Promise<{ root: string; leaves: string[]; groupsEndEpoch: number }> {
    const refs = this.#refs as SealedRef[];
    const leafRefs: SealedRef[] = [];
    const leaves: string[] = [];
    for (let at = 0; at < refs.length; at += LEAF_GROUPS) {
      const groups = refs.slice(at, at + LEAF_GROUPS);
      const bytes = encodeLeaf(groups);
      const old = this.#known.groups.slice(at, at + LEAF_GROUPS);
      const same = old.length === groups.length && groups.every((ref, i) => ref === old[i]);
      const known = same ? this.#known.leaves[at / LEAF_GROUPS] : undefined;
      leafRefs.push(known ?? (await writer.addBytes(SlotKind.manifestLeaf, bytes)));
      leaves.push(bytes.toString('base64'));
    }
    const sizes = { groupBytes: INDEX_GROUP_BYTES, indexBytes: this.#bytes };
    const root = encodeRoot({ ...head, ...sizes, leaves: leafRefs });
    await writer.addBytes(SlotKind.manifestRoot, root);
    return { root: root.toString('base64'), leaves, groupsEndEpoch: this.#known.endEpoch };
  }
}

const refOf = (entry: SealedRef | Omit<SealedRef, 'pack'>, pack: PackRef): SealedRef => {
  const { slot, offset, sealedBytes, plainBytes, compression, identity } = entry;
  return { slot, offset, sealedBytes, plainBytes, compression, identity, pack };
};
