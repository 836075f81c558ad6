/**
 * The official HTTP API of a storage node: paths, queries and answers around `NodeService`. Blob
 * IDs in paths are unpadded URL-safe base64; JSON answers have the shape
 * `{ success: { code, data } }`; bytes are BCS.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type BlobId, blobIdFromBytes, blobIdToBytes, type SliverType } from '../../base/ids.ts';
import { metadataBytesMax, writeDecodingSymbols, writeRecoverySymbols } from './bcs.ts';
import { readBody, usingBody } from './body.ts';
import { giveBack } from './buffers.ts';
import { healthOf } from './health.ts';
import { attest } from './inconsistency.ts';
import { Refusal } from './refusal.ts';
import type { NodeService } from './service.ts';
import { decodingSymbols, recoverySymbols, type SymbolFilter } from './symbols.ts';

const REGISTRATION_WAIT_MS_MAX = 30_000;
/** Requests for recovery symbols that a node works on at a time; more are told to come again (503). */
const RECOVERY_REQUESTS_MAX = 32;

/** A symbol of the largest blob and its proof, for every shard there can be. */
const PROOF_BYTES_MAX = 1000 * (65_536 + 1024);

/** An answer on its way out; `sent` is told when its bytes are no longer needed. */
export type Answer =
  | { readonly code: number; readonly json: unknown }
  | { readonly code: number; readonly bytes: Uint8Array; readonly sent?: () => void };

interface Call {
  readonly node: NodeService;
  readonly request: IncomingMessage;
  readonly query: URLSearchParams;
}

const success = (data: unknown, code = 200): Answer => ({
  code,
  json: { success: { code, data } },
});
const bcs = (bytes: Uint8Array): Answer => ({ code: 200, bytes });
const stored = (found: boolean): Answer => success(found ? 'stored' : 'nonexistent');
const notFound = (): Refusal => new Refusal('ENDPOINT_NOT_FOUND', 'there is no such endpoint');

const BLOB = /^\/v1\/blobs\/([^/]+)\/(.+)$/;
/** What follows the blob in the path of a sliver: pair, type, `/status`. */
export const SLIVER = /^slivers\/(\d{1,5})\/(primary|secondary)(\/status)?$/;
const INCONSISTENCY = /^inconsistencyProof\/(primary|secondary)$/;
const DELETABLE = /^confirmation\/deletable\/0x([0-9a-fA-F]{1,64})$/;

/** A path below `/v1/blobs/`. */
export interface BlobPath {
  readonly blobId: BlobId;
  readonly rest: string;
}

/** Blob and what of it a request is about; undefined if it is about none. */
export const blobPathOf = (request: IncomingMessage): BlobPath | undefined => {
  const [, id, rest] = BLOB.exec(pathOf(request).pathname) ?? [];
  return id === undefined || rest === undefined ? undefined : { blobId: parseBlobId(id), rest };
};

const pathOf = (request: IncomingMessage): URL => new URL(request.url ?? '/', 'http://node');

/** Answers one request; throws a `Refusal` for what the node does not grant. */
export const answerOf = async (
  node: NodeService,
  startedAtMs: number,
  request: IncomingMessage,
): Promise<Answer> => {
  const url = pathOf(request);
  const call = { node, request, query: url.searchParams };
  if (url.pathname === '/v1/health' && request.method === 'GET') {
    return success(healthOf(node, startedAtMs, url.searchParams.get('detailed') === 'true'));
  }
  const path = blobPathOf(request);
  if (path === undefined) throw notFound();
  const { blobId, rest } = path;
  const sliver = SLIVER.exec(rest);
  if (sliver !== null) {
    const [, pair, type, status] = sliver;
    return answerSliver(call, blobId, Number(pair), type as SliverType, status !== undefined);
  }
  if (rest === 'metadata' && request.method === 'PUT') return putMetadata(call, blobId);
  const [, proofType] = INCONSISTENCY.exec(rest) ?? [];
  if (proofType !== undefined && request.method === 'POST') {
    const body = await readBody(request, PROOF_BYTES_MAX);
    return success(await attest(node, blobId, proofType as SliverType, body));
  }
  if (request.method !== 'GET') throw notFound();
  return answerBlob(call, blobId, rest);
};

