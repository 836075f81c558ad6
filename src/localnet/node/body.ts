/**
 * Bodies of HTTP requests, bounded: a body is read once, into one buffer of its announced length
 * where there is one, and reading stops at the limit.
 */
import type { IncomingMessage } from 'node:http';
import { giveBack, take } from './buffers.ts';
import { Refusal } from './refusal.ts';

const tooLarge = (bytesMax: number): Refusal =>
  new Refusal('BODY_TOO_LARGE', `the body is larger than the ${bytesMax} bytes that fit here`);

/** The announced length; refuses one of more than `bytesMax` bytes and content that is not an octet stream. */
const announcedBytes = (request: IncomingMessage, bytesMax: number): number | undefined => {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== undefined && type !== 'application/octet-stream') {
    throw new Refusal(
      'INVALID_CONTENT_TYPE',
      'Expected request with `Content-Type: application/octet-stream`',
    );
  }
  const announced = Number(request.headers['content-length'] ?? Number.NaN);
  if (announced > bytesMax) throw tooLarge(bytesMax);
  return Number.isInteger(announced) ? announced : undefined;
};

/** The body in a buffer of its length; by events, for an iterator costs more than the bytes. */
const fill = (request: IncomingMessage, body: Buffer): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const gone = () => reject(new Error('the connection ended before the body did'));
  let at = 0;
  request.on('data', (chunk: Buffer) => {
    at += chunk.copy(body, at);
  });
  request.once('end', () => {
    request.off('close', gone);
    resolve(body.subarray(0, at));
  });
  request.once('close', gone);
  if (request.destroyed) gone();
  return promise;
};

/** The whole body; refuses more than `bytesMax` bytes and content that is not an octet stream. */
export const readBody = async (request: IncomingMessage, bytesMax: number): Promise<Buffer> => {
  const announced = announcedBytes(request, bytesMax);
  if (announced === undefined) return readUnknown(request, bytesMax);
  return fill(request, Buffer.allocUnsafe(announced));
};

/** As `readBody`, for a body that nobody needs any more when `use` has settled. */
export const usingBody = async <T>(
  request: IncomingMessage,
  bytesMax: number,
  use: (body: Buffer) => Promise<T>,
): Promise<T> => {
  const announced = announcedBytes(request, bytesMax);
  if (announced === undefined) return use(await readUnknown(request, bytesMax));
  const buffer = take(announced);
  try {
    return await use(await fill(request, buffer));
  } finally {
    giveBack(buffer);
  }
};

const readUnknown = async (request: IncomingMessage, bytesMax: number): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};
