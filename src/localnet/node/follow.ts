/**
 * How nodes learn from the ledger: one poller a process, which reads the ledger's numbered events
 * over HTTP (long poll) and applies each of them once its delay has passed, in order. The ledger
 * being away is no error: the poller tries again until it is stopped.
 */
import { type Clock, systemClock } from '../../base/clock.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { Epoch } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { LedgerEvents, LedgerState } from '../feed.ts';
import type { InvalidCertificate } from './inconsistency.ts';
import { Registry } from './registry.ts';
import type { Chain } from './sync.ts';

const LONG_POLL_MS = 20_000;
const RETRY_MS = 200;

const get = async <T>(rpcUrl: string, path: string, signal: AbortSignal): Promise<T> => {
  const response = await fetch(`${rpcUrl}${path}`, { signal });
  if (!response.ok) {
    throw new TuskError('network', `the ledger answered ${response.status} to ${path}`);
  }
  return (await response.json()) as T;
};

/** Keeps a registry up to date with a ledger, and tells the ledger what nodes have to say. */
export class Follower implements Chain {
  readonly registry: Registry;
  readonly #rpcUrl: string;
  readonly #delayMs: number;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  private constructor(registry: Registry, rpcUrl: string, delayMs: number, clock: Clock) {
    this.registry = registry;
    this.#rpcUrl = rpcUrl;
    this.#delayMs = delayMs;
    this.#clock = clock;
  }

  /** Replays everything that is old enough to be known, then follows in the background. */
  static async start(rpcUrl: string, delayMs: number, clock = systemClock): Promise<Follower> {
    const signal = AbortSignal.timeout(LONG_POLL_MS);
    const state = await get<LedgerState>(rpcUrl, '/localnet/state', signal);
    const follower = new Follower(new Registry(state.epoch, state.nodes), rpcUrl, delayMs, clock);
    const horizonMs = clock.nowMs() - delayMs;
    let since = 0;
    for (;;) {
      const { events } = await follower.#events(since, 0);
      const due = events.filter(event => event.atMs <= horizonMs);
      for (const event of due) follower.registry.apply(event);
      if (due.length === 0 || due.length < events.length) break;
      since = follower.registry.applied;
    }
    follower.#ended = follower.#run();
    return follower;
  }

  /** Node `index` holds what it must hold in this epoch. */
  syncDone(epoch: Epoch, node: number): Promise<void> {
    return this.#post('/localnet/epoch/done', { epoch, node });
  }

  /** Marks a blob invalid. */
  invalidate({ signature, bitmap, message }: InvalidCertificate): Promise<void> {
    const text = (bytes: Buffer) => bytes.toString('base64');
    const body = { signature: text(signature), bitmap: text(bitmap), message: text(message) };
    return this.#post('/localnet/invalidate', body);
  }

  async #post(path: string, body: unknown): Promise<void> {
    const response = await fetch(`${this.#rpcUrl}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      signal: this.#abort.signal,
    });
    if (!response.ok) {
      throw new TuskError('network', `the ledger answered ${response.status} to ${path}`);
    }
  }

  /** Stops following. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  #events(since: number, waitMs: number): Promise<LedgerEvents> {
    const path = `/localnet/events?since=${since}&waitMs=${waitMs}`;
    return get<LedgerEvents>(this.#rpcUrl, path, this.#abort.signal);
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        const { events } = await this.#events(this.registry.applied, LONG_POLL_MS);
        this.registry.pending = events.length;
        for (const event of events) {
          const waitMs = event.atMs + this.#delayMs - this.#clock.nowMs();
          if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
          this.registry.apply(event);
          this.registry.pending--;
        }
      } catch (error) {
        if (signal.aborted) return;
        log('localnet').warn({ error: messageOf(error) }, 'the ledger does not answer');
        await this.#clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }
}
