/**
 * One side of the codec bench, a process of its own so that neither shares memory with the other:
 * `tuskfs` (the addon) or `walrus-wasm` (the official encoder). It makes a blob once, then times
 * what the parent asks for, and checks the outcome after the clock has stopped.
 */
import { openSync, readSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BlobEncoder } from '@mysten/walrus-wasm';
import { type EncodedBlob, type IndexedBytes, native } from '../../src/native.ts';
import { formula, officialEncode, seeded, sliverBcs } from '../codec/official.ts';

/** What can be timed. */
export type Operation = 'metadata' | 'encode' | 'decode-worst' | 'decode-systematic' | 'verify';

/** What the parent asks. */
export interface Question {
  readonly prepare?: { readonly size: number; readonly shards: number };
  readonly operation?: Operation;
}

/** The answer to `prepare`, or to an operation. */
export interface Answer {
  readonly blobId?: string;
  readonly took?: { readonly bytes: number; readonly seconds: number };
}

/** A blob with its slivers; each call does the work once and yields the bytes it was about. */
interface Subject {
  readonly blobId: string;
  readonly operations: Readonly<Partial<Record<Operation, () => Promise<Work>>>>;
}

interface Work {
  readonly bytes: number;
  /** Is the outcome right? */
  right(): boolean;
}

/** Slivers of each kind that `verify` takes. */
const VERIFIED = 20;

const ours = async (data: Buffer, shards: number, directory: string): Promise<Subject> => {
  const [path, out] = [join(directory, 'blob'), join(directory, 'slivers')];
  await writeFile(path, data);
  const { blobId, metadata } = await native.encodeFile(path, shards, out);
  // Each encoding is timed over what the pack before has left, as a flush does.
  const again = join(directory, 'again');
  await native.encodeFile(path, shards, again);
  const size = data.length;
  const shape = native.blobShape(size, shards);
  const pair = shape.primaryBytes + shape.secondaryBytes;
  const fd = openSync(out, 'r');
  const sliver = (index: number, at: number, bytes: number): IndexedBytes => {
    const read = Buffer.alloc(bytes);
    readSync(fd, read, 0, bytes, at);
    return { index, data: read };
  };
  const primary = (index: number) => sliver(index, index * pair, shape.primaryBytes);
  const secondary = (index: number) =>
    sliver(index, (shards - 1 - index) * pair + shape.primaryBytes, shape.secondaryBytes);
  const encoded = ({ blobId: made }: EncodedBlob): Work => ({
    bytes: size,
    right: () => made.equals(blobId),
  });
  const decode = async (slivers: IndexedBytes[]): Promise<Work> => {
    const blob = await native.decode(size, shards, 'primary', slivers);
    return { bytes: size, right: () => blob.equals(data) };
  };
  const first = Array.from({ length: shape.nPrimary }, (_, i) => primary(i));
  const last = Array.from({ length: shape.nPrimary }, (_, i) =>
    primary(shards - shape.nPrimary + i),
  );
  const strangers = Array.from({ length: VERIFIED }, (_, i) => i * Math.floor(shards / VERIFIED));
  const slivers = [
    ...strangers.map(index => ['primary', primary(index)] as const),
    ...strangers.map(index => ['secondary', secondary(index)] as const),
  ];
  return {
    blobId: blobId.toString('hex'),
    operations: {
      metadata: async () => encoded(await native.fileMetadata(path, shards)),
      encode: async () => encoded(await native.encodeFile(path, shards, again)),
      'decode-worst': () => decode(last),
      'decode-systematic': () => decode(first),
      verify: async () => {
        const verdicts = await Promise.all(
          slivers.map(([type, { index, data }]) =>
            native.verifySliver(metadata, shards, type, index, data),
          ),
        );
        const bytes = slivers.reduce((sum, [, { data }]) => sum + data.length, 0);
        return { bytes, right: () => verdicts.every(Boolean) };
      },
    },
  };
};

const theirs = async (data: Buffer, shards: number): Promise<Subject> => {
  const { blobId, primary, secondary, symbolBytes } = officialEncode(data, shards);
  const { rows } = formula(data.length, shards);
  const id = Array.from(blobId);
  const bcs = (index: number) => sliverBcs(primary[index]!, symbolBytes, index);
  const first = Array.from({ length: rows }, (_, i) => bcs(i));
  const last = Array.from({ length: rows }, (_, i) => bcs(shards - rows + i));
  const room = (slivers: readonly Uint8Array[], index: number) =>
    slivers.map(({ length }) => new Uint8Array(sliverBcs(new Uint8Array(length), 2, index).length));
  const places = [room(primary, 0), room(secondary, 0)] as const;
  const named = (made: unknown): Work => ({
    bytes: data.length,
    right: () => Buffer.from(made as number[]).equals(blobId),
  });
  const encoder = new BlobEncoder(shards);
  const decode = async (slivers: Uint8Array[]): Promise<Work> => {
    const blob = new Uint8Array(data.length);
    encoder.decode(id, BigInt(data.length), slivers, blob);
    return { bytes: data.length, right: () => data.equals(blob) };
  };
  return {
    blobId: blobId.toString('hex'),
    operations: {
      metadata: async () => named(encoder.compute_metadata(data)[0]),
      encode: async () => named(encoder.encode(data, ...places)[0].blob_id),
      'decode-worst': () => decode(last),
      'decode-systematic': () => decode(first),
    },
  };
};

const time = async ({ operations }: Subject, operation: Operation): Promise<Answer> => {
  const start = performance.now();
  const work = await operations[operation]!();
  const seconds = (performance.now() - start) / 1000;
  if (!work.right()) throw new Error(`${operation} of ${side} came out wrong`);
  return { took: { bytes: work.bytes, seconds } };
};

const [, , side, directory] = process.argv;
let subject: Subject | undefined;
process.on('message', async ({ prepare, operation }: Question) => {
  if (prepare !== undefined) {
    const data = seeded('bench', prepare.size);
    subject = await (side === 'tuskfs' ? ours : theirs)(data, prepare.shards, directory!);
    process.send!({ blobId: subject.blobId } satisfies Answer);
  } else process.send!(await time(subject!, operation!));
});
