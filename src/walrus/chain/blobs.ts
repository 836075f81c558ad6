/** Blob objects and their attributes, as the chain holds them. */
import type { GrpcTypes } from '@mysten/sui/grpc';
import { blobIdFromBytes, type SuiId } from '../../base/ids.ts';
import type { BlobObject } from '../network.ts';
import { sameType } from './coins.ts';
import { Attributes, attributesId, Blob } from './layouts.ts';
import type { SuiRpc } from './rpc.ts';

/** Fields read of a Blob object. */
export const BLOB_MASK = ['object_id', 'version', 'digest', 'owner', 'object_type', 'contents'];

const parse = (bytes: Uint8Array): BlobObject => {
  const blob = Blob.parse(bytes);
  return {
    objectId: blob.id,
    blobId: blobIdFromBytes(blob.blob_id),
    size: Number(blob.size),
    registeredEpoch: blob.registered_epoch,
    certifiedEpoch: blob.certified_epoch ?? undefined,
    endEpoch: blob.storage.end_epoch,
    deletable: blob.deletable,
    storageBytes: Number(blob.storage.storage_size),
  };
};

/** A Blob object from what the chain answered; undefined if it is something else. */
export const blobFromObject = (
  object: GrpcTypes.Object | undefined,
  originalPackage: SuiId,
): BlobObject | undefined => {
  const bytes = object?.contents?.value;
  const isBlob = sameType(object?.objectType, `${originalPackage}::blob::Blob`);
  return bytes === undefined || !isBlob ? undefined : parse(bytes);
};

/** All Blob objects of an address. */
export const blobsOf = async (
  rpc: SuiRpc,
  owner: SuiId,
  originalPackage: SuiId,
  signal?: AbortSignal,
): Promise<BlobObject[]> => {
  const objects = await rpc.owned(owner, `${originalPackage}::blob::Blob`, BLOB_MASK, signal);
  return objects.flatMap(object => blobFromObject(object, originalPackage) ?? []);
};

/** Attributes of a Blob object; empty if it has none. */
export const attributesOf = async (
  rpc: SuiRpc,
  objectId: SuiId,
  signal?: AbortSignal,
): Promise<Record<string, string>> => {
  const [field] = await rpc.objects([attributesId(objectId)], ['object_id', 'contents'], signal);
  const bytes = field?.contents?.value;
  if (bytes === undefined) return {};
  return Object.fromEntries(Attributes.parse(bytes).entries.map(({ key, value }) => [key, value]));
};
