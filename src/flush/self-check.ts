/**
 * Check of our own encoder before anything is paid: a wrong sliver or blob ID would make a blob
 * that the network later declares invalid. The judge is the official encoder, and a decoding from
 * primary slivers chosen at random.
 */
import { open, readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { TuskError } from '../base/errors.ts';
import { blobIdFromBytes } from '../base/ids.ts';
import { type Random, sample } from '../base/random.ts';
import { workerUrl } from '../base/worker.ts';
import { native } from '../native.ts';
import type { EncodedFile } from '../walrus/network.ts';

const officialBlobId = (path: string, nShards: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const url = workerUrl(import.meta.url, './judge');
    const worker = new Worker(url, { workerData: { path, nShards } });
    worker.once('message', (bytes: Uint8Array) => resolve(blobIdFromBytes(bytes)));
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the official encoder gave no answer')));
  });

/** Throws a `bug` if the encoding of the file at `path` is wrong; nothing was registered then. */
export const checkEncoding = async (
  path: string,
  encoded: EncodedFile,
  random: Random,
): Promise<void> => {
  const wrong = (what: string) =>
    new TuskError(
      'internal',
      `the encoder of this tuskfs is wrong: ${what} of ${path}. Nothing was registered or paid and staged files are safe; please report this`,
      { details: { blobId: encoded.blobId } },
    );
  const official = await officialBlobId(path, encoded.nShards);
  if (official !== encoded.blobId)
    throw wrong(`blob ID ${encoded.blobId}, officially ${official},`);

  const { size, nShards } = encoded;
  const shape = native.blobShape(size, nShards);
  const pairBytes = shape.primaryBytes + shape.secondaryBytes;
  const file = await open(encoded.sliversPath);
  try {
    const slivers = [];
    for (const index of sample(random, nShards, shape.nPrimary)) {
      const data = Buffer.allocUnsafe(shape.primaryBytes);
      await file.read(data, 0, data.length, index * pairBytes);
      slivers.push({ index, data });
    }
    const decoded = await native.decode(size, nShards, 'primary', slivers);
    if (!decoded.equals(await readFile(path))) throw wrong('slivers');
  } finally {
    await file.close();
  }
};
