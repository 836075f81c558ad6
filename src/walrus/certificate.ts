/**
 * Certificates of availability: what a node signs, when enough of them have, and the form the
 * chain takes. Quorum is counted in shards, 3w ≥ 2n + 1, as the contract does; the bitmap counts
 * positions in the system committee.
 */
import { TuskError } from '../base/errors.ts';
import { type BlobId, blobIdToBytes, type SuiId } from '../base/ids.ts';
import { native } from '../native.ts';
import type { Certificate, Committee, StorageNode } from './network.ts';

/** Intent of a blob certificate: message type 1, version 0, app 3 (Walrus). */
const INTENT = Buffer.of(1, 0, 3);

/** Shards that must stand behind a certificate. */
export const quorumOf = (nShards: number): number => Math.ceil((2 * nShards + 1) / 3);

/** Most shards that may be gone or lie: f = ⌊(n − 1) / 3⌋. */
export const faultsOf = (nShards: number): number => Math.floor((nShards - 1) / 3);

/** The message that every node signs: epoch, blob, and the Blob object if it is deletable. */
export const confirmationMessage = (
  epoch: number,
  blobId: BlobId,
  object: { readonly objectId: SuiId; readonly deletable: boolean },
): Buffer => {
  const epochBytes = Buffer.alloc(4);
  epochBytes.writeUInt32LE(epoch);
  const kind = object.deletable
    ? Buffer.concat([Buffer.of(1), Buffer.from(object.objectId.slice(2).padStart(64, '0'), 'hex')])
    : Buffer.of(0);
  return Buffer.concat([INTENT, epochBytes, blobIdToBytes(blobId), kind]);
};

/** Bit i of ⌈nodes / 8⌉ bytes says that member i of the system committee signed. */
export const signersBitmap = (nodeCount: number, indices: readonly number[]): Buffer => {
  const bitmap = Buffer.alloc(Math.ceil(nodeCount / 8));
  for (const index of indices) bitmap[index >> 3]! |= 1 << (index & 7);
  return bitmap;
};

/** Epoch of a confirmation that is `expected` but for its epoch; undefined if it is about something else. */
export const epochOfConfirmation = (message: Buffer, expected: Buffer): number | undefined => {
  const epochAt = INTENT.length;
  const restAt = epochAt + 4;
  const same =
    message.length === expected.length &&
    message.subarray(0, epochAt).equals(INTENT) &&
    message.subarray(restAt).equals(expected.subarray(restAt));
  return same ? message.readUInt32LE(epochAt) : undefined;
};

/** A certificate that somebody else put together; rejects `unverified` unless the chain would take it. */
export const verifiedCertificate = (
  committee: Committee,
  blobId: BlobId,
  object: { readonly objectId: SuiId; readonly deletable: boolean },
  given: {
    readonly signers: readonly number[];
    readonly message: Buffer;
    readonly signature: Buffer;
  },
): Certificate => {
  const { epoch, nShards, nodes } = committee;
  const { message, signature } = given;
  const wrong = (what: string) =>
    new TuskError('unverified', `the certificate given for blob ${blobId} does not hold: ${what}`);
  if (!message.equals(confirmationMessage(epoch, blobId, object)))
    throw wrong('its message is about something else');
  const signers = [...new Set(given.signers)].sort((a, b) => a - b);
  const members = signers.flatMap(index => nodes.find(node => node.index === index) ?? []);
  if (members.length !== given.signers.length) throw wrong('not all signers are in the committee');
  const shards = members.reduce((sum, node) => sum + node.shards.length, 0);
  if (shards < quorumOf(nShards)) throw wrong(`${shards} of ${nShards} shards are no quorum`);
  if (!isSignedBy(members, message, signature)) throw wrong('its signature is false');
  return { epoch, message, signature, signersBitmap: signersBitmap(nodes.length, signers), shards };
};

const isSignedBy = (nodes: readonly StorageNode[], message: Buffer, aggregate: Buffer): boolean => {
  try {
    const keys = nodes.map(({ publicKey }) => publicKey);
    return native.blsVerifyAggregate(keys, message, aggregate);
  } catch {
    return false;
  }
};

/**
 * Gathers confirmations of one blob in one epoch. Signatures are verified together, when it
 * matters: one pairing instead of one a node.
 */
export class Confirmations {
  readonly message: Buffer;
  readonly #committee: Committee;
  readonly #signatures = new Map<StorageNode, Buffer>();
  readonly #unverified = new Set<StorageNode>();
  #shards = 0;

  constructor(
    committee: Committee,
    blobId: BlobId,
    object: { readonly objectId: SuiId; readonly deletable: boolean },
  ) {
    this.#committee = committee;
    this.message = confirmationMessage(committee.epoch, blobId, object);
  }

  /** Shards of the nodes that have confirmed. */
  get shards(): number {
    return this.#shards;
  }

  /** Enough for the chain, if all signatures hold? */
  get isQuorum(): boolean {
    return this.#shards >= quorumOf(this.#committee.nShards);
  }

  /** Takes a node's signature over `message`, not yet verified. */
  add(node: StorageNode, signature: Buffer): void {
    if (this.#signatures.has(node)) return;
    this.#shards += node.shards.length;
    this.#signatures.set(node, signature);
    this.#unverified.add(node);
  }

  /** Verifies what was not verified yet; drops and answers the nodes whose signatures do not hold. */
  verify(): StorageNode[] {
    const nodes = [...this.#unverified];
    this.#unverified.clear();
    if (nodes.length === 0 || this.#holds(nodes)) return [];
    const liars = nodes.filter(node => !this.#holds([node]));
    for (const node of liars) {
      this.#signatures.delete(node);
      this.#shards -= node.shards.length;
    }
    return liars;
  }

  #holds(nodes: readonly StorageNode[]): boolean {
    const signatures = nodes.map(node => this.#signatures.get(node)!);
    try {
      return isSignedBy(nodes, this.message, native.blsAggregate(signatures));
    } catch {
      return false;
    }
  }

  /** The certificate of everyone who has confirmed so far; `verify` comes first. */
  certificate(): Certificate {
    if (!this.isQuorum || this.#unverified.size > 0) {
      throw new TuskError('internal', 'certificate asked for before a verified quorum');
    }
    const members = [...this.#signatures].sort(([a], [b]) => a.index - b.index);
    return {
      epoch: this.#committee.epoch,
      message: this.message,
      signature: native.blsAggregate(members.map(([, signature]) => signature)),
      signersBitmap: signersBitmap(
        this.#committee.nodes.length,
        members.map(([node]) => node.index),
      ),
      shards: this.#shards,
    };
  }
}
