/**
 * One request to one storage node: keep-alive pools, a deadline for silence, bodies bounded in
 * size, and every failure as a `TuskError` whose kind says whether to try again.
 */
import { type Dispatcher, Pool } from 'undici';
import { abortError, throwIfAborted } from '../../base/abort.ts';
import { after, type BootTime, bootTime } from '../../base/clock.ts';
import { messageOf, systemCode, TuskError } from '../../base/errors.ts';
import type { StorageNode } from '../network.ts';
import { type Answer, Exchange, type Sink } from './exchange.ts';
import { pinnedConnector } from './tls.ts';

const CONNECT_MS = 5_000;
/** Requests to one node at a time; more wait for them. */
export const CONNECTIONS_PER_NODE = 6;
const JSON_BYTES_MAX = 64 * 1024;
/** A body that brings fewer bytes than this in a request's time is late; more is a slow line. */
const SLOW_BYTES = 16 * 1024;

/**
 * A request; `bodyBytesMax` bounds the answer, whose body goes `into` something else where that is
 * given. It has `timeoutMs` to be answered, and as long again whenever enough of the body came.
 */
export interface NodeRequest {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly body?: Buffer;
  readonly accept: 'json' | 'bytes';
  readonly bodyBytesMax?: number;
  readonly into?: Sink;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const isOk = (status: number): boolean => status >= 200 && status < 300;

const optionsOf = ({ method, path, accept, body }: NodeRequest): Dispatcher.DispatchOptions => ({
  method,
  path,
  headers: {
    accept: accept === 'json' ? 'application/json' : 'application/octet-stream',
    ...(body === undefined ? {} : { 'content-type': 'application/octet-stream' }),
  },
  body: body ?? null,
  // Deadlines are kept by the caller.
  headersTimeout: 0,
  bodyTimeout: 0,
});

const late = (
  node: StorageNode,
  { method, path, timeoutMs }: NodeRequest,
  received: number,
): TuskError =>
  new TuskError(
    'timeout',
    received === 0
      ? `storage node ${node.name} did not answer ${method} ${path} within ${timeoutMs} ms`
      : `storage node ${node.name} stopped answering ${method} ${path}: after ${received} bytes almost nothing came for ${timeoutMs} ms`,
    { details: { node: node.name } },
  );

/** How a storage node refused: HTTP status and the reason it gave. */
const refusal = (node: StorageNode, request: NodeRequest, { status, headers, body }: Answer) => {
  const { reason, message } = errorFields(body);
  const after = Number(headers['retry-after']) * 1000;
  const retryAfterMs = Number.isFinite(after) ? after : 0;
  const details = { node: node.name, status, reason, retryAfterMs };
  const what = `${request.method} ${request.path}`;
  if (status === 451) {
    return new TuskError('blocked', `storage node ${node.name} blocks this blob (451)`, {
      kind: 'permanent',
      details,
    });
  }
  const transient =
    status >= 500 || status === 429 || status === 408 || reason === 'NOT_REGISTERED';
  return new TuskError(
    'node_refused',
    `storage node ${node.name} refused ${what}: ${status} ${message}`,
    { kind: transient ? 'transient' : 'permanent', details },
  );
};

const errorFields = (body: Buffer): { reason: string; message: string } => {
  try {
    const { error } = JSON.parse(body.toString('utf8')) as {
      error?: { message?: unknown; details?: { reason?: unknown }[] };
    };
    return {
      reason: String(error?.details?.[0]?.reason ?? ''),
      message: String(error?.message ?? '').slice(0, 300),
    };
  } catch {
    return { reason: '', message: body.subarray(0, 100).toString('latin1') };
  }
};

/** A failure of the connection itself: nothing was answered. */
const unreachable = (node: StorageNode, error: unknown): TuskError => {
  if (error instanceof TuskError) return error;
  return new TuskError(
    'network',
    `storage node ${node.name} at ${node.address} cannot be reached: ${messageOf(error) || systemCode(error) || 'connection failed'}`,
    { cause: error, details: { node: node.name } },
  );
};

/** True for a failure before the node said anything (refused, reset, timed out). */
export const isSilence = (error: unknown): boolean =>
  error instanceof TuskError && (error.code === 'network' || error.code === 'timeout');

/** Keep-alive connections to the nodes of a network. */
export class NodeHttp {
  readonly #scheme: 'http' | 'https';
  readonly #pools = new Map<string, Pool>();
  readonly #time: BootTime;
  /** The sleep of the machine that the pools have outlived. */
  #sleptMs: number;

