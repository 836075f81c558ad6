/**
 * The one pipeline from staged bytes to a certified checkpoint. One flush runs at a time; before
 * a new one, everything that an earlier one left in the journal is finished (if it was paid, or
 * may have been) or dropped (if not).
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { raceSignal } from '../base/abort.ts';
import { isTransient, messageOf, TuskError } from '../base/errors.ts';
import { PACK_BYTES_MAX, PACK_BYTES_MIN } from '../base/limits.ts';
import type { MatrixShape } from '../format/shape.ts';
import type { Committee } from '../walrus/network.ts';
import { type CheckpointJob, storeCheckpoint } from './checkpoint.ts';
import { choose } from './choose.ts';
import type { StoredPack } from './draft.ts';
import { planFrames } from './frames.ts';
import { IndexCopy, openSnapshot } from './index-copy.ts';
import { openJournals, type PackJournal, sweepJournals } from './journal.ts';
import { countPaid, isDue, lastingEnd, loadPaid, savePaid } from './paid.ts';
import { checkAborted, patiently } from './patience.ts';
import { type RenewalContext, renewPacks, resumeRenewal } from './renewal.ts';
import { explainDisk, packBytesThatFit } from './room.ts';
import { dropSpareSlivers } from './sliver-files.ts';
import { Sources } from './sources.ts';
import { loadHead, SpentLedger, saveHead } from './state.ts';
import { endTail } from './tail.ts';
import type {
  CheckpointResult,
  FlushParts,
  FlushProgress,
  FlushSnapshot,
  FlushState,
} from './types.ts';
import { removeUpload, type Tail, Upload } from './upload.ts';

/** After the first pack, one in this many is checked against the official encoder. */
const SELF_CHECK_EVERY = 100;
/** Uploads whose tail may still run while the next pack is sealed: bounds the scratch space. */
const TAILS_MAX = 4;

/** Options of a run. */
export interface RunOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: FlushProgress) => void;
  /** The epoch, if the caller knows it and wants to be renewed by then what runs out. */
  readonly epoch?: number | undefined;
}

