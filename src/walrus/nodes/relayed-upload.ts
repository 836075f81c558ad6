/**
 * Storing through the upload relay: the blob's bytes go there once, and the certificate that comes
 * back is verified. A relay that is away, refuses or lies is answered by the upload to the nodes
 * themselves, for the same registration: nothing is paid again.
 */
import { throwIfAborted } from '../../base/abort.ts';
import { TuskError } from '../../base/errors.ts';
import type { SuiId } from '../../base/ids.ts';
import { confirmationMessage, epochOfConfirmation, verifiedCertificate } from '../certificate.ts';
import type { Certificate, EncodedFile, RelayTicket, StoreRun } from '../network.ts';
import type { Relay } from './relay.ts';
import { startUpload, type UploadOptions, type UploadParts } from './upload.ts';

/** A registration that a relay can look up. */
interface RelayedRegistration {
  readonly digest: string;
  readonly ticket: RelayTicket;
}

type BlobRefs = { readonly objectId: SuiId; readonly deletable: boolean };

/** As `startUpload`, by way of the relay if that works. Its tail ends with the certificate. */
export const startRelayedUpload = (
  parts: UploadParts & { readonly relay: Relay },
  file: EncodedFile & { readonly blobPath: string },
  object: BlobRefs,
  registration: RelayedRegistration,
  options: UploadOptions,
): StoreRun => {
  const run = relayed(parts, file, object, registration, options).catch(
    (error: unknown): StoreRun => {
      const failed = Promise.reject<Certificate>(error);
      failed.catch(() => {});
      return { certificate: failed, tail: async () => ({ shards: 0, missing: [] }) };
    },
  );
  const certificate = run.then(started => started.certificate);
  certificate.catch(() => {});
  return { certificate, tail: () => run.then(started => started.tail()) };
};

const relayed = async (
  parts: UploadParts & { readonly relay: Relay },
  file: EncodedFile & { readonly blobPath: string },
  object: BlobRefs,
  registration: RelayedRegistration,
  options: UploadOptions,
): Promise<StoreRun> => {
  const { relay } = parts;
  const { blobId, size, nShards, blobPath: path } = file;
  const { signal, onProgress } = options;
  const progress = { bytesSent: 0, bytesTotal: size, shardsConfirmed: 0 };
  try {
    const blob = { blobId, size, nShards, path };
    const raw = await relay.send(blob, object, registration, signal, bytes => {
      progress.bytesSent += bytes;
      onProgress?.(progress);
    });
    const committee = await committeeOf(parts, file, object, raw.message, signal);
    const certificate = verifiedCertificate(committee, blobId, object, raw);
    const missing = committee.nodes
      .filter(({ index }) => !raw.signers.includes(index))
      .map(({ name }) => name);
    return {
      certificate: Promise.resolve(certificate),
      tail: async () => ({ shards: certificate.shards, missing }),
    };
  } catch (error) {
    throwIfAborted(signal);
    relay.avoid(blobId, error);
    return startUpload(parts, file, object, options);
  }
};

/** The committee that a certificate must be of: read anew if the message names a later epoch. */
const committeeOf = async (
  parts: UploadParts,
  file: EncodedFile,
  object: BlobRefs,
  message: Buffer,
  signal: AbortSignal,
) => {
  const known = await parts.committee(false, signal);
  const expected = confirmationMessage(known.epoch, file.blobId, object);
  const epoch = epochOfConfirmation(message, expected);
  if (epoch === undefined)
    throw new TuskError('unverified', 'the relay gave a certificate of something else');
  return epoch === known.epoch ? known : parts.committee(true, signal);
};
