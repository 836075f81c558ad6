/**
 * A sealed pack on its way into the network and the index: encode, register, store, certify,
 * commit. Every step first looks at what the journal proves, so the same function serves a new
 * pack and one that a daemon left behind. Signed transactions are journalled before they are sent
 * and sent again as they are; another is built only when the first is final and failed, or expired.
 */
import { existsSync, linkSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { raceSignal } from '../base/abort.ts';
import { systemCode, TuskError } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { syncDirectory } from '../base/files.ts';
import { blobIdFromBytes, type SuiId } from '../base/ids.ts';
import { native } from '../native.ts';
import type { Certificate, EncodedFile, SignedTx, StoreRun, TxResult } from '../walrus/network.ts';
import { commitOf, type PackDraft, readDraft, type StoredPack } from './draft.ts';
import { saveGroups } from './groups.ts';
import { type JournalEntry, type PackJournal, reading } from './journal.ts';
import { isExpiry, patiently, pause } from './patience.ts';
import { checkEncoding } from './self-check.ts';
import { leaveSliverFile, takeSliverFile } from './sliver-files.ts';
import { type SpentLedger, saveHead } from './state.ts';
import type { FlushParts, FlushState } from './types.ts';

/** Attribute of the newest checkpoint's Blob object; its value is the sequence. */
export const HEAD_ATTRIBUTE = 'tuskfs-head';
/** Attribute of every checkpoint's Blob object: the volume id in hex. */
export const VOLUME_ATTRIBUTE = 'tuskfs-volume';

/** Transactions that may fail on chain before the flush gives up for now. */
const TX_ATTEMPTS = 8;
const TX_WAIT_MS = 1000;

/** What one upload needs beside the flush's parts. */
export interface UploadContext {
  readonly parts: FlushParts;
  readonly spent: SpentLedger;
  /** Ends waiting. */
  readonly signal: AbortSignal;
  /** Ends uploads that go on behind their certificate. */
  readonly lifetime: AbortSignal;
  readonly onState: (state: FlushState) => void;
  readonly onWait: (reason: string) => void;
  /** Part of the pack that nodes have (0 to 1), and the staged bytes in it. */
  readonly onStored: (part: number, bytes: number) => void;
  /** Is this pack to be checked against the official encoder? */
  readonly selfCheck: boolean;
}

/** What is left to be waited for after a pack is committed. */
export interface Tail {
  readonly encoded: EncodedFile | undefined;
  readonly run: StoreRun | undefined;
}

/** One pack's way from sealed to committed. */
export class Upload {
  readonly #context: UploadContext;
  readonly #journal: PackJournal;
  readonly #draft: PackDraft;
  readonly #packPath: string;
  #encoded: EncodedFile | undefined;
  #run: StoreRun | undefined;

  constructor(context: UploadContext, journal: PackJournal) {
    this.#context = context;
    this.#journal = journal;
    const draft = journal.path('draft');
    this.#draft = reading(draft, journal.advice, () => readDraft(readFileSync(draft, 'utf8')));
    this.#packPath = join(context.parts.directories.outbox, `${journal.packId}.pack`);
  }

  /** Does everything that the journal does not prove yet; `onEncoded` when the slivers are on disk. */
  async finish(onEncoded: () => void): Promise<{ stored: StoredPack; tail: Tail }> {
    const { state } = this.#journal;
    if (!state.committed) {
      do await this.#bring(onEncoded);
      while (!state.certified || (await this.#hasLapsed()));
      await this.#commit();
    }
    return { stored: this.#stored(), tail: { encoded: this.#encoded, run: this.#run } };
  }

  /** Into the network, as far as the journal does not prove it; certified in the end, or lapsed meanwhile. */
  async #bring(onEncoded: () => void): Promise<void> {
    if (this.#journal.state.certified) return;
    if (this.#encoded === undefined) {
      await this.#encode();
      onEncoded();
    }
    await this.#register();
    await this.#certify();
  }

  /** Has the paid time ended while the index does not name the pack yet? Then it is to be registered anew. */
  async #hasLapsed(): Promise<boolean> {
    const { parts, signal, onWait } = this.#context;
    const { blobId, objectId, endEpoch, certified } = this.#journal.state;
    const { epoch } = await this.#patiently(() => parts.network.committee({ fresh: true, signal }));
    if (epoch < endEpoch) return false;
    this.#add({ state: 'lapsed', isHead: certified && this.#draft.checkpoint !== undefined });
    parts.logger.warn({ blobId, objectId, endEpoch, epoch }, 'the paid time ended: paid again');
    onWait(
      `what was paid for blob ${blobId} ended with epoch ${endEpoch - 1}, before its pack was entered: it is registered and paid again`,
    );
    return true;
  }

  /** Starts the upload again for its tail; nothing to store if the cache has eaten of the file. */
  async restoreTail(): Promise<Tail> {
    if (!existsSync(this.#packPath)) return { encoded: undefined, run: undefined };
    try {
      await this.#encode();
    } catch (error) {
      if (error instanceof TuskError && error.code === 'damaged')
        return { encoded: undefined, run: undefined };
      throw error;
    }
    this.#store();
    return { encoded: this.#encoded, run: this.#run };
  }

  #add(entry: JournalEntry): void {
    this.#journal.add(entry);
    failpoint(`flush.${entry.state}`);
  }

  #patiently<T>(attempt: () => Promise<T>): Promise<T> {
    const { parts, signal, onWait } = this.#context;
    return patiently(parts, signal, onWait, attempt);
  }

  async #encode(): Promise<void> {
    const { parts, onState, selfCheck } = this.#context;
    const { state, packId } = this.#journal;
    onState('encoding');
    const sliversPath = takeSliverFile(parts.directories.scratch, packId);
    const blob = await native.encodeFile(this.#packPath, state.nShards, sliversPath);
    const blobId = blobIdFromBytes(blob.blobId);
    const { rootHash, size, nShards, metadata } = blob;
    const blobPath = this.#packPath;
    this.#encoded = { blobId, rootHash, size, nShards, metadata, sliversPath, blobPath };
    if (state.blobId !== undefined) {
      if (state.blobId === blobId) return;
      throw new TuskError(
        'damaged',
        `${this.#packPath} is not the file that was sealed as blob ${state.blobId}; staged files are still in the log`,
      );
    }
    if (selfCheck) await checkEncoding(this.#packPath, this.#encoded, parts.random);
    this.#journal.keep('metadata', metadata);
    this.#add({ state: 'encoded', blobId, rootHash: rootHash.toString('hex') });
  }

  async #register(): Promise<void> {
    const { network, limits, keys } = this.#context.parts;
    const { state } = this.#journal;
    if (state.objectId !== undefined) return;
    this.#context.onState('registering');
    const attributes: Record<string, string> =
      this.#draft.checkpoint === undefined
        ? {}
        : { [VOLUME_ATTRIBUTE]: keys.volumeId.toString('hex') };
    const result = await this.#transact('register', () =>
      network.signRegister(
        {
          blobId: state.blobId!,
          rootHash: state.rootHash,
          size: state.size,
          epochsAhead: limits.epochsAhead,
          deletable: true,
          attributes,
          walMax: limits.walMaxPerPack,
          blobPath: this.#packPath,
        },
        this.#context.signal,
      ),
    );
    const objectId = result.blobObjectId;
    if (objectId === undefined)
      throw new TuskError('internal', `registration ${result.digest} made no Blob object`);
    const object = await this.#patiently(async () => {
      const [found] = await network.blobObjects([objectId], this.#context.signal);
      if (found === undefined)
        throw new TuskError('network', `Blob object ${objectId} is not to be seen yet`);
      return found;
    });
    this.#add({ state: 'registered', objectId, endEpoch: object.endEpoch });
    this.#context.onWait('');
  }

  #store(): StoreRun {
    const { parts, lifetime, onStored } = this.#context;
    const { objectId, registerTx, stored } = this.#journal.state;
    const object = { objectId: objectId as SuiId, deletable: true };
    this.#run = parts.network.store(this.#encoded!, object, {
      signal: lifetime,
      tailMs: parts.limits.tailMs,
      // The relay is sent the bytes once; whoever stores again looks what the nodes lack.
      registration: stored ? undefined : registerTx,
      onProgress: ({ bytesSent, bytesTotal }) =>
        onStored(bytesSent / Math.max(1, bytesTotal), this.#draft.bytes),
    });
    // Whoever needs the certificate awaits it; a tail alone must not fail the process.
    this.#run.certificate.catch(() => {});
    return this.#run;
  }

  /** A certificate of a quorum; uploads again what is missing until there is one, or the paid time is over. */
  async #certificate(): Promise<Certificate> {
    this.#context.onState('storing');
    const certificate = await this.#patiently(async () => {
      if (await this.#hasLapsed()) throw new TuskError('expired', 'the paid time is over');
      const run = this.#store();
      return await raceSignal(run.certificate, this.#context.signal);
    });
    this.#add({ state: 'stored', shards: certificate.shards });
    return certificate;
  }

  async #certify(): Promise<void> {
    const { network } = this.#context.parts;
    const { checkpoint } = this.#draft;
    const sign = async () => {
      const certificate = await this.#certificate();
      this.#context.onState('certifying');
      const { objectId, lapsedHead } = this.#journal.state;
      const request = { blobObjectId: objectId as SuiId, certificate };
      if (checkpoint === undefined) return network.signCertify(request, this.#context.signal);
      const { sequence } = checkpoint;
      const previous = lapsedHead ?? checkpoint.previous;
      const head = { key: HEAD_ATTRIBUTE, value: String(sequence), previous };
      return network.signCertify({ ...request, head }, this.#context.signal);
    };
    try {
      await this.#transact('certify', sign);
    } catch (error) {
      if (error instanceof TuskError && error.code === 'expired') return;
      throw error;
    }
    this.#add({ state: 'certified' });
    // It never rejects; whoever ends the pack waits for it.
    void this.#run?.tail();
  }

  /** Signs (unless the journal holds signed bytes), journals, sends until final; again if it failed on chain. */
  async #transact(kind: 'register' | 'certify', sign: () => Promise<SignedTx>): Promise<TxResult> {
    const { parts, spent, signal } = this.#context;
    const { state, packId } = this.#journal;
    for (let attempt = 1; ; attempt++) {
      let tx = kind === 'register' ? state.registerTx : state.certifyTx;
      if (tx === undefined) {
        tx = await this.#patiently(sign);
        this.#add({ state: `${kind}_signed`, tx });
      }
      const failed = await this.#send(tx).then(
        result => {
          const encoded = kind === 'register' && result.ok;
          spent.add(result, encoded ? native.blobShape(state.size, state.nShards).encodedBytes : 0);
          failpoint(`flush.${kind}_sent`);
          return result;
        },
        (error: unknown) => {
          if (!isExpiry(error)) throw error;
          return undefined;
        },
      );
      if (failed?.ok) return failed;
      const why = failed?.error ?? 'it expired';
      this.#add({ state: `${kind}_failed`, error: why });
      if (failed !== undefined) refuseHopeless(failed, packId);
      if (attempt === TX_ATTEMPTS)
        throw new TuskError(
          'tx_failed',
          `the transaction to ${kind} pack ${packId} failed ${attempt} times, last: ${why}. Staged files are safe; the next flush tries again`,
        );
      await pause(parts.clock, TX_WAIT_MS * attempt, signal);
      await this.#patiently(() => parts.network.committee({ fresh: true, signal }));
    }
  }

  #send(tx: SignedTx): Promise<TxResult> {
    return this.#patiently(() => this.#context.parts.network.submit(tx, this.#context.signal));
  }

  #stored(): StoredPack {
    const { blobId, objectId, size, nShards, endEpoch } = this.#journal.state;
    return { blobId: blobId!, objectId: objectId!, size, nShards, endEpoch };
  }

  /** The pack becomes its own cache, the index learns of it, and a checkpoint becomes the head. */
  async #commit(): Promise<void> {
    const { parts, onState } = this.#context;
    const { cache, journal } = parts.directories;
    onState('committing');
    const stored = this.#stored();
    linkOnce(this.#packPath, join(cache, `${this.#journal.packId}.pack`));
    failpoint('flush.linked');
    const { superseded } = await parts.front.commitPack(commitOf(this.#draft, stored));
    failpoint('flush.entered');
    const { checkpoint } = this.#draft;
    if (checkpoint !== undefined) {
      saveGroups(journal, checkpoint, stored);
      const copy = this.#journal.path('index.db');
      if (existsSync(copy)) renameSync(copy, join(journal, 'checkpoint.db'));
      const { sequence, timeMs, seq } = checkpoint;
      const { blobId, objectId, size, nShards } = stored;
      saveHead(journal, { sequence, blobId, objectId, size, nShards, timeMs, seq });
    }
    this.#add({ state: 'committed' });
    parts.logger.info({ pack: this.#journal.packId, ...stored, superseded }, 'pack committed');
  }
}

/** Failures that another transaction would not mend. */
const refuseHopeless = (result: TxResult, packId: string): void => {
  if (result.code === 'unfunded')
    throw new TuskError('unfunded', `pack ${packId} cannot be paid: ${result.error}`);
  if (result.code !== 'conflicting_head' && result.abort?.fn !== 'remove_metadata_pair') return;
  throw new TuskError(
    'conflicting_head',
    `another machine has moved this volume's head: pack ${packId} was stored but does not become the checkpoint. Nothing on either side is lost; flushing has stopped here. Use the volume on one machine at a time`,
  );
};

const linkOnce = (from: string, to: string): void => {
  try {
    linkSync(from, to);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
  syncDirectory(join(to, '..'));
};

/** Gives up the files of an upload whose tail is over. */
export const removeUpload = (parts: FlushParts, journal: PackJournal): void => {
  leaveSliverFile(parts.directories.scratch, journal.packId);
  rmSync(join(parts.directories.outbox, `${journal.packId}.pack`), { force: true });
  journal.remove();
};
