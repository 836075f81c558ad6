/**
 * Inconsistency proofs: recovery symbols of one sliver, all proved, that decode to something else
 * than the metadata commits to. A node that is shown one attests it; attestations of more than f
 * shards mark the blob invalid on the ledger.
 */
import { ByteReader } from '../../base/bytes.ts';
import { type BlobId, blobIdToBytes, type Epoch, type SliverType } from '../../base/ids.ts';
import { native } from '../../native.ts';
import type { GenesisNode } from '../feed.ts';
import { askPeer } from '../peers.ts';
import { type RecoverySymbol, readRecoverySymbols, writeRecoverySymbols } from './bcs.ts';
import { decodeSymbols, isProved, symbolsFor } from './recovery.ts';
import { Refusal } from './refusal.ts';
import type { NodeService, SignedMessage } from './service.ts';

/** Intent: INVALID_BLOB_ID_MSG, version 0, application Walrus. */
const INTENT = [2, 0, 3];

/** The message that says that a blob is invalid. */
const invalidMessage = (epoch: Epoch, blobId: BlobId): Buffer => {
  const message = Buffer.concat([Buffer.from(INTENT), Buffer.alloc(4), blobIdToBytes(blobId)]);
  message.writeUInt32LE(epoch, INTENT.length);
  return message;
};

/** BCS InconsistencyProof{target_sliver_index u16, recovery_symbols}. */
const writeProof = (index: number, symbols: readonly RecoverySymbol[]): Buffer =>
  Buffer.concat([Buffer.from([index & 0xff, index >> 8]), writeRecoverySymbols(symbols)]);

const invalidProof = (why: string): Refusal =>
  new Refusal('INVALID_PROOF', `the inconsistency proof was rejected: ${why}`);

/** Attests that a blob is inconsistent if `body` (BCS InconsistencyProof) proves it. */
export const attest = async (
  node: NodeService,
  blobId: BlobId,
  type: SliverType,
  body: Buffer,
): Promise<SignedMessage> => {
  const { nShards } = node.identity;
  const metadata = await node.metadata(blobId);
  const symbols = body.length < 2 ? undefined : readRecoverySymbols(body.subarray(2));
  if (symbols === undefined) throw invalidProof('it cannot be decoded');
  const target = { type, index: new ByteReader(body).u16() };
  node.requireIndex(target.index);
  const indices = new Set(symbols.map(symbol => symbol.index));
  if (symbols.length !== symbolsFor(metadata, type) || indices.size !== symbols.length) {
    throw invalidProof('the number of recovery symbols is incorrect');
  }
  if (!symbols.every(symbol => isProved(metadata, nShards, target, symbol))) {
    throw invalidProof('some recovery symbols are invalid');
  }
  const recovered = await decodeSymbols(metadata, nShards, target, symbols);
  if ('data' in recovered) throw invalidProof('the target sliver is consistent');
  return node.sign(invalidMessage(node.registry.epoch, blobId));
};

/** What the ledger takes to mark a blob invalid. */
export interface InvalidCertificate {
  readonly signature: Buffer;
  readonly bitmap: Buffer;
  readonly message: Buffer;
}

/** Shows a proof to all members of the committee; undefined unless more than f shards attest it. */
export const certifyInvalid = async (
  node: NodeService,
  members: readonly GenesisNode[],
  blobId: BlobId,
  type: SliverType,
  index: number,
  symbols: readonly RecoverySymbol[],
  signal: AbortSignal,
): Promise<InvalidCertificate | undefined> => {
  const message = invalidMessage(node.registry.epoch, blobId);
  const body = writeProof(index, symbols);
  const bitmap = Buffer.alloc(Math.ceil(members.length / 8));
  const signatures: Buffer[] = [];
  let shards = 0;
  for (const [at, member] of members.entries()) {
    try {
      const path = `blobs/${blobId}/inconsistencyProof/${type}`;
      const answer = await askPeer(member, 'POST', path, { body, signal });
      if (answer.status !== 200) continue;
      const { signature } = JSON.parse(answer.body.toString()).success.data as SignedMessage;
      const bytes = Buffer.from(signature, 'base64');
      if (!native.blsVerify(Buffer.from(member.publicKey, 'hex'), message, bytes)) continue;
      signatures.push(bytes);
      bitmap[at >> 3]! |= 1 << (at & 7);
      shards += member.shards.length;
    } catch {
      signal.throwIfAborted();
    }
  }
  if (3 * shards < node.identity.nShards + 1) return undefined;
  return { signature: native.blsAggregate(signatures), bitmap, message };
};
