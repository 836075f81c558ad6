/**
 * What the upload relay wants to be paid, and whether it was: the tip is a transfer of SUI to the
 * relay in a transaction whose first input binds it to the blob (PROTOCOL §7).
 */
import { createHash } from 'node:crypto';
import { GrpcTypes } from '@mysten/sui/grpc';
import { fromBase64 } from '@mysten/sui/utils';
import { native } from '../../native.ts';
import { decodeTransaction } from '../ledger/transaction.ts';
import { SUI_TYPE } from '../ledger/types.ts';
import type { Tip } from '../parameters.ts';
import { RelayError } from './relay-error.ts';

/** Longest time between payment and upload, and how far ahead of ours another clock may be. */
const FRESH_MS = 60 * 60_000;
const AHEAD_MS = 30_000;
const DIGEST_BYTES = 32;

/** Answer of `GET /v1/tip-config`. */
export const tipConfig = (tip: Tip, address: string): unknown => {
  if (tip === 'none') return 'no_tip';
  const kind =
    'const' in tip
      ? { const: tip.const }
      : { linear: { base: tip.base, encoded_size_mul_per_kib: tip.perEncodedKib } };
  return { send_tip: { address, kind } };
};

const dueOf = (tip: Exclude<Tip, 'none'>, size: number, nShards: number): number => {
  if ('const' in tip) return tip.const;
  const { encodedBytes } = native.blobShape(size, nShards);
  return tip.base + tip.perEncodedKib * Math.ceil(encodedBytes / 1024);
};

/** What an upload shows for its tip. */
export interface Payment {
  /** Protobuf ExecutedTransaction; undefined if the ledger knows no such transaction. */
  readonly executed: Uint8Array | undefined;
  /** Of the transaction's first input. */
  readonly nonce: Uint8Array;
  readonly blobDigest: Uint8Array;
  readonly size: number;
}

const checkBinding = (bytes: Uint8Array, { nonce, blobDigest, size }: Payment): void => {
  const [first] = decodeTransaction(bytes).inputs;
  if (first?.$kind !== 'Pure') {
    throw new RelayError(401, 'the auth package is missing from the first input slot of the PTB');
  }
  const binding = Buffer.from(fromBase64(first.Pure.bytes));
  if (binding.length !== 2 * DIGEST_BYTES + 8) {
    throw new RelayError(401, 'the auth package was found but could not be read');
  }
  const nonceDigest = createHash('sha256').update(nonce).digest();
  if (!nonceDigest.equals(binding.subarray(DIGEST_BYTES, 2 * DIGEST_BYTES))) {
    throw new RelayError(401, 'the provided nonce hash in the ptb is invalid');
  }
  const differs = (what: string) =>
    new RelayError(
      401,
      `the provided blob ${what} and the blob ${what} resulting from the uploaded blob do not match`,
    );
  if (binding.readBigUInt64LE(2 * DIGEST_BYTES) !== BigInt(size)) throw differs('length');
  if (Buffer.compare(blobDigest, binding.subarray(0, DIGEST_BYTES)) !== 0) throw differs('digest');
};

/** Throws a `RelayError` unless the tip for these bytes was paid to `address`, not long ago. */
export const checkPayment = (
  tip: Exclude<Tip, 'none'>,
  address: string,
  payment: Payment,
  nShards: number,
  nowMs: number,
): void => {
  if (payment.executed === undefined) throw new RelayError(500, 'internal client error');
  const tx = GrpcTypes.ExecutedTransaction.fromBinary(payment.executed);
  const { seconds = 0n, nanos = 0 } = tx.timestamp ?? {};
  const ageMs = nowMs - (Number(seconds) * 1000 + nanos / 1e6);
  if (ageMs > FRESH_MS || ageMs < -AHEAD_MS) {
    throw new RelayError(400, 'the received transaction is too old');
  }
  const paid = tx.balanceChanges.find(
    change => change.address === address && change.coinType === SUI_TYPE,
  );
  if (paid === undefined) throw new RelayError(402, 'no tip was transferred to the proxy account');
  const due = dueOf(tip, payment.size, nShards);
  if (BigInt(paid.amount ?? 0) < BigInt(due)) {
    throw new RelayError(
      402,
      `the tip is insufficient: balance change ${paid.amount}; expected ${due}`,
    );
  }
  checkBinding(tx.transaction?.bcs?.value ?? new Uint8Array(), payment);
};
