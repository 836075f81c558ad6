/**
 * One signer's transactions go one behind the other: two signed transactions over one owned
 * object could lock it for a day. A turn begins with building, covers signing and sending, and
 * ends when the transaction is final, can never execute, or was signed and then never sent.
 */

import { raceSignal, within } from '../../base/abort.ts';
import { TuskError } from '../../base/errors.ts';
import type { TxDigest } from '../../base/ids.ts';

/** A signed transaction that nobody sends within this time was dropped by its owner. */
const UNSENT_MS = 30_000;
const WAIT_MS = 90_000;

interface Turn {
  digest: TxDigest | undefined;
  sent: boolean;
  timer: NodeJS.Timeout | undefined;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** The queue of one signer. */
export class Lane {
  #turn: Turn | undefined;

  /** Waits for the lane; rejects `pending` if an earlier transaction stays unresolved. */
  async #enter(signal: AbortSignal | undefined): Promise<Turn> {
    return within(signal, WAIT_MS, async limit => {
      while (this.#turn !== undefined) {
        const { ended, digest, sent } = this.#turn;
        await raceSignal(ended, limit).catch(error => {
          if (signal?.aborted || digest === undefined || !sent) throw error;
          throw new TuskError(
            'pending',
            `transaction ${digest} was sent and its outcome is unknown; it must be sent again before another is signed`,
            { details: { digest } },
          );
        });
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const turn = {
        digest: undefined,
        sent: false,
        timer: undefined,
        ended: promise,
        end: resolve,
      };
      this.#turn = turn;
      return turn;
    });
  }

  #leave(turn: Turn): void {
    clearTimeout(turn.timer);
    if (this.#turn === turn) this.#turn = undefined;
    turn.end();
  }

  /** Builds and signs in turn; the turn stays open for the sending of what `build` signed. */
  async sign<T extends { readonly digest: TxDigest }>(
    signal: AbortSignal | undefined,
    build: () => Promise<T>,
  ): Promise<T> {
    const turn = await this.#enter(signal);
    try {
      const signed = await build();
      turn.digest = signed.digest;
      turn.timer = setTimeout(() => this.#leave(turn), UNSENT_MS).unref();
      return signed;
    } catch (error) {
      this.#leave(turn);
      throw error;
    }
  }

  /**
   * Sends in the turn of that digest. The lane stays closed if `send` rejects with an unknown
   * outcome (`settles` says which errors are certain), until the same digest is sent again.
   */
  async send<T>(
    digest: TxDigest,
    signal: AbortSignal | undefined,
    settles: (error: unknown) => boolean,
    send: () => Promise<T>,
  ): Promise<T> {
    const current = this.#turn;
    const turn = current?.digest === digest ? current : await this.#enter(signal);
    turn.digest = digest;
    turn.sent = true;
    clearTimeout(turn.timer);
    try {
      const result = await send();
      this.#leave(turn);
      return result;
    } catch (error) {
      if (settles(error)) this.#leave(turn);
      throw error;
    }
  }
}
