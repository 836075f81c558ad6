/**
 * A storage node with its listener. Stopping closes the listener and every connection, so that
 * clients see what they see of a dead machine: connection refused.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { messageOf } from '../../base/errors.ts';
import { log } from '../../base/log.ts';
import { Misbehaviour } from './misbehave.ts';
import { Refusal } from './refusal.ts';
import type { Registry } from './registry.ts';
import { answerOf, send } from './routes.ts';
import { type NodeIdentity, NodeService } from './service.ts';
import { NodeStore } from './store.ts';
import { type Chain, Sync } from './sync.ts';

const KEEP_ALIVE_MS = 65_000;

/** Where and as whom a node serves. */
export interface NodeConfig {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly identity: NodeIdentity;
  /** PEM key and certificate; plain http without. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** How it misbehaves from the start (see `Misbehaviour`). */
  readonly misbehaves?: readonly string[];
}

/** One node; may be started and stopped any number of times. Without a `chain` it only serves. */
export class StorageNode {
  readonly config: NodeConfig;
  readonly #registry: Registry;
  readonly #chain: Chain | undefined;
  #service: NodeService | undefined;
  #server: Server | undefined;
  #sync: Sync | undefined;
  #misbehaviour: Misbehaviour;

  constructor(config: NodeConfig, registry: Registry, chain?: Chain) {
    this.config = config;
    this.#registry = registry;
    this.#chain = chain;
    this.#misbehaviour = new Misbehaviour(config.misbehaves);
  }

  /** From now on it misbehaves so, and in no other way. */
  misbehave(misbehaviour: Misbehaviour): void {
    this.#misbehaviour = misbehaviour;
    if (this.#service !== undefined) {
      this.#service.store.keepsSlivers = !misbehaviour.has('forgets');
    }
  }

  /** Is it serving? */
  get up(): boolean {
    return this.#server !== undefined;
  }

  /** Port that it listens on (of use where the configured one is 0); 0 while stopped. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Listens on its port of 127.0.0.1. */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const { identity, directory, tls, port } = this.config;
    const service = new NodeService(identity, this.#registry, new NodeStore(directory));
    await service.open();
    const startedAtMs = performance.now();
    const onRequest = (request: IncomingMessage, response: ServerResponse) =>
      void this.#handle(service, startedAtMs, request, response);
    const server =
      tls === undefined ? createHttpServer(onRequest) : createHttpsServer(tls, onRequest);
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    }).catch(error => {
      service.close();
      throw error;
    });
    this.#service = service;
    this.#server = server;
    this.misbehave(this.#misbehaviour);
    if (this.#chain !== undefined) {
      this.#sync = new Sync(service, this.#chain);
      this.#sync.start();
    }
  }

  /** Refuses connections from now on; what is stored stays. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await this.#sync?.stop();
    this.#service?.close();
    const closed = new Promise(resolve => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async #handle(
    service: NodeService,
    startedAtMs: number,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    try {
      const honest = () => answerOf(service, startedAtMs, request);
      await this.#misbehaviour.answer(service, request, response, honest);
    } catch (error) {
      if (response.destroyed) return;
      const refusal =
        error instanceof Refusal
          ? error
          : new Refusal('INTERNAL_ERROR', 'an internal error has occurred, please report it');
      const facts = { node: this.config.name, url: request.url, error: messageOf(error) };
      if (refusal.reason === 'INTERNAL_ERROR') log('localnet').error(facts, 'request failed');
      else log('localnet').debug(facts, 'refused');
      send(response, { code: refusal.httpStatus, json: refusal.toJson() });
    }
  }
}
