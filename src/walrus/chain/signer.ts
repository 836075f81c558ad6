/**
 * Turns a recipe into signed bytes: coins for gas, the gas budget from a simulation of exactly
 * these inputs, an expiry, digest and signature. Nothing is sent from here.
 */
import { GrpcTypes as Grpc, type GrpcTypes } from '@mysten/sui/grpc';
import { type Transaction, TransactionDataBuilder } from '@mysten/sui/transactions';
import { toBase64 } from '@mysten/sui/utils';
import { TuskError } from '../../base/errors.ts';
import type { Mist } from '../../base/ids.ts';
import type { SignedTx } from '../network.ts';
import { backoffMs, type Parts, pause, type RetryPolicy } from '../retry.ts';
import type { Signs } from '../wallet.ts';
import {
  type Coin,
  chooseCoins,
  type KnownObjects,
  listCoins,
  payable,
  SUI_TYPE,
  withoutGas,
} from './coins.ts';
import { describeFailure, failureError } from './failures.ts';
import { isRefusal, type SuiRpc } from './rpc.ts';
import type { ChainState, SystemRefs } from './state.ts';

/** Gas offered to the simulation; what it uses sets the real budget. */
const GAS_PROBE_MIST = 500_000_000n;
/** Sui's own rule of thumb for the safe overhead of a budget, in units of gas. */
const GAS_OVERHEAD_UNITS = 1_000n;
/** Current epoch and the next: never unsendable within seconds of signing, dead after a day or two. */
const EPOCHS_VALID = 1;
const REBUILD: RetryPolicy = { tries: 4, baseMs: 200, maxMs: 1_500 };
const REBUILD_CODES = new Set(['price_changed', 'stale_package', 'network']);

/** Builds a transaction from fresh state; called again when the state moved underneath. */
export type Recipe = (refs: SystemRefs) => Promise<Transaction>;

/** Signs for one wallet. */
export class Signer {
  readonly #rpc: SuiRpc;
  readonly #state: ChainState;
  readonly #known: KnownObjects;
  readonly #wallet: Signs;
  readonly #parts: Parts;

  constructor(rpc: SuiRpc, state: ChainState, known: KnownObjects, wallet: Signs, parts: Parts) {
    this.#rpc = rpc;
    this.#state = state;
    this.#known = known;
    this.#wallet = wallet;
    this.#parts = parts;
  }

  /** Builds, prices and signs; rejects with what the simulation says if it would fail. `fromGas`: what it splits off the gas coin. */
  async sign(recipe: Recipe, fromGas: Mist, signal?: AbortSignal): Promise<SignedTx> {
    for (let failed = 0; ; ) {
      try {
        return await this.#signOnce(recipe, fromGas, signal);
      } catch (error) {
        const moved =
          isRefusal(error) || (error instanceof TuskError && REBUILD_CODES.has(error.code));
        if (!moved || ++failed >= REBUILD.tries) throw error;
        await pause(this.#parts.clock, backoffMs(REBUILD, failed, this.#parts.random), signal);
      }
    }
  }

  async #signOnce(recipe: Recipe, fromGas: Mist, signal?: AbortSignal): Promise<SignedTx> {
    const owner = this.#wallet.address;
    const [refs, coins, { epoch, gasPrice }] = await Promise.all([
      this.#state.refs(signal),
      listCoins(this.#rpc, this.#known, owner, SUI_TYPE, this.#parts, signal),
      this.#rpc.epoch(signal),
    ]);
    const tx = await recipe(refs);
    tx.setSender(owner);
    tx.setGasPrice(gasPrice);
    tx.setExpiration({ Epoch: epoch + EPOCHS_VALID });

    const total = payable(coins);
    const left = total - fromGas;
    const noGas = () => withoutGas(owner, total, fromGas + GAS_PROBE_MIST);
    if (left <= 0n) throw noGas();
    const probe = left < GAS_PROBE_MIST ? left : GAS_PROBE_MIST;
    const gasOf = (amount: Mist) => chooseCoins(coins, amount + fromGas, owner, 'SUI');
    const used = await this.#simulate(await withGas(tx, gasOf(probe), probe), signal, noGas);
    const budget = budgetFor(used, gasPrice);
    // No fewer coins than were simulated: each that is merged into the first gives back its storage.
    const bytes = await withGas(tx, gasOf(budget > probe ? budget : probe), budget);
    const { signature } = await this.#wallet.signTransaction(bytes);
    return {
      digest: TransactionDataBuilder.getDigestFromBytes(bytes),
      bytes: toBase64(bytes),
      signature,
      expiresAfterEpoch: epoch + EPOCHS_VALID,
    };
  }

  /** Gas that a transaction would use now; rejects if it would fail. */
  async #simulate(
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
    noGas: () => TuskError,
  ): Promise<GrpcTypes.GasCostSummary> {
    const { transaction } = await this.#rpc.call('SimulateTransaction', signal, (client, abort) =>
      client.transactionExecutionService.simulateTransaction(
        {
          transaction: { bcs: { value: bytes } },
          readMask: { paths: ['transaction.effects'] },
          checks: Grpc.SimulateTransactionRequest_TransactionChecks.ENABLED,
          doGasSelection: false,
        },
        { abort },
      ),
    );
    const effects = transaction?.effects;
    if (effects?.status?.success !== true) {
      const error = effects?.status?.error;
      const { INSUFFICIENT_GAS } = Grpc.ExecutionError_ExecutionErrorKind;
      throw error?.kind === INSUFFICIENT_GAS
        ? noGas()
        : failureError(describeFailure(error, bytes));
    }
    if (effects.gasUsed === undefined) {
      throw new TuskError(
        'network',
        'Sui simulated a transaction and did not say what gas it used',
      );
    }
    return effects.gasUsed;
  }
}

const withGas = (tx: Transaction, coins: readonly Coin[], budget: Mist): Promise<Uint8Array> => {
  tx.setGasPayment(coins.map(({ objectId, version, digest }) => ({ objectId, version, digest })));
  tx.setGasBudget(budget);
  return tx.build();
};

/** What Sui may take: computation and storage less rebate, an overhead, and a fifth for drift. */
const budgetFor = (used: GrpcTypes.GasCostSummary, gasPrice: bigint): bigint => {
  const computation = (used.computationCost ?? 0n) + gasPrice * GAS_OVERHEAD_UNITS;
  const net = computation + (used.storageCost ?? 0n) - (used.storageRebate ?? 0n);
  const needed = net > computation ? net : computation;
  return needed + needed / 5n;
};
