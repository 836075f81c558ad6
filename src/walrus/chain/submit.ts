/**
 * Sends signed bytes until their fate is certain. The same bytes may be sent any number of times:
 * Sui executes a digest once and answers later sendings with the stored effects. Certain fates are
 * three: executed (well or badly), expired (its epoch is over and the chain does not know it), and
 * overtaken (an object it names has moved on and the chain does not know it). Everything else is
 * uncertain and stays so: the caller sends the same bytes again.
 */
import { GrpcTypes as Grpc, type GrpcTypes } from '@mysten/sui/grpc';
import { Transaction } from '@mysten/sui/transactions';
import { fromBase64, normalizeSuiAddress } from '@mysten/sui/utils';
import { throwIfAborted, within } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { SignedTx, TxResult } from '../network.ts';
import { backoffMs, type Parts, pause, type RetryPolicy } from '../retry.ts';
import { type KnownObjects, type ObjectRef, SUI_TYPE, sameType } from './coins.ts';
import { describeFailure, failureError } from './failures.ts';
import { isRefusal, type SuiRpc } from './rpc.ts';
import type { ChainState } from './state.ts';

const SUBMIT_MS = 60_000;
const PATIENCE: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 200, maxMs: 3_000 };
const VISIBLE_MS = 30_000;
const VISIBLE: RetryPolicy = { tries: Number.POSITIVE_INFINITY, baseMs: 50, maxMs: 500 };
const MASK = ['digest', 'effects', 'balance_changes'];

/** Fates after which the transaction can never execute: another may be built. */
export const settlesFate = (error: unknown): boolean =>
  isRefusal(error) || (error instanceof TuskError && error.code === 'tx_expired');

/** Sends for one wallet. */
export class Submitter {
  readonly #rpc: SuiRpc;
  readonly #state: ChainState;
  readonly #known: KnownObjects;
  readonly #owner: SuiId;
  readonly #parts: Parts;

  constructor(rpc: SuiRpc, state: ChainState, known: KnownObjects, owner: SuiId, parts: Parts) {
    this.#rpc = rpc;
    this.#state = state;
    this.#known = known;
    this.#owner = owner;
    this.#parts = parts;
  }