/** Flushes one volume. */
export class Flusher {
  readonly #parts: FlushParts;
  #ledger: SpentLedger | undefined;
  readonly #lifetime = new AbortController();
  readonly #tails = new Map<string, Promise<void>>();
  readonly #progress: FlushProgress = {
    state: 'idle',
    bytesDone: 0,
    bytesTotal: 0,
    files: 0,
    packs: 0,
    packsPending: 0,
    pending: '',
  };
  /** Staged bytes that nodes have, by pack of this flush. */
  readonly #done = new Map<string, number>();
  #onProgress: (progress: FlushProgress) => void = () => {};
  #turn: Promise<unknown> = Promise.resolve();
  #checkedOne = false;
  #conflict: TuskError | undefined;
  #notRenewed = '';
  readonly #onWait = (pending: string) => this.#tell({ pending });

  constructor(parts: FlushParts) {
    this.#parts = parts;
  }

  /** Read when first needed: a damaged file fails the flush that meets it. */
  get #spent(): SpentLedger {
    this.#ledger ??= new SpentLedger(this.#parts.directories.journal);
    return this.#ledger;
  }

  /** Everything paid so far. */
  get spent() {
    return this.#spent.spent;
  }

  /** How far the flush is. */
  get progress(): FlushProgress {
    return {
      ...this.#progress,
      packsPending: openJournals(this.#parts.directories.journal).length,
    };
  }

  /** Finishes what was left, then makes a checkpoint of everything answered before the call. */
  run(options: RunOptions): Promise<CheckpointResult> {
    return this.#queue(options, async signal => {
      await this.#resume(signal);
      return this.#checkpoint(signal, options.epoch);
    });
  }

  /** Finishes what an earlier daemon left behind. */
  resume(options: RunOptions): Promise<void> {
    return this.#queue(options, signal => this.#resume(signal));
  }

  /** Resolves when no upload's tail is running any more. */
  async settled(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  /** Stops flush and tails where they are; the journal takes them up again. */
  async close(): Promise<void> {
    this.#lifetime.abort(new TuskError('aborted', 'the flush is closing'));
    await Promise.allSettled([this.#turn, ...this.#tails.values()]);
  }

  #queue<T>(options: RunOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = AbortSignal.any([options.signal, this.#lifetime.signal]);
    const turn = this.#turn.then(async () => {
      this.#onProgress = options.onProgress ?? (() => {});
      if (this.#conflict !== undefined) throw this.#conflict;
      try {
        return await work(signal);
      } catch (error) {
        if (error instanceof TuskError && error.code === 'conflicting_head') this.#conflict = error;
        throw explainDisk(error, this.#parts.directories.scratch);
      } finally {
        this.#tell({ state: 'idle', pending: '' });
        dropSpareSlivers(this.#parts.directories.scratch);
      }
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #tell(change: Partial<FlushProgress>): void {
    Object.assign(this.#progress, change);
    this.#onProgress(this.progress);
  }

  readonly #onState = (state: FlushState): void => this.#tell({ state });

  /** In the order of the packs; what was certainly not paid is dropped and chosen again. */
  async #resume(signal: AbortSignal): Promise<void> {
    const { outbox, journal } = this.#parts.directories;
    await resumeRenewal(this.#renewal(signal));
    sweepJournals(journal);
    const left = openJournals(journal).filter(({ packId }) => !this.#tails.has(packId));
    for (const pack of left) {
      const { registerTx, objectId, lapsedHead } = pack.state;
      const isPaid = registerTx !== undefined || objectId !== undefined;
      if (!isPaid && lapsedHead === undefined) removeUpload(this.#parts, pack);
      else if (pack.state.committed) {
        const tail = await this.#upload(pack, signal).restoreTail();
        this.#startTail(pack, tail);
      } else await this.#finish(pack, signal);
    }
    const known = new Set(openJournals(journal).map(({ packId }) => `${packId}.pack`));
    for (const name of readdirSync(outbox))
      if (!known.has(name)) rmSync(join(outbox, name), { force: true });
  }

  #upload(journal: PackJournal, signal: AbortSignal): Upload {
    const selfCheck = !this.#checkedOne || this.#parts.random.below(SELF_CHECK_EVERY) === 0;
    return new Upload(
      {
        parts: this.#parts,
        spent: this.#spent,
        signal,
        lifetime: this.#lifetime.signal,
        onState: this.#onState,
        onWait: this.#onWait,
        onStored: (part, bytes) => {
          this.#done.set(journal.packId, Math.floor(part * bytes));
          const done = [...this.#done.values()].reduce((sum, each) => sum + each, 0);
          this.#tell({ bytesDone: Math.min(done, this.#progress.bytesTotal) });
        },
        selfCheck,
      },
      journal,
    );
  }

  async #room(shape: MatrixShape, nShards: number, signal: AbortSignal): Promise<number> {
    const { scratch } = this.#parts.directories;
    for (;;) {
      let bytes = packBytesThatFit(scratch, shape, nShards);
      if (bytes < PACK_BYTES_MAX) {
        dropSpareSlivers(scratch);
        bytes = packBytesThatFit(scratch, shape, nShards);
      }
      if (bytes > PACK_BYTES_MIN || this.#tails.size === 0) return bytes;
      await raceSignal(Promise.race(this.#tails.values()), signal);
    }
  }

  async #finish(
    journal: PackJournal,
    signal: AbortSignal,
    onEncoded: () => void = () => {},
  ): Promise<StoredPack> {
    while (this.#tails.size >= TAILS_MAX)
      await raceSignal(Promise.race(this.#tails.values()), signal);
    const { stored, tail } = await this.#upload(journal, signal).finish(onEncoded);
    this.#checkedOne = true;
    this.#tell({ packs: this.#progress.packs + 1 });
    this.#startTail(journal, tail);
    return stored;
  }

  #startTail(journal: PackJournal, tail: Tail): void {
    const { logger } = this.#parts;
    const { packId } = journal;
    const ended = endTail(this.#parts, journal, tail, this.#lifetime.signal)
      .catch((error: unknown) => logger.warn({ packId, error: messageOf(error) }, 'tail stopped'))
      .finally(() => {
        this.#tails.delete(packId);
        if (this.#progress.state === 'idle') dropSpareSlivers(this.#parts.directories.scratch);
        this.#onProgress(this.progress);
      });
    this.#tails.set(packId, ended);
  }

  #renewal(signal: AbortSignal): RenewalContext {
    return { parts: this.#parts, spent: this.#spent, signal, onWait: this.#onWait };
  }

  /** Renews what runs out; true if the checkpoint itself does, which is then made anew. */
  async #renew(copy: IndexCopy, epoch: number | undefined, signal: AbortSignal): Promise<boolean> {
    const { directories, limits } = this.#parts;
    const paid = loadPaid(directories.journal);
    this.#notRenewed = '';
    if (epoch === undefined || paid === undefined) return false;
    const lasting = lastingEnd(epoch, limits.epochsAhead);
    const due = isDue(paid, epoch, lasting);
    const span = { epoch, lasting, end: epoch + limits.epochsAhead };
    if (due.files) this.#notRenewed = await renewPacks(this.#renewal(signal), copy, span);
    return due.checkpoint;
  }

  async #checkpoint(signal: AbortSignal, epoch: number | undefined): Promise<CheckpointResult> {
    for (;;) {
      this.#done.clear();
      this.#tell({ state: 'choosing', bytesDone: 0, bytesTotal: 0, files: 0, packs: 0 });
      const snapshot = await this.#parts.front.snapshot();
      try {
        const result = await this.#fromSnapshot(snapshot, epoch, signal);
        if (result !== undefined) return result;
      } finally {
        await snapshot.release();
      }
      await patiently(this.#parts, signal, this.#onWait, () => this.#committee(signal));
    }
  }

  /** Renews and stores what a snapshot says; undefined if it has to be taken anew. */
  async #fromSnapshot(
    snapshot: FlushSnapshot,
    epoch: number | undefined,
    signal: AbortSignal,
  ): Promise<CheckpointResult | undefined> {
    const copy = new IndexCopy(snapshot.directory);
    try {
      const local = openSnapshot(snapshot.directory, 'local.db');
      try {
        const runsOut = await this.#renew(copy, epoch, signal);
        return await this.#store(snapshot, copy, local, runsOut, signal);
      } finally {
        local.close();
      }
    } finally {
      copy.close();
    }
  }

  #committee(signal: AbortSignal): Promise<Committee> {
    return this.#parts.network.committee({ fresh: true, signal });
  }

  /** Undefined if the network is away: until it is back, much of the snapshot may be deleted, and need not be paid. */
  async #store(
    snapshot: FlushSnapshot,
    copy: IndexCopy,
    local: Database.Database,
    runsOut: boolean,
    signal: AbortSignal,
  ): Promise<CheckpointResult | undefined> {
    const parts = this.#parts;
    const { journal } = parts.directories;
    const head = loadHead(journal);
    const { regions, files, stagedBytes } = choose(copy.db, local);
    if (
      !runsOut &&
      regions.length === 0 &&
      copy.isUnchanged(join(journal, 'checkpoint.db'), head, snapshot.seq)
    ) {
      if (head !== undefined && head.seq !== snapshot.seq)
        saveHead(journal, { ...head, seq: snapshot.seq });
      // On a machine that restored the volume nobody has counted yet.
      if (head !== undefined && loadPaid(journal) === undefined)
        savePaid(journal, { checkpoint: null, files: countPaid(copy.db) });
      return { ...unchanged(head), notRenewed: this.#notRenewed };
    }
    this.#tell({ state: 'cutting', bytesTotal: stagedBytes, files });
    const committee = await this.#committee(signal).catch(error => {
      checkAborted(signal);
      if (!isTransient(error)) throw error;
    });
    if (committee === undefined) return;
    const { nShards, epoch } = committee;
    const sources = new Sources(parts.front, signal);
    const before = this.spent;
    const writers: CheckpointJob['writers'] = new Set();
    try {
      const until = lastingEnd(epoch, parts.limits.epochsAhead);
      const plan = await planFrames(copy.db, local, parts.keys, regions, sources, until);
      checkAborted(signal);
      const job: CheckpointJob = {
        parts,
        snapshot,
        copy,
        plan,
        nShards,
        until,
        head,
        writers,
        onState: this.#onState,
        onSealed: () => checkAborted(signal),
        room: shape => this.#room(shape, nShards, signal),
        upload: (pack, onEncoded) => this.#finish(pack, signal, onEncoded),
      };
      await storeCheckpoint(job);
      const { bytesStored, bytesShared } = plan;
      const { wal, sui } = this.spent;
      const { packs } = this.#progress;
      const cost = { wal: wal - before.wal, sui: sui - before.sui };
      const result = { stored: true, head: loadHead(journal), packs, notRenewed: this.#notRenewed };
      return { ...result, bytesStored, bytesShared, ...cost };
    } finally {
      for (const writer of writers) writer.discard();
      sources.close();
    }
  }
}

const unchanged = (head: CheckpointResult['head']) => ({
  stored: false,
  head,
  packs: 0,
  bytesStored: 0,
  bytesShared: 0,
  wal: 0n,
  sui: 0n,
});
