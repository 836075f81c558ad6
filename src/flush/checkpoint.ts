/**
 * One flush of one snapshot: data frames into packs, as many as are needed, and the checkpoint
 * into the last one. A pack is sealed while those before it are on their way. All before the last
 * are certified before the index copy is sealed, so that it can name them; the last is named by
 * "the very blob".
 */
import { linkSync, rmSync } from 'node:fs';
import { TuskError } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { PACK_BYTES_MIN } from '../base/limits.ts';
import { SlotKind } from '../format/pack.ts';
import { blobBytesMax, type MatrixShape } from '../format/shape.ts';
import type { FlushedRange, FramePlace } from '../meta/types.ts';
import { native } from '../native.ts';
import type { CheckpointDraft, PackDraft, StoredPack } from './draft.ts';
import { writeDraft } from './draft.ts';
import type { FramePlan } from './frames.ts';
import { GroupsDraft, loadGroups } from './groups.ts';
import { PacksInFlight } from './in-flight.ts';
import type { IndexCopy } from './index-copy.ts';
import { PackJournal } from './journal.ts';
import { PackWriter } from './pack-writer.ts';
import { countPaid } from './paid.ts';
import type { FlushParts, FlushSnapshot, FlushState, Head } from './types.ts';

/** Room kept for the directory and the manifest's frame in a pack that is full of data. */
const RESERVE_BYTES = 8 * 1024 * 1024;
/** Most data frames in a pack. */
const FRAMES_MAX = 250_000;
/** The least that a committee must be able to carry in one blob. */
const BLOB_BYTES_MIN = 2 * RESERVE_BYTES;

/** What a flush of a snapshot works with. */
export interface CheckpointJob {
  readonly parts: FlushParts;
  readonly snapshot: FlushSnapshot;
  readonly copy: IndexCopy;
  readonly plan: FramePlan;
  readonly nShards: number;
  /** What is stored already is used again only if it is paid for until this epoch. */
  readonly until: number;
  readonly head: Head | undefined;
  /** Pack files still open; whoever ends the job discards them. */
  readonly writers: Set<PackWriter>;
  readonly onState: (state: FlushState) => void;
  readonly onSealed: (bytes: number) => void;
  /** Largest pack that the disk has room for now; waits for uploads whose end gives more, if it is little. */
  readonly room: (shape: MatrixShape) => Promise<number>;
  /** Brings a sealed pack into network and index; `onEncoded` when its slivers are on disk. */
  readonly upload: (journal: PackJournal, onEncoded?: () => void) => Promise<StoredPack>;
}

/** Stores the plan and the checkpoint; the last pack makes it the head. */
export const storeCheckpoint = async (job: CheckpointJob): Promise<void> => {
  const flight = new PacksInFlight();
  try {
    await storePacks(job, flight);
  } finally {
    await flight.settled();
  }
};

const storePacks = async (job: CheckpointJob, flight: PacksInFlight): Promise<void> => {
  const { parts, copy, plan } = job;
  const { nPrimary, nSecondary } = native.blobShape(1, job.nShards);
  const shape = { nPrimary, nSecondary };
  const largest = Math.min(parts.limits.packBytesMax, blobBytesMax(shape) - RESERVE_BYTES / 8);
  if (blobBytesMax(shape) < BLOB_BYTES_MIN)
    throw new TuskError(
      'unsupported',
      `blobs of this network carry at most ${blobBytesMax(shape)} bytes (${job.nShards} shards), too little for packs. Staged files are safe; use a network with more shards`,
    );
  let shared: readonly FlushedRange[] = plan.shared;
  for (let at = 0; ; ) {
    const start = at;
    const most = Math.min(largest, await roomFor(job, shape, flight));
    const dataMost = Math.max(most - RESERVE_BYTES, RESERVE_BYTES);
    let bytes = 0;
    while (at < plan.frames.length && at - start < FRAMES_MAX) {
      const next = plan.frames[at]!.frame.plainBytes + 77;
      if (at > start && bytes + next > dataMost) break;
      bytes += next;
      at++;
    }
    const pack = await PackInMaking.start(job, shape, plan.frames.slice(start, at), shared);
    shared = [];
    if (at === plan.frames.length) {
      await flight.arrived();
      return finishWithCheckpoint(job, shape, pack, most);
    }
    const journal = await pack.finish(undefined);
    const encoded = Promise.withResolvers<void>();
    await flight.add(async () => {
      try {
        copy.name(pack.pack, await job.upload(journal, encoded.resolve));
      } finally {
        encoded.resolve();
      }
    });
    // One encoding at a time; and only what is on disk shows in the room that is left.
    await encoded.promise;
  }
};

/** As `job.room`; where it is little, packs on their way come first. */
const roomFor = async (
  job: CheckpointJob,
  shape: MatrixShape,
  flight: PacksInFlight,
): Promise<number> => {
  const most = await job.room(shape);
  if (most > PACK_BYTES_MIN || flight.isEmpty) return most;
  await flight.arrived();
  return job.room(shape);
};

