/**
 * How localnet's own parts (relay, aggregator, nodes that recover slivers) ask its storage nodes,
 * over the official API. Nothing that comes is believed before it has been checked against a blob ID
 * or a key of the ledger, so the TLS certificate is not looked at.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { TuskError } from '../base/errors.ts';
import { type BlobId, blobIdToBytes, type SliverType } from '../base/ids.ts';
import { type BlobShape, native } from '../native.ts';
import type { GenesisNode } from './feed.ts';
import { metadataBytesMax, readMetadataHead, readSliver, sliverBytes } from './node/bcs.ts';

const TIMEOUT_MS = 30_000;
const SMALL_BYTES_MAX = 64 * 1024;
const AGENTS = {
  http: new HttpAgent({ keepAlive: true }),
  https: new HttpsAgent({ keepAlive: true, rejectUnauthorized: false }),
};

/** A storage node to be asked. */
export type Peer = Pick<GenesisNode, 'name' | 'address' | 'networkPublicKey'>;

/** What a node answered. */
export interface PeerAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** One request; rejects (`network`) if the node cannot be reached, sends too much or is too slow. */
export const askPeer = (
  peer: Peer,
  method: 'GET' | 'PUT' | 'POST',
  path: string,
  options: {
    readonly signal: AbortSignal;
    readonly body?: Uint8Array;
    readonly bytesMax?: number;
    readonly timeoutMs?: number;
  },
): Promise<PeerAnswer> =>
  new Promise((resolve, reject) => {
    const { body, bytesMax = SMALL_BYTES_MAX, timeoutMs = TIMEOUT_MS } = options;
    const scheme = peer.networkPublicKey === '' ? 'http' : 'https';
    const send = scheme === 'http' ? httpRequest : httpsRequest;
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]);
    const failed = (cause: Error) =>
      reject(new TuskError('network', `${peer.name}: ${cause.message}`, { cause }));
    const call = send(
      `${scheme}://${peer.address}/v1/${path}`,
      {
        method,
        agent: AGENTS[scheme],
        signal,
        headers:
          body === undefined
            ? {}
            : { 'content-type': 'application/octet-stream', 'content-length': body.length },
      },
      response => {
        const most = response.statusCode === 200 ? bytesMax : SMALL_BYTES_MAX;
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes <= most) return void chunks.push(chunk);
          failed(new Error(`more than ${most} bytes`));
          // Without an error of its own: where all of it has come, nobody hears the connection's any more.
          call.destroy();
        });
        response.on('error', failed);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }),
        );
      },
    );
    call.on('error', failed);
    call.end(body);
  });

/** A blob's metadata, checked against the blob ID, with what follows from it. */
export interface BlobMetadata {
  /** BCS BlobMetadata, without the blob ID. */
  readonly bytes: Buffer;
  readonly size: number;
  readonly shape: BlobShape;
}

/** The metadata from the first node that has it; `refusals` tells what the others answered. */
export const fetchMetadata = async (
  peers: readonly Peer[],
  blobId: BlobId,
  nShards: number,
  signal: AbortSignal,
  refused: (peer: Peer, status: number) => void = () => undefined,
): Promise<BlobMetadata | undefined> => {
  const bytesMax = metadataBytesMax(nShards) + 32;
  for (const peer of peers) {
    try {
      const path = `blobs/${blobId}/metadata`;
      const { status, body } = await askPeer(peer, 'GET', path, { signal, bytesMax });
      const bytes = body.subarray(32);
      if (status !== 200) refused(peer, status);
      else if (native.verifyMetadata(bytes, nShards, blobIdToBytes(blobId))) {
        const { size } = readMetadataHead(bytes)!;
        return { bytes, size, shape: native.blobShape(size, nShards) };
      }
    } catch {
      signal.throwIfAborted();
    }
  }
  return undefined;
};

/** A sliver's data from a node; undefined unless it is the one that the metadata commits to. */
export const fetchSliver = async (
  peer: Peer,
  blobId: BlobId,
  metadata: BlobMetadata,
  nShards: number,
  place: { readonly pair: number; readonly type: SliverType; readonly index: number },
  signal: AbortSignal,
): Promise<Buffer | undefined> => {
  const { shape } = metadata;
  const { pair, type, index } = place;
  const length = type === 'primary' ? shape.primaryBytes : shape.secondaryBytes;
  try {
    const path = `blobs/${blobId}/slivers/${pair}/${type}`;
    const bytesMax = sliverBytes(length);
    const { status, body } = await askPeer(peer, 'GET', path, { signal, bytesMax });
    const sliver = status === 200 ? readSliver(body) : undefined;
    if (sliver?.index !== index || sliver.data.length !== length) return undefined;
    const holds = await native.verifySliver(metadata.bytes, nShards, type, index, sliver.data);
    return holds ? sliver.data : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
};