  constructor(scheme: 'http' | 'https', time = bootTime) {
    this.#scheme = scheme;
    this.#time = time;
    this.#sleptMs = time.sleptMs;
  }

  /** Connections from before a sleep are dead, though nobody said so: what waits on them is tried again on new ones. */
  #wake(): void {
    this.#time.nowMs();
    if (this.#time.sleptMs === this.#sleptMs) return;
    this.#sleptMs = this.#time.sleptMs;
    const asleep = new TuskError('network', 'the connection is from before the machine slept');
    for (const pool of this.#pools.values()) void pool.destroy(asleep);
    this.#pools.clear();
  }

  #pool(node: StorageNode): Pool {
    this.#wake();
    const key = `${node.address} ${node.networkPublicKey.toString('hex')}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = new Pool(`${this.#scheme}://${node.address}`, {
        connections: CONNECTIONS_PER_NODE,
        keepAliveTimeout: 10_000,
        connect:
          this.#scheme === 'https' ? pinnedConnector(node, CONNECT_MS) : { timeout: CONNECT_MS },
      });
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Body of a successful answer; rejects on any other. */
  async send(node: StorageNode, request: NodeRequest): Promise<Buffer> {
    return (await this.#limited(node, request)).body;
  }

  /** Puts a body; true if the node says that it was new to it (201). */
  async put(node: StorageNode, request: Omit<NodeRequest, 'accept'>): Promise<boolean> {
    return (await this.#limited(node, { ...request, accept: 'json' })).status === 201;
  }

  async #limited(node: StorageNode, request: NodeRequest): Promise<Answer> {
    const { signal, timeoutMs } = request;
    throwIfAborted(signal);
    const max = request.bodyBytesMax ?? JSON_BYTES_MAX;
    const exchange = new Exchange(
      status => (isOk(status) ? max : JSON_BYTES_MAX),
      bytesMax => badAnswer(node, `a body longer than ${bytesMax} bytes`),
      status => (isOk(status) ? request.into : undefined),
    );
    const follow = () => exchange.abort(abortError(signal));
    signal.addEventListener('abort', follow, { once: true });
    let stop = () => {};
    const watch = (seen: number): void => {
      const look = () => {
        const received = exchange.bytesReceived;
        if (received - seen < SLOW_BYTES) exchange.abort(late(node, request, received));
        else watch(received);
      };
      stop = after(timeoutMs, look, this.#time);
    };
    watch(0);
    try {
      this.#pool(node).dispatch(optionsOf(request), exchange);
      const answer = await exchange.answer;
      if (isOk(answer.status)) return answer;
      throw refusal(node, request, answer);
    } catch (error) {
      throw unreachable(node, error);
    } finally {
      stop();
      signal.removeEventListener('abort', follow);
    }
  }

  /** As `send`, for `{success: {data}}` answers. */
  async json(node: StorageNode, request: Omit<NodeRequest, 'accept'>): Promise<unknown> {
    const body = await this.send(node, { ...request, accept: 'json' });
    try {
      const parsed = JSON.parse(body.toString('utf8')) as { success?: { data?: unknown } };
      return parsed.success?.data;
    } catch (cause) {
      throw badAnswer(node, `no JSON from ${request.path}`, cause);
    }
  }

  /** Closes every connection at once. */
  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map(pool => pool.destroy()));
  }
}

/** The error for an answer that makes no sense. */
export const badAnswer = (node: StorageNode, what: string, cause?: unknown): TuskError =>
  new TuskError('node_refused', `storage node ${node.name} answered nonsense: ${what}`, {
    cause,
    kind: 'permanent',
    details: { node: node.name },
  });
