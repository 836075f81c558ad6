/**
 * Whom an upload sends to first: nodes of as many shards as a certificate takes, and a few more. The
 * certificate is there when they have theirs, after some 72 % of the bytes, and is on the chain
 * before the others are sent to. They are not waited for in vain: as soon as one of
 * them fails, or is late where others were in time, nobody waits any more.
 */
import { raceSignal } from '../../base/abort.ts';
import { after, type Clock } from '../../base/clock.ts';
import { faultsOf, quorumOf } from '../certificate.ts';
import type { Committee, StorageNode } from '../network.ts';

/** This part of all shards goes first beside the quorum, for nodes that turn out to be slow. */
const SPARE_PART = 1 / 20;
/** Time for the last of the first nodes, as a multiple of what nodes of a third of all shards took, and beyond it. */
const IN_TIME = 1.25;
const IN_TIME_MS = 100;

/** The first nodes of one round of an upload. */
export class FirstNodes {
  readonly #first = new Set<StorageNode>();
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #quorum: number;
  /** The first nodes confirm for more than so many shards, or no quorum is to be had. */
  readonly #faults: number;
  readonly #others = Promise.withResolvers<void>();
  #late: (() => void) | undefined;

  /** `nodes`: the committee's, in the order in which they are trusted to be quick. */
  constructor({ nShards }: Committee, nodes: readonly StorageNode[], clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
    this.#quorum = quorumOf(nShards);
    this.#faults = faultsOf(nShards);
    let missing = this.#quorum + Math.ceil(SPARE_PART * nShards);
    for (const node of nodes) {
      if (missing <= 0) break;
      this.#first.add(node);
      missing -= node.shards.length;
    }
  }

  /** Resolves when the node may be sent to. */
  async turn(node: StorageNode, signal: AbortSignal): Promise<void> {
    if (!this.#first.has(node)) await raceSignal(this.#others.promise, signal);
  }

  /** Nodes of so many shards have confirmed: with a quorum nobody is late any more. */
  confirmed(shards: number): void {
    if (shards >= this.#quorum) this.#late?.();
    else if (shards > this.#faults) {
      const tookMs = this.#clock.monotonicMs() - this.#startMs;
      this.#late ??= after(IN_TIME_MS + (IN_TIME - 1) * tookMs, () => this.letAllGo());
    }
  }

  /** Nobody waits any more. */
  letAllGo(): void {
    this.#late?.();
    this.#others.resolve();
  }
}
