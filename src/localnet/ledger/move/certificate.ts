/**
 * Certificates (contract `bls_aggregate`, `messages`): who signed by the bitmap, their weight in
 * shards, one aggregate signature, and what the message says.
 */

import { type BlobId, blobIdFromBytes } from '../../../base/ids.ts';
import { native } from '../../../native.ts';
import { abort, type ExecutionFailure } from '../errors.ts';
import { idOf } from '../hash.ts';
import { type SystemState, u256 } from '../layouts.ts';
import type { Network } from './context.ts';
import { hasOneCorrect, isQuorum } from './encoding.ts';

/** What a quorum has confirmed. */
interface Certified {
  readonly blobId: bigint;
  /** Object id for deletable blobs; undefined for permanent ones. */
  readonly objectId: string | undefined;
}

type Fail = (module: string, fn: string, code: number, name: string) => ExecutionFailure;
type Committee = SystemState['committee'];

/** Public keys of those whose bit is set; aborts on stray bits and on too little weight. */
const signersOf = (
  committee: Committee,
  bitmap: Uint8Array,
  isEnough: (weight: number, nShards: number) => boolean,
  fail: Fail,
): Uint8Array[] => {
  const { members } = committee;
  const bad = () => fail('bls_aggregate', 'verify_certificate_and_weight', 0, 'EInvalidBitmap');
  if (bitmap.length > Math.ceil(members.length / 8)) throw bad();
  const keys: Uint8Array[] = [];
  let weight = 0;
  for (let index = 0; index < bitmap.length * 8; index++) {
    if (((bitmap[index >> 3]! >> (index & 7)) & 1) === 0) continue;
    const member = members[index];
    if (member === undefined) throw bad();
    keys.push(member.public_key);
    weight += member.weight;
  }
  if (!isEnough(weight, committee.n_shards))
    throw fail('bls_aggregate', 'verify_certificate_and_weight', 2, 'ENotEnoughStake');
  return keys;
};

const verifies = (keys: Uint8Array[], message: Uint8Array, signature: Uint8Array): boolean => {
  try {
    return native.blsVerifyAggregate(keys, message, signature);
  } catch {
    return false;
  }
};

/** A message of this epoch that enough members signed. */
const certifiedMessage = (
  committee: Committee,
  signature: Uint8Array,
  bitmap: Uint8Array,
  message: Uint8Array,
  isEnough: (weight: number, nShards: number) => boolean,
  fail: Fail,
): Buffer => {
  const keys = signersOf(committee, bitmap, isEnough, fail);
  if (!verifies(keys, message, signature))
    throw fail('bls_aggregate', 'verify_certificate_and_weight', 1, 'ESigVerification');
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  if (bytes.length < 7) throw fail('messages', 'certify_blob_message', 2, 'EInvalidMsgType');
  if (bytes[1] !== 0) throw fail('messages', 'new_certified_message', 3, 'EIncorrectIntentVersion');
  if (bytes[2] !== 3) throw fail('messages', 'new_certified_message', 0, 'EIncorrectAppId');
  if (bytes.readUInt32LE(3) !== committee.epoch)
    throw fail('messages', 'new_certified_message', 1, 'EIncorrectEpoch');
  return bytes;
};

/** The blob that nodes of more than f shards attest to be invalid. */
export const invalidBlob = (
  committee: Committee,
  signature: Uint8Array,
  bitmap: Uint8Array,
  message: Uint8Array,
  { ids }: Network,
): BlobId => {
  const fail: Fail = (...where) => abort(ids.currentPackage, ...where);
  const bytes = certifiedMessage(committee, signature, bitmap, message, hasOneCorrect, fail);
  if (bytes[0] !== 2 || bytes.length !== 39)
    throw fail('messages', 'invalid_blob_id_message', 2, 'EInvalidMsgType');
  return blobIdFromBytes(bytes.subarray(7, 39));
};

/** Checks a blob certificate against the committee and reads it. */
export const certifiedBlob = (
  committee: Committee,
  signature: Uint8Array,
  bitmap: Uint8Array,
  message: Uint8Array,
  fail: Fail,
): Certified => {
  const bytes = certifiedMessage(committee, signature, bitmap, message, isQuorum, fail);
  const short = () => fail('messages', 'certify_blob_message', 2, 'EInvalidMsgType');
  if (bytes[0] !== 1 || bytes.length < 40) throw short();
  const blobId = u256.parse(bytes.subarray(7, 39));
  if (bytes[39] === 0) return { blobId, objectId: undefined };
  if (bytes[39] === 1 && bytes.length >= 72)
    return { blobId, objectId: idOf(bytes.subarray(40, 72)) };
  throw fail('messages', 'peel_blob_persistence_type', 4, 'EInvalidBlobPersistenceType');
};
