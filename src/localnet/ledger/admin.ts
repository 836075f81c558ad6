/**
 * The ledger's plain HTTP interface under /localnet, for storage nodes (state, events), for
 * `tuskfs localnet` and for tests. JSON in, JSON out; big numbers are decimal strings; an error
 * is `{error: {code, message}}`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { messageOf, TuskError } from '../../base/errors.ts';
import { readSystem } from './epochs.ts';
import { readBody } from './grpcweb.ts';
import { Blob } from './layouts.ts';
import type { Ledger } from './ledger.ts';
import { blobFacts } from './move/system.ts';

/** Coins of one faucet call: 1,000 WAL and 100 SUI. */
const FAUCET_WAL = 1_000_000_000_000n;
const FAUCET_SUI = 100_000_000_000n;
/** Longest wait of one events call. */
const WAIT_MS_MAX = 60_000;

/** Amounts and prices: far below what 64 bits hold, however many coins are joined. */
const AMOUNT_MAX = 10n ** 16n;
const amount = z
  .union([z.string().regex(/^\d{1,17}$/), z.int().nonnegative()])
  .transform(BigInt)
  .refine(value => value <= AMOUNT_MAX, `at most ${AMOUNT_MAX}`);
const address = z.string().regex(/^0x[0-9a-fA-F]{1,64}$/);
const FaucetBody = z.strictObject({
  address,
  wal: amount.default(FAUCET_WAL),
  sui: amount.default(FAUCET_SUI),
});
const PriceBody = z.strictObject({ storage: amount, write: amount });
const AdvanceBody = z.strictObject({ by: z.int().min(1).max(1000).default(1) });
const StakeBody = z.strictObject({
  stakes: z.array(z.strictObject({ node: z.int().nonnegative(), frost: amount })).min(1),
});
const SyncBody = z.strictObject({ epoch: z.int(), node: z.int().nonnegative() });
const base64 = z.base64().transform(text => Buffer.from(text, 'base64'));
const InvalidateBody = z.strictObject({ signature: base64, bitmap: base64, message: base64 });
const EventsQuery = z.object({
  since: z.coerce.number().int().nonnegative().default(0),
  waitMs: z.coerce.number().int().nonnegative().max(WAIT_MS_MAX).default(0),
});

/** All Blob objects with their owners: registered ones, expired ones too, until they are deleted or burned. */
const blobs = (ledger: Ledger) => {
  const { network } = ledger.machine;
  const state = readSystem(ledger.view(), network);
  return ledger.store.objectsOfType(network.names.blob).map(object => {
    const blob = Blob.parse(object.contents);
    const { epoch: _now, ...facts } = blobFacts(state, blob);
    return {
      ...facts,
      owner: object.owner.kind === 'address' ? object.owner.address : object.owner.kind,
      registeredEpoch: blob.registered_epoch,
      certifiedEpoch: blob.certified_epoch,
      storageBytes: String(blob.storage.storage_size),
      version: object.version,
    };
  });
};

const priceText = (prices: { storage: bigint; write: bigint }) => ({
  storage: String(prices.storage),
  write: String(prices.write),
});

interface Call {
  readonly ledger: Ledger;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly signal: AbortSignal;
  /** Ends the server once the answer is out. */
  readonly stop: () => void;
}
type Route = (call: Call) => unknown;

const ROUTES: Readonly<Record<string, Route>> = {
  'GET /localnet/state': ({ ledger }) => ledger.state(),
  'GET /localnet/events': async ({ ledger, query, signal }) => {
    const { since, waitMs } = EventsQuery.parse(Object.fromEntries(query));
    return { events: await ledger.events(since, waitMs, signal) };
  },
  'GET /localnet/blobs': ({ ledger }) => ({ blobs: blobs(ledger) }),
  'GET /localnet/transactions': ({ ledger, query }) => ({
    transactions: ledger.store.transactions(query.get('sender') ?? undefined),
  }),
  'GET /localnet/price': ({ ledger }) => priceText(ledger.prices()),
  'POST /localnet/price': ({ ledger, body }) => {
    ledger.setPrices(PriceBody.parse(body));
    return priceText(ledger.prices());
  },
  'POST /localnet/faucet': ({ ledger, body }) => {
    const wanted = FaucetBody.parse(body);
    const made = ledger.faucet(wanted.address, wanted.wal, wanted.sui);
    return { ...made, wal: String(wanted.wal), sui: String(wanted.sui) };
  },
  'POST /localnet/epoch/advance': ({ ledger, body }) => {
    const { by } = AdvanceBody.parse(body);
    let epoch = 0;
    for (let i = 0; i < by; i++) epoch = ledger.advanceEpoch();
    return { epoch, suiEpoch: ledger.suiEpoch() };
  },
  'POST /localnet/stake': ({ ledger, body }) => {
    const { stakes } = StakeBody.parse(body);
    ledger.setStakes(new Map(stakes.map(({ node, frost }) => [node, frost])));
    return {};
  },
  'POST /localnet/epoch/done': ({ ledger, body }) => {
    const { epoch, node } = SyncBody.parse(body);
    ledger.syncDone(epoch, node);
    return {};
  },
  'POST /localnet/invalidate': ({ ledger, body }) => {
    const { signature, bitmap, message } = InvalidateBody.parse(body);
    ledger.invalidate(signature, bitmap, message);
    return {};
  },
  'POST /localnet/stop': ({ stop }) => {
    stop();
    return { stopping: true };
  },
};

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  const raw = await readBody(request);
  if (raw.length === 0) return {};
  try {
    return JSON.parse(raw.toString());
  } catch {
    throw new TuskError('usage', 'the request body is no JSON');
  }
};

const failure = (error: unknown): { status: number; code: string; message: string } => {
  if (error instanceof z.ZodError)
    return { status: 400, code: 'usage', message: z.prettifyError(error) };
  if (!(error instanceof TuskError))
    return { status: 500, code: 'internal', message: messageOf(error) };
  const status = error.code === 'not_found' ? 404 : error.kind === 'bug' ? 500 : 400;
  return { status, code: error.code, message: error.message };
};

/** Serves one call under /localnet. */
export const serveAdmin = async (
  ledger: Ledger,
  request: IncomingMessage,
  response: ServerResponse,
  stop: () => void,
): Promise<void> => {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const send = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(value)}\n`);
  };
  try {
    const route = ROUTES[`${request.method} ${url.pathname}`];
    if (route === undefined)
      throw new TuskError('not_found', `${request.method} ${url.pathname} is unknown here`);
    const body = request.method === 'POST' ? await bodyOf(request) : {};
    const { searchParams: query } = url;
    send(200, await route({ ledger, query, body, signal: gone.signal, stop }));
  } catch (error) {
    const { status, ...rest } = failure(error);
    send(status, { error: rest });
  }
};
