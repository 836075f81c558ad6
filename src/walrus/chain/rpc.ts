/**
 * Calls to Sui's gRPC-web services. Every call has a deadline, failures on the way are tried again
 * at the next address (the calls stay there for a while, then the first is given another chance), and what comes back as an error is a `TuskError` that carries gRPC's status
 * in `details.grpc`. Nothing here knows Walrus.
 */
import { type GrpcTypes, RpcError, SuiGrpcClient } from '@mysten/sui/grpc';
import { fetch as undiciFetch } from 'undici';
import { within } from '../../base/abort.ts';
import { messageOf, TuskError } from '../../base/errors.ts';
import type { SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import { Connections } from '../connections.ts';
import { type Parts, type RetryPolicy, retry } from '../retry.ts';

const CALL_TIMEOUT_MS = 15_000;
const READ_RETRY: RetryPolicy = { tries: 5, baseMs: 100, maxMs: 2_000, withinMs: CALL_TIMEOUT_MS };
const ONCE: RetryPolicy = { tries: 1, baseMs: 0, maxMs: 0 };
/** After a failure an address is passed over so long, if there are others. */
const AVOID_MS = 60_000;
/** Most ids of one BatchGetObjects, and most objects of one page. */
const BATCH_MAX = 50;
/** Pages followed in one listing: a bound on work, 50,000 objects. */
const PAGES_MAX = 1_000;

/** What Sui says of the request. Anything else is said of the way to it: by a gate that wants a key, by a node that is busy. */
const PERMANENT: Record<string, 'not_found' | 'tx_failed' | 'unsupported'> = {
  NOT_FOUND: 'not_found',
  UNIMPLEMENTED: 'unsupported',
  INVALID_ARGUMENT: 'tx_failed',
  FAILED_PRECONDITION: 'tx_failed',
  ABORTED: 'tx_failed',
  OUT_OF_RANGE: 'tx_failed',
};

/** An answer of the server that the request itself was refused (not a failure on the way). */
export const isRefusal = (error: unknown): error is TuskError =>
  error instanceof TuskError && typeof error.details.grpc === 'string' && error.code !== 'network';

const toTuskError = (what: string, url: string, error: unknown): unknown => {
  if (error instanceof TuskError) {
    if (error.code !== 'timeout') return error;
    const late = `Sui did not answer (${what} at ${url}): ${error.message}`;
    return new TuskError('timeout', late, { cause: error, details: { what } });
  }
  const grpc = error instanceof RpcError ? error.code : undefined;
  const code = (grpc === undefined ? undefined : PERMANENT[grpc]) ?? 'network';
  const text =
    code === 'network'
      ? `Sui did not answer (${what} at ${url}): ${messageOf(error)}`
      : `Sui refused ${what}: ${messageOf(error)}`;
  return new TuskError(code, text, { cause: error, details: { grpc, what } });
};

const CONNECTIONS = { connections: 16, keepAliveTimeout: 10_000 };

/** A shared connection to one network's fullnodes. */
export class SuiRpc {
  readonly #urls: readonly string[];
  readonly #clients: readonly SuiGrpcClient[];
  readonly #connections: Connections;
  readonly #parts: Parts;
  readonly #lifetime = new AbortController();
  /** When each address last failed; those that never did come first. */
  readonly #failedMs: number[];

  constructor(
    network: string,
    urls: readonly string[],
    parts: Parts,
    connections = new Connections(CONNECTIONS),
  ) {
    this.#urls = urls;
    this.#connections = connections;
    this.#parts = parts;
    this.#failedMs = urls.map(() => Number.NEGATIVE_INFINITY);
    const agentFetch = ((url: string, init: object) =>
      this.#fetch(url, init)) as unknown as typeof fetch;
    this.#clients = urls.map(
      baseUrl => new SuiGrpcClient({ network, baseUrl, format: 'binary', fetch: agentFetch }),
    );
  }

  /** The first address that has not failed of late; if all have, the one whose failure is oldest. */
  #best(): number {
    const since = this.#parts.clock.monotonicMs() - AVOID_MS;
    const usable = this.#failedMs.findIndex(failed => failed < since);
    return usable >= 0 ? usable : this.#failedMs.indexOf(Math.min(...this.#failedMs));
  }

  async #fetch(url: string, init: object): Promise<Response> {
    // What wraps its errors drops their cause, where fetch keeps the reason.
    const answer = await undiciFetch(url, { ...init, dispatcher: this.#connections.agent }).catch(
      (error: unknown) => {
        throw new Error(messageOf(error), { cause: error });
      },
    );
    if (answer.ok) return answer;
    // Sui refuses with 200 and a status of gRPC: any other is of what stands in front of it.
    await answer.body?.cancel();
    throw new Error(`HTTP status ${answer.status}`);
  }

  /** One call; `again` says that a failure on the way may be tried again, on the next address. */
  async call<T extends object>(
    what: string,
    signal: AbortSignal | undefined,
    send: (client: SuiGrpcClient, abort: AbortSignal) => PromiseLike<{ response: T }>,
    again = true,
  ): Promise<T> {
    const { clock } = this.#parts;
    const closed = this.#lifetime.signal;
    const until = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    const endMs = clock.monotonicMs() + CALL_TIMEOUT_MS;
    // Who waits hears the reason when this time is over; of addresses that hang each has its share of it.
    const shareMs = CALL_TIMEOUT_MS / (again ? this.#urls.length : 1);
    return retry(again ? READ_RETRY : ONCE, this.#parts, until, async () => {
      const index = this.#best();
      const limitMs = Math.min(shareMs, endMs - clock.monotonicMs());
      try {
        return await within(until, limitMs, async abort => {
          return (await send(this.#clients[index]!, abort)).response;
        });
      } catch (error) {
        const mapped = toTuskError(what, this.#urls[index]!, error);
        if (!until.aborted && !isRefusal(mapped)) {
          this.#failedMs[index] = this.#parts.clock.monotonicMs();
          const facts = { url: this.#urls[index], why: messageOf(mapped) };
          log('walrus').info(facts, 'an address of Sui failed');
        }
        throw mapped;
      }
    });
  }

  /** Objects by id, in order; undefined where the chain knows none. `paths` is the read mask. */
  async objects(
    ids: readonly SuiId[],
    paths: readonly string[],
    signal?: AbortSignal,
  ): Promise<(GrpcTypes.Object | undefined)[]> {
    const batches: Promise<(GrpcTypes.Object | undefined)[]>[] = [];
    for (let at = 0; at < ids.length; at += BATCH_MAX)
      batches.push(this.#batch(ids.slice(at, at + BATCH_MAX), paths, signal));
    return (await Promise.all(batches)).flat();
  }

  async #batch(
    ids: readonly SuiId[],
    paths: readonly string[],
    signal?: AbortSignal,
  ): Promise<(GrpcTypes.Object | undefined)[]> {
    const { objects } = await this.call('BatchGetObjects', signal, (client, abort) =>
      client.ledgerService.batchGetObjects(
        { requests: ids.map(objectId => ({ objectId })), readMask: { paths: [...paths] } },
        { abort },
      ),
    );
    if (objects.length !== ids.length) {
      throw new TuskError('network', 'Sui answered BatchGetObjects with another number of objects');
    }
    return objects.map(({ result }) => (result.oneofKind === 'object' ? result.object : undefined));
  }

  /** Every object of one type that an address owns, pages followed. */
  async owned(
    owner: SuiId,
    objectType: string,
    paths: readonly string[],
    signal?: AbortSignal,
  ): Promise<GrpcTypes.Object[]> {
    const all: GrpcTypes.Object[] = [];
    let pageToken: Uint8Array | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const answer: GrpcTypes.ListOwnedObjectsResponse = await this.call(
        'ListOwnedObjects',
        signal,
        (client, abort) =>
          client.stateService.listOwnedObjects(
            {
              owner,
              objectType,
              pageSize: BATCH_MAX,
              readMask: { paths: [...paths] },
              ...(pageToken === undefined ? {} : { pageToken }),
            },
            { abort },
          ),
      );
      all.push(...answer.objects);
      pageToken = answer.nextPageToken;
      if (pageToken === undefined || pageToken.length === 0) return all;
    }
    throw new TuskError('unsupported', `${owner} owns too many objects of type ${objectType}`);
  }

  /** Sum of an address' coins of one type. */
  async balance(owner: SuiId, coinType: string, signal?: AbortSignal): Promise<bigint> {
    const { balance } = await this.call('GetBalance', signal, (client, abort) =>
      client.stateService.getBalance({ owner, coinType }, { abort }),
    );
    return balance?.balance ?? 0n;
  }

  /** Sui's own epoch and the price of a unit of gas in it, in MIST. */
  async epoch(signal?: AbortSignal): Promise<{ epoch: number; gasPrice: bigint }> {
    const { epoch } = await this.call('GetEpoch', signal, (client, abort) =>
      client.ledgerService.getEpoch(
        { readMask: { paths: ['epoch', 'reference_gas_price'] } },
        { abort },
      ),
    );
    if (epoch?.epoch === undefined || epoch.referenceGasPrice === undefined) {
      throw new TuskError('network', 'Sui answered GetEpoch without epoch or gas price');
    }
    return { epoch: Number(epoch.epoch), gasPrice: epoch.referenceGasPrice };
  }

  /** Closes every connection; calls under way reject. */
  async close(): Promise<void> {
    this.#lifetime.abort(new TuskError('aborted', 'the connection to Sui was closed'));
    await this.#connections.close();
  }
}