/** The last pack: what changed of the index, the manifest, the envelope. */
const finishWithCheckpoint = async (
  job: CheckpointJob,
  shape: MatrixShape,
  first: PackInMaking,
  most: number,
): Promise<void> => {
  const { parts, copy } = job;
  const schema = copy.schema();
  let pack = first;
  let files = countPaid(copy.db);
  let groups = await groupsOf(job);
  if (pack.hasFrames && pack.bytes + groups.bytesLeft() > most + RESERVE_BYTES) {
    // The index does not fit behind the data: the data goes first, then the copy can name it.
    const stored = await job.upload(await pack.finish(undefined));
    copy.open();
    copy.name(pack.pack, stored);
    pack = await PackInMaking.start(job, shape, [], []);
    files = countPaid(copy.db);
    groups = await groupsOf(job);
  }
  while (groups.bytesLeft() > most + RESERVE_BYTES) {
    const sealed = await groups.seal(pack.writer, most);
    const { packId, salt } = pack.writer;
    const stored = await job.upload(await pack.finish(undefined));
    const { blobId, size, nShards } = stored;
    groups.place(sealed, { blobId, packId, salt, size, nShards });
    pack = PackInMaking.bare(job, shape, pack.pack + 1);
  }
  groups.place(await groups.seal(pack.writer, Number.MAX_SAFE_INTEGER), pack.writer.self);
  const sequence = (job.head?.sequence ?? 0) + 1;
  const timeMs = parts.clock.nowMs();
  const manifest = await groups.sealManifest(pack.writer, {
    volumeId: parts.keys.volumeId,
    sequence,
    previous: job.head?.blobId,
    timeMs,
    indexSchema: schema,
  });
  const { seq } = job.snapshot;
  const previous = job.head?.objectId;
  await job.upload(await pack.finish({ sequence, timeMs, seq, previous, ...manifest, files }));
};

const groupsOf = (job: CheckpointJob): Promise<GroupsDraft> => {
  const { parts, copy } = job;
  copy.close();
  return GroupsDraft.of(copy.path, parts.keys, loadGroups(parts.directories.journal, job.until));
};

/** A pack between its first sealed frame and its upload. */
class PackInMaking {
  readonly pack: number;
  readonly writer: PackWriter;
  readonly #job: CheckpointJob;
  readonly #shape: MatrixShape;
  readonly #journal: PackJournal;
  #frames: FramePlace[] = [];
  #ranges: FlushedRange[] = [];

  private constructor(job: CheckpointJob, shape: MatrixShape, pack: number) {
    const { directories, keys, random } = job.parts;
    this.#job = job;
    this.#shape = shape;
    this.pack = pack;
    this.writer = new PackWriter(directories.outbox, keys, random);
    job.writers.add(this.writer);
    this.#journal = new PackJournal(directories.journal, this.writer.packId.toString('hex'));
    this.#journal.add({ state: 'chosen' });
    failpoint('flush.chosen');
  }

  /** A pack that the index copy does not name (it holds parts of that copy). */
  static bare(job: CheckpointJob, shape: MatrixShape, pack: number): PackInMaking {
    return new PackInMaking(job, shape, pack);
  }

  /** A pack with data frames, entered in the index copy. */
  static async start(
    job: CheckpointJob,
    shape: MatrixShape,
    planned: FramePlan['frames'],
    shared: readonly FlushedRange[],
  ): Promise<PackInMaking> {
    const made = new PackInMaking(job, shape, job.copy.nextPack());
    job.onState('sealing');
    const list = planned.map(({ frame }) => frame);
    const entries = await made.writer.add(SlotKind.data, list, job.onSealed);
    made.#frames = entries.map((entry, i) => {
      const { slot, offset, sealedBytes, plainBytes, compression, identity } = entry;
      const place = { slot, offset, sealedBytes, plainBytes, compression, identity };
      return { ...place, frame: list[i]!.id, pack: made.pack };
    });
    made.#ranges = [...shared, ...planned.flatMap(({ ranges }) => ranges)];
    job.copy.enter(made.#draft(undefined));
    return made;
  }

  get hasFrames(): boolean {
    return this.#frames.length > 0;
  }

  get bytes(): number {
    return this.writer.bytes;
  }

  #draft(checkpoint: CheckpointDraft | undefined): PackDraft {
    const { packId, salt } = this.writer;
    const bytes = this.#ranges.reduce((sum, range) => sum + range.length, 0);
    const [frames, ranges] = [this.#frames, this.#ranges];
    return { pack: this.pack, packId, salt, frames, ranges, checkpoint, bytes };
  }

  /** Seals the directory and journals the pack as sealed. */
  async finish(checkpoint: CheckpointDraft | undefined): Promise<PackJournal> {
    const { parts, copy, nShards, writers } = this.#job;
    this.#journal.keep('draft', writeDraft(this.#draft(checkpoint)));
    if (checkpoint !== undefined) {
      const kept = this.#journal.path('index.db');
      rmSync(kept, { force: true });
      linkSync(copy.path, kept);
    }
    const size = await this.writer.finish(this.#shape, parts.envelope);
    writers.delete(this.writer);
    this.#journal.add({ state: 'sealed', size, nShards });
    failpoint('flush.sealed');
    return this.#journal;
  }
}