/** Sends an answer. */
export const send = (response: ServerResponse, answer: Answer): void => {
  if ('sent' in answer) response.once('close', answer.sent);
  // Text leaves in one piece with its head.
  const body = 'bytes' in answer ? answer.bytes : JSON.stringify(answer.json);
  response.writeHead(answer.code, {
    'content-type': 'bytes' in answer ? 'application/octet-stream' : 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
};

const parseBlobId = (text: string): BlobId => {
  const bytes = blobIdToBytes(text);
  // Only the one canonical spelling is a path of ours on disk.
  if (bytes.length !== 32 || blobIdFromBytes(bytes) !== text) throw notFound();
  return text;
};

const answerBlob = async (call: Call, blobId: BlobId, rest: string): Promise<Answer> => {
  const { node } = call;
  const deletable = DELETABLE.exec(rest);
  if (deletable !== null) {
    return confirm(call, blobId, `0x${deletable[1]!.toLowerCase().padStart(64, '0')}`);
  }
  switch (rest) {
    case 'metadata':
      return bcs(Buffer.concat([blobIdToBytes(blobId), await node.metadataBytes(blobId)]));
    case 'metadata/status':
      return stored(node.hasMetadata(blobId));
    case 'status':
      return success(node.status(blobId));
    case 'confirmation/permanent':
      return confirm(call, blobId, undefined);
    case 'decodingSymbols':
      return answerDecoding(call, blobId);
    case 'recoverySymbols':
      return answerRecovery(call, blobId);
    default:
      throw notFound();
  }
};

const answerSliver = async (
  { node, request }: Call,
  blobId: BlobId,
  pair: number,
  type: SliverType,
  status: boolean,
): Promise<Answer> => {
  if (request.method === 'GET') {
    if (status) return stored(node.hasSliver(blobId, pair, type));
    const bytes = await node.sliver(blobId, pair, type);
    return { code: 200, bytes, sent: () => giveBack(bytes) };
  }
  if (request.method !== 'PUT' || status) throw notFound();
  const { bytes } = await node.expectSliver(blobId, pair, type);
  const isNew = await usingBody(request, bytes, body => node.putSliver(blobId, pair, type, body));
  return isNew ? success('sliver stored successfully', 201) : success('sliver already stored');
};

const putMetadata = async ({ node, request }: Call, blobId: BlobId): Promise<Answer> => {
  const body = await readBody(request, metadataBytesMax(node.identity.nShards));
  return (await node.putMetadata(blobId, body))
    ? success('metadata successfully stored', 201)
    : success('metadata already stored');
};

const confirm = async (
  { node, query }: Call,
  blobId: BlobId,
  objectId: string | undefined,
): Promise<Answer> => {
  if (query.get('wait_for_registration') === 'true') {
    const asked = Number(query.get('wait_millis') ?? REGISTRATION_WAIT_MS_MAX);
    const waitMs = Math.min(Number.isFinite(asked) ? asked : 0, REGISTRATION_WAIT_MS_MAX);
    await node.registry.waitForRegistration(blobId, waitMs);
  }
  return success({ signed: await node.confirm(blobId, objectId) });
};

const parseType = (text: string | null): SliverType => {
  if (text === 'primary' || text === 'secondary') return text;
  throw new Refusal('INVALID_FILTER', 'the filter is invalid: no sliver type (primary, secondary)');
};

const parseIndex = (text: string | undefined | null): number => {
  if (text !== undefined && text !== null && /^\d{1,5}$/.test(text)) return Number(text);
  throw new Refusal('INVALID_FILTER', `the filter is invalid: ${text} is no index`);
};

const answerDecoding = async ({ node, query }: Call, blobId: BlobId): Promise<Answer> => {
  const targets = query.getAll('targetSlivers').map(parseIndex);
  const type = parseType(query.get('targetType'));
  return bcs(writeDecodingSymbols(await decodingSymbols(node, blobId, targets, type)));
};

const parseFilter = (query: URLSearchParams): SymbolFilter => {
  const ids = query.getAll('id');
  if (ids.length === 0) {
    return {
      target: parseIndex(query.get('targetSliver')),
      targetType: parseType(query.get('targetType')),
    };
  }
  const unique = [...new Set(ids)].map(id => {
    const [primary, secondary] = id.split('-');
    return { primary: parseIndex(primary), secondary: parseIndex(secondary) };
  });
  return { ids: unique.sort((a, b) => a.primary - b.primary || a.secondary - b.secondary) };
};

const answerRecovery = async ({ node, query }: Call, blobId: BlobId): Promise<Answer> => {
  const filter = parseFilter(query);
  const axis = query.get('proofAxis');
  const proofAxis = axis === null ? undefined : parseType(axis);
  if (node.recoveryRequests >= RECOVERY_REQUESTS_MAX) {
    throw new Refusal('UNAVAILABLE', 'the service is currently unavailable');
  }
  node.recoveryRequests++;
  try {
    return bcs(writeRecoverySymbols(await recoverySymbols(node, blobId, filter, proofAxis)));
  } finally {
    node.recoveryRequests--;
  }
};
