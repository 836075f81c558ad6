/**
 * Starts and stops a ledger: the database in its directory, one HTTP server on 127.0.0.1 that
 * speaks gRPC-web and the /localnet interface, and the clock that ends epochs.
 */
import { mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../base/clock.ts';
import { systemCode, TuskError } from '../../base/errors.ts';
import { log } from '../../base/log.ts';
import { type Random, systemRandom } from '../../base/random.ts';
import { serveAdmin } from './admin.ts';
import { createLedger } from './create.ts';
import type { GenesisOptions } from './genesis.ts';
import { isGrpcWeb, serveGrpcWeb } from './grpcweb.ts';
import { Ledger } from './ledger.ts';
import { serviceHandlers } from './services.ts';
import { Store } from './store.ts';

const logger = log('ledger');

/** Longest sleep that timers take without overflow (12 days). */
const SLEEP_MS_MAX = 2 ** 30;

/** How often a change of the epoch that is not done is looked at. */
const SYNC_POLL_MS = 200;

/** How to start a ledger. */
export interface LedgerOptions {
  /** Where ledger.db lies; made if missing. */
  readonly directory: string;
  /** Port on 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  /** Needed at the first start, ignored later: the ledger goes on from what it has. */
  readonly genesis?: GenesisOptions;
  /** Reads see a transaction only so long after it was executed; 0 by default. */
  readonly readLagMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A running ledger. */
export interface LedgerHandle {
  readonly port: number;
  /** Base URL for gRPC-web clients and for /localnet. */
  readonly url: string;
  readonly ledger: Ledger;
  /** Resolves when the ledger was told to stop over HTTP and has closed. */
  readonly stopped: Promise<void>;
  close(): Promise<void>;
}

const openLedger = (options: LedgerOptions): Ledger => {
  mkdirSync(options.directory, { recursive: true });
  const store = new Store(join(options.directory, 'ledger.db'));
  const parts = {
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    readLagMs: options.readLagMs ?? 0,
  };
  try {
    if (store.lastSeq() === 0) {
      if (options.genesis === undefined)
        throw new TuskError('not_found', `there is no localnet in ${options.directory} yet`);
      createLedger(store, options.genesis, parts);
    }
    return new Ledger(store, parts);
  } catch (error) {
    store.close();
    throw error;
  }
};

const listen = (server: Server, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', cause => {
      const taken = systemCode(cause) === 'EADDRINUSE';
      const why = taken ? 'is taken by another process: choose another one' : cause.message;
      reject(
        new TuskError(taken ? 'busy' : 'io', `ledger: port ${port} on 127.0.0.1: ${why}`, {
          cause,
        }),
      );
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });

/** Ends epochs by the clock; returns how to stop. */
const runEpochs = (ledger: Ledger, clock: Clock): (() => void) => {
  const stopping = new AbortController();
  const run = async () => {
    for (;;) {
      const { epochMs, startedMs } = ledger.epochClock();
      if (epochMs === 0) return;
      const leftMs = startedMs === undefined ? SYNC_POLL_MS : startedMs + epochMs - clock.nowMs();
      if (leftMs <= 0) ledger.advanceEpoch();
      else await clock.sleep(Math.min(leftMs, SLEEP_MS_MAX), stopping.signal);
    }
  };
  run().catch(error => {
    if (!stopping.signal.aborted) logger.error({ err: error }, 'epochs stand still');
  });
  return () => stopping.abort();
};

/** Opens (at the first start: creates) a ledger and serves it. */
export const startLedger = async (options: LedgerOptions): Promise<LedgerHandle> => {
  const ledger = openLedger(options);
  const handlers = serviceHandlers(ledger);
  let closing: Promise<void> | undefined;
  const server = createServer((request, response) => {
    const serve = isGrpcWeb(request)
      ? serveGrpcWeb(handlers, request, response)
      : serveAdmin(ledger, request, response, () => {
          response.on('close', () => void close());
        });
    serve.catch(error => {
      logger.warn({ err: error, url: request.url }, 'request broke off');
      response.destroy();
    });
  });
  server.keepAliveTimeout = 60_000;
  const port = await listen(server, options.port).catch(error => {
    ledger.store.close();
    throw error;
  });
  const endEpochs = runEpochs(ledger, options.clock ?? systemClock);
  const { promise: stopped, resolve: haveStopped } = Promise.withResolvers<void>();
  const close = (): Promise<void> => {
    closing ??= (async () => {
      endEpochs();
      await new Promise<void>(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      ledger.store.close();
      haveStopped();
    })();
    return closing;
  };
  return { port, url: `http://127.0.0.1:${port}`, ledger, stopped, close };
};
