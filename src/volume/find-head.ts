/**
 * Finding a volume on the network from its wallet alone. Attributes on Blob objects are hints; a
 * head counts only if its blob is certified, unexpired, opens under the volume's key and says so
 * inside the seal. The highest sequence wins.
 */
import { messageOf, TuskError } from '../base/errors.ts';
import { log } from '../base/log.ts';
import { HEAD_ATTRIBUTE } from '../flush/upload.ts';
import type { OpenedEnvelope } from '../format/envelope.ts';
import { type VolumeKeys, volumeKeys } from '../format/keys.ts';
import type { ManifestRoot } from '../format/manifest.ts';
import { native } from '../native.ts';
import type { BlobObject, Network } from '../walrus/network.ts';
import { type HeadBlob, type ReadRange, readHead, readManifest } from './checkpoint.ts';

/** A head that opened, with the keys that opened it. */
export interface FoundHead {
  readonly blob: HeadBlob;
  readonly keys: VolumeKeys;
  readonly envelope: Buffer;
  readonly manifest: ManifestRoot;
}

/** Reads byte ranges of blobs by the systematic slivers that cover them. */
export const rangeReader =
  (network: Network, signal: AbortSignal): ReadRange =>
  async (blob, offset, length) => {
    const { primaryBytes } = native.blobShape(blob.size, blob.nShards);
    const first = Math.floor(offset / primaryBytes);
    const last = Math.floor((offset + length - 1) / primaryBytes);
    const indices = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const bytes = Buffer.alloc(indices.length * primaryBytes);
    await network.readPrimaries(blob, indices, {
      verify: true,
      signal,
      onSliver: (index, data) => void data.copy(bytes, (index - first) * primaryBytes),
    });
    return bytes.subarray(offset - first * primaryBytes, offset - first * primaryBytes + length);
  };

/** Opens one blob as a head; undefined (and a line in the log) if it is none of this volume's. */
const tryHead = async (
  object: BlobObject,
  nShards: number,
  unlock: (envelope: Buffer) => Promise<OpenedEnvelope>,
  readRange: ReadRange,
): Promise<FoundHead | undefined> => {
  const { blobId, size, objectId, endEpoch } = object;
  const blob: HeadBlob = { blobId, size, nShards, objectId, endEpoch };
  try {
    const { header, envelope } = await readHead(blob, readRange);
    const { volumeId, volumeKey } = await unlock(envelope);
    const keys = volumeKeys(volumeId, volumeKey);
    return { blob, keys, envelope, manifest: await readManifest(blob, header, keys, readRange) };
  } catch (error) {
    const passing =
      error instanceof TuskError && ['wrong_passphrase', 'wrong_key'].includes(error.code);
    if (passing || (error instanceof TuskError && error.kind === 'transient')) throw error;
    log('volume').warn({ blobId, error: messageOf(error) }, 'a blob of the wallet is no head');
    return undefined;
  }
};

/** The newest valid head among the blobs of the wallet; `not_found` if there is none. */
export const findHead = async (
  network: Network,
  unlock: (envelope: Buffer) => Promise<OpenedEnvelope>,
  signal: AbortSignal,
): Promise<FoundHead> => {
  const { epoch, nShards } = await network.committee({ signal });
  const usable = (await network.blobsOf(network.address, signal)).filter(
    blob => blob.certifiedEpoch !== undefined && blob.endEpoch > epoch,
  );
  const hinted: BlobObject[] = [];
  const others: BlobObject[] = [];
  for (const blob of usable) {
    const attributes = await network.attributes(blob.objectId, signal);
    (HEAD_ATTRIBUTE in attributes ? hinted : others).push(blob);
  }
  const readRange = rangeReader(network, signal);
  for (const candidates of [hinted, others]) {
    const found: FoundHead[] = [];
    for (const blob of candidates) {
      const head = await tryHead(blob, nShards, unlock, readRange);
      if (head !== undefined) found.push(head);
    }
    found.sort((a, b) => b.manifest.sequence - a.manifest.sequence);
    if (found[0] !== undefined) return found[0];
  }
  throw new TuskError(
    'not_found',
    `no checkpoint was found among the ${usable.length} certified blobs of ${network.address}`,
  );
};
