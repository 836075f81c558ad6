/**
 * A network that keeps its promises in a directory: transactions by digest, Blob objects, the
 * head's attribute, blobs rebuilt from their slivers. It survives the death of the process that
 * uses it, so that crash tests can count what was paid. The real network is tested in `net`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { TuskError } from '../../src/base/errors.ts';
import { type BlobId, blobIdFromBytes } from '../../src/base/ids.ts';
import { native } from '../../src/native.ts';
import type {
  BlobObject,
  CertifyRequest,
  Committee,
  EncodedFile,
  ExtendRequest,
  Network,
  RegisterRequest,
  SignedTx,
  StoreRun,
  TxResult,
} from '../../src/walrus/network.ts';

type Request =
  | {
      kind: 'register';
      blobId: BlobId;
      size: number;
      epoch: number;
      epochsAhead: number;
      attributes: Record<string, string>;
    }
  | { kind: 'certify'; objectId: string; head: CertifyRequest['head'] }
  | { kind: 'extend'; objectIds: string[]; endEpoch: number };

interface Entry {
  digest: string;
  request: Request;
  result: Omit<TxResult, 'walSpent' | 'suiSpent'>;
}

/** Shards of the network: packs of up to 149 MB. */
export const SHARDS = 100;

export class MemoryNetwork implements Network {
  readonly address = `0x${'1'.repeat(64)}`;
  readonly directory: string;
  /** While set, everything that needs the network fails with this. */
  down: TuskError | undefined;
  /** Errors that the next transactions end with on chain. */
  readonly failures: { code: 'price_changed' | 'tx_failed'; error: string }[] = [];
  /** Transactions expire instead of being executed. */
  expiries = 0;
  /** The running epoch. */
  epoch = 1;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(join(directory, 'blobs'), { recursive: true });
  }

  #check(): void {
    if (this.down !== undefined) throw this.down;
  }

  /** All executed transactions. */
  entries(): Entry[] {
    const path = join(this.directory, 'ledger.jsonl');
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as Entry);
  }

  /** Blob objects by id, as the executed transactions made them. */
  objects(): Map<string, BlobObject & { attributes: Record<string, string> }> {
    const objects = new Map<string, BlobObject & { attributes: Record<string, string> }>();
    for (const { request, result } of this.entries()) {
      if (!result.ok) continue;
      if (request.kind === 'register')
        objects.set(result.blobObjectId!, {
          objectId: result.blobObjectId!,
          blobId: request.blobId,
          size: request.size,
          registeredEpoch: request.epoch,
          certifiedEpoch: undefined,
          endEpoch: request.epoch + request.epochsAhead,
          deletable: true,
          storageBytes: request.size * 5,
          attributes: { ...request.attributes },
        });
      else if (request.kind === 'extend')
        for (const id of request.objectIds)
          objects.set(id, { ...objects.get(id)!, endEpoch: request.endEpoch });
      else {
        const { head, objectId } = request;
        const object = objects.get(objectId)!;
        objects.set(objectId, { ...object, certifiedEpoch: 1 });
        if (head === undefined) continue;
        if (head.previous !== undefined) delete objects.get(head.previous)!.attributes[head.key];
        object.attributes[head.key] = head.value;
      }
    }
    return objects;
  }

  /** The certified object that carries the head attribute. */
  head(): BlobObject | undefined {
    return [...this.objects().values()].find(object => 'tuskfs-head' in object.attributes);
  }

  blob(blobId: BlobId): Buffer {
    return readFileSync(join(this.directory, 'blobs', blobId));
  }

  async committee(): Promise<Committee> {
    this.#check();
    return { epoch: this.epoch, nShards: SHARDS, nodes: [], nodeOfShard: [] };
  }
  async prices() {
    const { epoch } = this;
    return { storagePerUnitEpoch: 1n, writePerUnit: 1n, epoch, epochMs: 1000, epochStartMs: 0 };
  }
  async quote(size: number) {
    return { encodedBytes: size * 5, storage: 1n, write: 1n };
  }
  async balance() {
    return { wal: 1n, sui: 1n };
  }

  async #sign(request: Request): Promise<SignedTx> {
    this.#check();
    const nonce = randomBytes(8).toString('hex');
    const bytes = Buffer.from(JSON.stringify({ nonce, request })).toString('base64');
    const digest = createHash('sha256').update(bytes).digest('hex');
    return { digest, bytes, signature: 'signature', expiresAfterEpoch: 9 };
  }
  signRegister(request: RegisterRequest): Promise<SignedTx> {
    const { blobId, size, epochsAhead, attributes } = request;
    const { epoch } = this;
    return this.#sign({ kind: 'register', blobId, size, epoch, epochsAhead, attributes });
  }
  signCertify(request: CertifyRequest): Promise<SignedTx> {
    return this.#sign({ kind: 'certify', objectId: request.blobObjectId, head: request.head });
  }
  signDelete(): Promise<SignedTx> {
    throw new Error('a flush deletes nothing');
  }
  async signExtend({ blobObjectIds, endEpoch }: ExtendRequest): Promise<SignedTx | undefined> {
    const objects = this.objects();
    const objectIds = blobObjectIds.filter(id => {
      const end = objects.get(id)?.endEpoch ?? 0;
      return end > this.epoch && end < endEpoch;
    });
    if (objectIds.length === 0) return undefined;
    return this.#sign({ kind: 'extend', objectIds, endEpoch });
  }

  async submit(tx: SignedTx): Promise<TxResult> {
    this.#check();
    const cost = { walSpent: 10n, suiSpent: 3n };
    const known = this.entries().find(({ digest }) => digest === tx.digest);
    if (known !== undefined) return { ...known.result, ...cost };
    if (this.expiries > 0) {
      this.expiries--;
      throw new TuskError('tx_expired', 'expired');
    }
    const { request } = JSON.parse(Buffer.from(tx.bytes, 'base64').toString()) as {
      request: Request;
    };
    const result = this.#execute(tx.digest, request);
    const entry: Entry = { digest: tx.digest, request, result };
    appendFileSync(join(this.directory, 'ledger.jsonl'), `${JSON.stringify(entry)}\n`);
    return { ...result, ...cost };
  }

  #execute(digest: string, request: Request): Entry['result'] {
    const failure = this.failures.shift();
    if (failure !== undefined) return { digest, ok: false, ...failure };
    if (request.kind === 'register')
      return { digest, ok: true, error: '', blobObjectId: `0x${digest}` };
    if (request.kind === 'extend') return { digest, ok: true, error: '' };
    const { previous, key } = request.head ?? {};
    if (previous !== undefined && this.objects().get(previous)?.attributes[key!] === undefined) {
      const abort = { module: 'blob', fn: 'remove_metadata_pair', code: 1 };
      return { digest, ok: false, error: 'no such key', code: 'conflicting_head', abort };
    }
    return { digest, ok: true, error: '' };
  }

  async blobObjects(objectIds: readonly string[]) {
    this.#check();
    return objectIds.map(id => this.objects().get(id));
  }
  async blobsOf() {
    return [...this.objects().values()];
  }
  async attributes(objectId: string) {
    return this.objects().get(objectId)?.attributes ?? {};
  }

  store(file: EncodedFile, object: { objectId: string }): StoreRun {
    const stored = this.#keep(file, object.objectId);
    return {
      certificate: stored.then(() => ({
        epoch: 1,
        message: Buffer.alloc(0),
        signature: Buffer.alloc(0),
        signersBitmap: Buffer.alloc(0),
        shards: file.nShards,
      })),
      tail: () =>
        stored.then(
          () => ({ shards: file.nShards, missing: [] }),
          () => ({ shards: 0, missing: ['all'] }),
        ),
    };
  }

  /** Rebuilds the blob from its systematic slivers and compares it with the registration. */
  async #keep(file: EncodedFile, objectId: string): Promise<void> {
    this.#check();
    const { size, nShards, sliversPath, blobId } = file;
    const shape = native.blobShape(size, nShards);
    const handle = await open(sliversPath);
    const blob = Buffer.alloc(shape.nPrimary * shape.primaryBytes);
    for (let i = 0; i < shape.nPrimary; i++)
      await handle.read(
        blob,
        i * shape.primaryBytes,
        shape.primaryBytes,
        i * (shape.primaryBytes + shape.secondaryBytes),
      );
    await handle.close();
    const bytes = blob.subarray(0, size);
    const real = await native.bytesMetadata(bytes, nShards);
    if (blobIdFromBytes(real.blobId) !== blobId || this.objects().get(objectId)?.blobId !== blobId)
      throw new TuskError('node_refused', 'these slivers are not of the registered blob', {
        kind: 'bug',
      });
    writeFileSync(join(this.directory, 'blobs', blobId), bytes);
  }

  readPrimaries(): Promise<void> {
    throw new Error('a flush reads nothing');
  }
  async readBlob(blobId: BlobId) {
    return this.blob(blobId);
  }
  async spotCheck(_blob: unknown, _metadata: Buffer, count: number) {
    this.#check();
    return { held: count, failed: [] };
  }
  health() {
    return [];
  }
  async close(): Promise<void> {}
}
