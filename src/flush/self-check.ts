/**
 * Check of our own encoder before anything is paid: a wrong sliver or blob ID would make a blob
 * that the network later declares invalid. The official encoder must name the same blob ID for the
 * beginning of the pack (it holds several times of what it encodes in memory), and slivers chosen at
 * random must be those that the metadata of the whole pack commits to.
 */
import { fork } from 'node:child_process';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { TuskError } from '../base/errors.ts';
import { blobIdFromBytes, type SliverType } from '../base/ids.ts';
import { type Random, sample } from '../base/random.ts';
import { workerUrl } from '../base/worker.ts';
import { native } from '../native.ts';
import type { EncodedFile } from '../walrus/network.ts';

/** The least of a pack that the official encoder encodes, */
const JUDGED_BYTES = 8 * 1024 * 1024;
/** and bytes of its symbols at least: they are hashed in more than one block, as those of a whole pack. */
const JUDGED_SYMBOL_BYTES = 144;
/** How much is kept of what it says of a failure. */
const SAID_CHARS = 2000;

const officialBlobId = (path: string, nShards: number, bytes: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const entry = fileURLToPath(workerUrl(import.meta.url, './judge'));
    const child = fork(entry, [path, String(nShards), String(bytes)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let said = '';
    child.stderr!.on('data', text => {
      said = `${said}${text}`.slice(-SAID_CHARS);
    });
    child.once('message', id => resolve(blobIdFromBytes(Uint8Array.from(id as number[]))));
    child.once('error', reject);
    child.once('close', (code, signal) =>
      reject(new Error(`the official encoder ended with ${signal ?? code}: ${said.trim()}`)),
    );
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
  const { nPrimary, nSecondary } = native.blobShape(encoded.size, encoded.nShards);
  const judged = Math.max(JUDGED_BYTES, nPrimary * nSecondary * JUDGED_SYMBOL_BYTES);
  const bytes = Math.min(judged, encoded.size);
  const official = await officialBlobId(path, encoded.nShards, bytes);
  const ours = await blobIdOfBeginning(path, encoded, bytes);
  if (official !== ours)
    throw wrong(`blob ID ${ours}, officially ${official}, of the first ${bytes} bytes`);
  const index = await wrongSliver(encoded, random);
  if (index !== undefined) throw wrong(`the sliver ${index}`);
};

const blobIdOfBeginning = async (
  path: string,
  { size, nShards, blobId }: EncodedFile,
  bytes: number,
): Promise<string> => {
  if (bytes === size) return blobId;
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.allocUnsafeSlow(bytes), 0, bytes, 0);
    return blobIdFromBytes((await native.bytesMetadata(buffer, nShards)).blobId);
  } finally {
    await file.close();
  }
};

/** A sliver that is not the one of the metadata, among as many of both types as decode the blob. */
const wrongSliver = async (
  { size, nShards, metadata, sliversPath }: EncodedFile,
  random: Random,
): Promise<string | undefined> => {
  const { nPrimary, primaryBytes, secondaryBytes } = native.blobShape(size, nShards);
  const pairBytes = primaryBytes + secondaryBytes;
  const pair = Buffer.allocUnsafeSlow(pairBytes);
  const file = await open(sliversPath);
  try {
    for (const at of sample(random, nShards, nPrimary)) {
      await file.read(pair, 0, pairBytes, at * pairBytes);
      const isRight = (type: SliverType, index: number, data: Buffer) =>
        native.verifySliver(metadata, nShards, type, index, data);
      if (!(await isRight('primary', at, pair.subarray(0, primaryBytes)))) return `primary ${at}`;
      const other = nShards - 1 - at;
      if (!(await isRight('secondary', other, pair.subarray(primaryBytes))))
        return `secondary ${other}`;
    }
    return undefined;
  } finally {
    await file.close();
  }
};
