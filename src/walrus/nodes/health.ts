/**
 * What this client knows of each node from its own requests: silent ones are asked last, liars
 * are not asked for a while, latencies say when to hedge.
 */
import type { Clock } from '../../base/clock.ts';
import type { SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { Committee, NodeHealth, StorageNode } from '../network.ts';

const SILENT_AFTER = 2;
/** Late answers without any answer between them; a busy node is late now and then. */
const SILENT_AFTER_LATE = 2;
/** After this time a silent node is tried first-hand again. */
const SILENT_FOR_MS = 15_000;
const LIAR_FOR_MS = 10 * 60_000;
const LATENCIES = 256;
/** Below this, lateness is chance: a busy event loop, a collection of garbage. */
const HEDGE_MS_MIN = 20;
const HEDGE_MS_MAX = 5_000;
const HEDGE_MS_FIRST = 1_500;

interface Record {
  answered: boolean;
  silences: number;
  lateness: number;
  silentAtMs: number;
  lies: number;
  liedAtMs: number;
  lastError: string;
}

/** Memory of nodes' behaviour. */
export class Health {
  readonly #clock: Clock;
  readonly #records = new Map<SuiId, Record>();
  readonly #latencies: number[] = [];
  #next = 0;
  #nodes: readonly StorageNode[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The nodes of the committee in force. */
  watch(committee: Committee): void {
    this.#nodes = committee.nodes;
  }

  #record(node: StorageNode): Record {
    let record = this.#records.get(node.nodeId);
    if (record === undefined) {
      record = {
        answered: false,
        silences: 0,
        lateness: 0,
        silentAtMs: 0,
        lies: 0,
        liedAtMs: 0,
        lastError: '',
      };
      this.#records.set(node.nodeId, record);
    }
    return record;
  }

  /** The node answered, after `ms` (given for slivers only: they set the pace of hedging). */
  answered(node: StorageNode, ms?: number): void {
    const record = this.#record(node);
    record.answered = true;
    record.silences = 0;
    record.lateness = 0;
    if (ms === undefined) return;
    this.#latencies[this.#next] = ms;
    this.#next = (this.#next + 1) % LATENCIES;
  }

  /** The node said nothing. */
  silent(node: StorageNode, why: string): void {
    const record = this.#record(node);
    record.silences++;
    record.silentAtMs = this.#clock.monotonicMs();
    record.lastError = why;
  }

  /** The node had not answered when the read no longer needed it. */
  late(node: StorageNode, why: string): void {
    const record = this.#record(node);
    if (++record.lateness < SILENT_AFTER_LATE) return;
    record.silences = Math.max(record.silences, SILENT_AFTER - 1);
    this.silent(node, why);
  }

  /** The node refused or answered nonsense. */
  refused(node: StorageNode, why: string): void {
    const record = this.#record(node);
    record.answered = true;
    record.silences = 0;
    record.lateness = 0;
    record.lastError = why;
  }

  /** The node sent bytes that do not verify. */
  lied(node: StorageNode, what: string): void {
    const record = this.#record(node);
    record.lies++;
    record.liedAtMs = this.#clock.monotonicMs();
    record.lastError = what;
    log('walrus').warn({ node: node.name, what }, 'node sent bytes that do not verify');
  }

  /** Has the node lied lately? */
  isLiar(node: StorageNode): boolean {
    const record = this.#records.get(node.nodeId);
    return (
      record !== undefined &&
      record.lies > 0 &&
      this.#clock.monotonicMs() - record.liedAtMs < LIAR_FOR_MS
    );
  }

  /** Has the node been unreachable a moment ago, repeatedly? */
  isSilent(node: StorageNode): boolean {
    const record = this.#records.get(node.nodeId);
    return (
      record !== undefined &&
      record.silences >= SILENT_AFTER &&
      this.#clock.monotonicMs() - record.silentAtMs < SILENT_FOR_MS
    );
  }

  /** Should the node be asked only where others cannot help? */
  isShunned(node: StorageNode): boolean {
    return this.isLiar(node) || this.isSilent(node);
  }

  /** How long to wait for a sliver before asking elsewhere too: p95 of recent ones, within bounds. */
  hedgeMs(): number {
    if (this.#latencies.length < 8) return HEDGE_MS_FIRST;
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const p95 = sorted[Math.floor(sorted.length * 0.95)]!;
    return Math.min(HEDGE_MS_MAX, Math.max(HEDGE_MS_MIN, p95));
  }

  /** State of every node of the committee. */
  report(): NodeHealth[] {
    return this.#nodes.map(node => {
      const record = this.#records.get(node.nodeId);
      const state =
        record === undefined
          ? 'unknown'
          : this.isLiar(node)
            ? 'liar'
            : record.silences >= SILENT_AFTER
              ? 'silent'
              : record.answered
                ? 'ok'
                : 'unknown';
      return {
        index: node.index,
        nodeId: node.nodeId,
        name: node.name,
        address: node.address,
        shards: node.shards.length,
        state,
        lastError: record?.lastError ?? '',
      };
    });
  }
}