  /** Until final and visible; rejects `tx_expired`, `object_locked`, `tx_failed`, or transiently. */
  async submit(signed: SignedTx, signal?: AbortSignal): Promise<TxResult> {
    const executed = await within(signal, SUBMIT_MS, limit => this.#untilFinal(signed, limit));
    const { effects } = executed;
    if (effects === undefined) throw new TuskError('network', 'Sui answered without effects');
    const written = this.#known.note(effects);
    await this.#untilVisible(signed, written, signal);
    return this.#result(signed, executed, effects, signal);
  }

  async #untilFinal(signed: SignedTx, signal: AbortSignal): Promise<GrpcTypes.ExecutedTransaction> {
    for (let failed = 1; ; failed++) {
      try {
        return await this.#execute(signed, signal);
      } catch (error) {
        throwIfAborted(signal);
        const refused = isRefusal(error);
        log('walrus').info({ digest: signed.digest, refused, why: messageOf(error) }, 'resending');
        const known = await this.#find(signed.digest, signal);
        if (known !== undefined) return known;
        if (refused) await this.#judge(signed, error, failed, signal);
        await pause(this.#parts.clock, backoffMs(PATIENCE, failed, this.#parts.random), signal);
      }
    }
  }

  async #execute(signed: SignedTx, signal: AbortSignal): Promise<GrpcTypes.ExecutedTransaction> {
    const { transaction } = await this.#rpc.call(
      'ExecuteTransaction',
      signal,
      (client, abort) =>
        client.transactionExecutionService.executeTransaction(
          {
            transaction: { bcs: { value: fromBase64(signed.bytes) } },
            signatures: [
              {
                bcs: { value: fromBase64(signed.signature) },
                signature: { oneofKind: undefined },
              },
            ],
            readMask: { paths: MASK },
          },
          { abort },
        ),
      false,
    );
    if (transaction !== undefined) return transaction;
    throw new TuskError('network', 'Sui answered ExecuteTransaction without a transaction');
  }

  /** The transaction as readers know it; undefined if they do not. */
  async #find(
    digest: string,
    signal?: AbortSignal,
  ): Promise<GrpcTypes.ExecutedTransaction | undefined> {
    try {
      const { transaction } = await this.#rpc.call('GetTransaction', signal, (client, abort) =>
        client.ledgerService.getTransaction({ digest, readMask: { paths: MASK } }, { abort }),
      );
      return transaction;
    } catch (error) {
      if (error instanceof TuskError && error.code === 'not_found') return undefined;
      throw error;
    }
  }

  /**
   * After a refusal: throws if the fate is certain, returns if it is worth sending again. An
   * object that moved on and an epoch that is over are facts of the same readers that then do not
   * know the digest, so the digest is looked up after them.
   */
  async #judge(
    signed: SignedTx,
    refusal: TuskError,
    failed: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { epoch } = await this.#rpc.epoch(signal);
    const overtaken = await this.#overtaken(signed, failed >= REFUSED_TRIES, signal);
    const dead = epoch > signed.expiresAfterEpoch || overtaken !== undefined;
    if (dead) {
      if ((await this.#find(signed.digest, signal)) !== undefined) return;
      const why = overtaken === undefined ? `Sui's epoch ${epoch}` : `object ${overtaken}`;
      throw new TuskError(
        'tx_expired',
        `transaction ${signed.digest} was never executed and cannot be any more (${why} has moved on): another may be built`,
        { cause: refusal, details: { digest: signed.digest } },
      );
    }
    const locked = /lock|reserved|equivocat/i.test(refusal.message);
    if (locked && failed >= LOCKED_TRIES) {
      throw new TuskError(
        'object_locked',
        `transaction ${signed.digest} names an object that another signed transaction holds; send it again later (${refusal.message})`,
        { cause: refusal, details: { digest: signed.digest } },
      );
    }
    // Another version has taken its place, which slow readers show only later: wait for the proof.
    const replaced = /unavailable for consumption|needs to be rebuilt/i.test(refusal.message);
    if (!locked && !replaced && failed >= REFUSED_TRIES) throw refusal;
  }

  /**
   * An owned object named by the transaction that readers see in a newer state. One that they do
   * not see at all counts only when `missingCounts`: young objects reach slow readers late.
   */
  async #overtaken(
    signed: SignedTx,
    missingCounts: boolean,
    signal: AbortSignal,
  ): Promise<SuiId | undefined> {
    const refs = ownedInputs(fromBase64(signed.bytes));
    const objects = await this.#rpc.objects(
      refs.map(ref => ref.objectId),
      ['object_id', 'version'],
      signal,
    );
    return refs.find((ref, i) => {
      const now = objects[i]?.version;
      return now === undefined ? missingCounts : now > BigInt(ref.version);
    })?.objectId;
  }

  /** Waits until readers know the digest and the owned objects in their new state. */
  async #untilVisible(
    signed: SignedTx,
    written: readonly { id: SuiId; version: bigint }[],
    signal?: AbortSignal,
  ): Promise<void> {
    const seen = async (limit: AbortSignal): Promise<boolean> => {
      if ((await this.#find(signed.digest, limit)) === undefined) return false;
      const ids = written.map(change => change.id);
      const objects = await this.#rpc.objects(ids, ['object_id', 'version'], limit);
      return written.every((change, i) => (objects[i]?.version ?? -1n) >= change.version);
    };
    try {
      await within(signal, VISIBLE_MS, async limit => {
        for (let failed = 1; !(await seen(limit)); failed++) {
          await pause(this.#parts.clock, backoffMs(VISIBLE, failed, this.#parts.random), limit);
        }
      });
    } catch (error) {
      // The transaction is final whatever the readers say; later reads know what is stale.
      throwIfAborted(signal);
      log('walrus').warn({ digest: signed.digest, why: messageOf(error) }, 'readers lag');
    }
  }

  async #result(
    signed: SignedTx,
    executed: GrpcTypes.ExecutedTransaction,
    effects: GrpcTypes.TransactionEffects,
    signal?: AbortSignal,
  ): Promise<TxResult> {
    const { walType, originalPackage } = await this.#state.refs(signal);
    const ok = effects.status?.success === true;
    const failure = ok
      ? undefined
      : describeFailure(effects.status?.error, fromBase64(signed.bytes));
    const blob = effects.changedObjects.find(
      change =>
        change.idOperation === Grpc.ChangedObject_IdOperation.CREATED &&
        sameType(change.objectType, `${originalPackage}::blob::Blob`),
    )?.objectId;
    return {
      digest: signed.digest,
      ok,
      error: failure === undefined ? '' : failureError(failure).message,
      ...(failure === undefined ? {} : { code: failure.code }),
      ...(failure?.abort === undefined ? {} : { abort: failure.abort }),
      ...(blob === undefined ? {} : { blobObjectId: blob }),
      walSpent: this.#spent(executed, walType),
      suiSpent: this.#spent(executed, SUI_TYPE),
    };
  }

  /** What the owner lost of one coin type; what came back is counted. */
  #spent(executed: GrpcTypes.ExecutedTransaction, coinType: string): bigint {
    let sum = 0n;
    for (const { address, coinType: type, amount } of executed.balanceChanges) {
      if (address === undefined || normalizeSuiAddress(address) !== this.#owner) continue;
      if (sameType(type, coinType)) sum -= BigInt(amount ?? '0');
    }
    return sum;
  }
}

/** A lock passes when the epoch ends or the other transaction executes; refusals seldom pass at all. */
const LOCKED_TRIES = 8;
const REFUSED_TRIES = 4;

/** Owned objects and gas coins that a transaction names, with their versions. */
const ownedInputs = (bytes: Uint8Array): ObjectRef[] => {
  const { inputs, gasData } = Transaction.from(bytes).getData();
  const refs: ObjectRef[] = (gasData.payment ?? []).map(ref => ({
    objectId: ref.objectId,
    version: String(ref.version),
    digest: ref.digest,
  }));
  for (const input of inputs) {
    const owned = input.Object?.ImmOrOwnedObject;
    if (owned !== undefined) refs.push({ ...owned, version: String(owned.version) });
  }
  return refs;
};
