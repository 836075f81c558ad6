/**
 * The upload relay and the aggregator of a localnet behind one port of 127.0.0.1: both official
 * HTTP APIs, whose paths do not meet.
 */
import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { messageOf, TuskError } from '../../base/errors.ts';
import { blobIdFromBytes, blobIdToBytes, type SuiId } from '../../base/ids.ts';
import { log } from '../../base/log.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Tip } from '../parameters.ts';
import { GatewayError, serveBlob } from './aggregator.ts';
import { receive, storeBlob, withScratch } from './relay.ts';
import { RelayError } from './relay-error.ts';
import { checkPayment, tipConfig } from './tip.ts';

/** What the gateway needs of the localnet around it. */
export interface GatewayOptions {
  readonly port: number;
  /** Made if missing; bodies lie here while they are worked on. */
  readonly directory: string;
  readonly ledger: Ledger;
  readonly tip: () => Tip;
}

/** A running gateway. */
export interface Gateway {
  readonly url: string;
  close(): Promise<void>;
}

const BLOB = /^\/v1\/blobs\/([\w-]{43})$/;
const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': '*',
  'access-control-allow-headers': '*',
};

/** Address that tips go to: nobody's, one a ledger. */
const tipAddress = (ledger: Ledger): SuiId => ledger.machine.network.ids.stakingObject;

const relay = async (
  { ledger, directory, tip }: GatewayOptions,
  query: URLSearchParams,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<unknown> => {
  const blobId = query.get('blob_id') ?? '';
  if (blobIdFromBytes(blobIdToBytes(blobId)) !== blobId || blobIdToBytes(blobId).length !== 32) {
    throw new RelayError(400, `the blob ID ${JSON.stringify(blobId)} is invalid`);
  }
  const encoding = query.get('encoding_type') ?? 'RS2';
  if (encoding !== 'RS2') throw new RelayError(400, `unsupported encoding type ${encoding}`);
  const wanted = tip();
  const [txId, nonce] = [query.get('tx_id'), query.get('nonce')];
  if (wanted !== 'none' && (txId === null || nonce === null)) {
    throw new RelayError(
      400,
      'The query parameters are missing the transaction ID or the nonce, but the proxy requires them to check the tip payment.',
    );
  }
  return withScratch(directory, async scratch => {
    const received = await receive(request, scratch);
    const state = ledger.state();
    if (wanted !== 'none') {
      const payment = {
        executed: ledger.store.transaction(txId!)?.executed,
        nonce: Buffer.from(nonce!, 'base64url'),
        blobDigest: received.sha256,
        size: received.size,
      };
      checkPayment(wanted, tipAddress(ledger), payment, state.nShards, ledger.nowMs());
    }
    const objectId = query.get('deletable_blob_object') ?? undefined;
    return storeBlob(state, received, blobId, objectId, signal);
  });
};

const answer = async (
  options: GatewayOptions,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://gateway');
  const json = (code: number, value: unknown) => {
    const body = Buffer.from(JSON.stringify(value));
    const headers = { 'content-type': 'application/json', 'content-length': body.length, ...CORS };
    response.writeHead(code, headers).end(body);
  };
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const [, blobId] = BLOB.exec(pathname) ?? [];
  if (request.method === 'OPTIONS') response.writeHead(200, CORS).end();
  else if (isRead && pathname === '/v1/tip-config') {
    json(200, tipConfig(options.tip(), tipAddress(options.ledger)));
  } else if (request.method === 'POST' && pathname === '/v1/blob-upload-relay') {
    json(200, await relay(options, searchParams, request, signal));
  } else if (isRead && blobId !== undefined) {
    await serveBlob(options.ledger.state(), blobId, request, response, signal);
  } else if (isRead && pathname === '/status') response.writeHead(200).end('OK');
  else throw new RelayError(404, 'there is no such endpoint');
};

const fail = (response: ServerResponse, error: unknown): void => {
  if (response.headersSent || response.destroyed) return void response.destroy();
  if (error instanceof GatewayError) {
    response.writeHead(error.code, { 'content-type': 'application/json' });
    return void response.end(JSON.stringify(error.json));
  }
  const known = error instanceof RelayError;
  if (!known) log('localnet').warn({ error: messageOf(error) }, 'gateway request failed');
  response.writeHead(known ? error.code : 500, { 'content-type': 'text/plain', ...CORS });
  response.end(known ? error.message : 'internal client error');
};

/** Starts serving. */
export const startGateway = async (options: GatewayOptions): Promise<Gateway> => {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.on('close', () => gone.abort(new TuskError('aborted', 'the client went away')));
    answer(options, request, response, gone.signal).catch(error => fail(response, error));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${options.port}`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
