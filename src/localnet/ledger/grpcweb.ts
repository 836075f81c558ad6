/**
 * gRPC-web over plain HTTP/1.1: framing in its text (base64) and binary form, trailers, CORS.
 * The answer has the form of the request.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GrpcTypes } from '@mysten/sui/grpc';
import { messageOf } from '../../base/errors.ts';
import { log } from '../../base/log.ts';
import { GRPC, invalid, Rejection } from './errors.ts';

const logger = log('ledger');

/** Answers one method: protobuf message in, protobuf message out. */
type Handler = (request: never) => unknown;
/** Handlers by `Service/Method`, services without their package. */
export type Handlers = Readonly<Record<string, Handler>>;

interface Message {
  fromBinary(bytes: Uint8Array): unknown;
  toBinary(value: unknown): Uint8Array;
  create(value?: unknown): unknown;
}

const SERVICES = [
  GrpcTypes.LedgerService,
  GrpcTypes.StateService,
  GrpcTypes.MovePackageService,
  GrpcTypes.TransactionExecutionService,
];

const METHODS = new Map(
  SERVICES.flatMap(service =>
    service.methods.map(method => {
      const short = service.typeName.split('.').at(-1)!;
      const types = {
        input: method.I as unknown as Message,
        output: method.O as unknown as Message,
      };
      return [`/${service.typeName}/${method.name}`, { name: `${short}/${method.name}`, ...types }];
    }),
  ),
);

/** Largest request body; a transaction of 128 KiB in base64 and protobuf fits many times. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** Reads a whole request body. */
export const readBody = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw invalid(`request of more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'POST, GET, OPTIONS',
  'access-control-allow-headers': '*',
  'access-control-expose-headers': 'grpc-status, grpc-message',
};

const frame = (flag: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
};

const trailer = (status: number, message: string): Buffer =>
  frame(
    0x80,
    Buffer.from(
      `grpc-status: ${status}\r\n${message === '' ? '' : `grpc-message: ${encodeURIComponent(message)}\r\n`}`,
    ),
  );

/** The one message of a request body. */
const unframe = (body: Buffer): Buffer => {
  if (body.length < 5 || body[0] !== 0 || body.length < 5 + body.readUInt32BE(1))
    throw invalid('request body is no gRPC-web frame');
  return body.subarray(5, 5 + body.readUInt32BE(1));
};

const answer = async (handlers: Handlers, path: string, body: Buffer): Promise<Buffer[]> => {
  try {
    const method = METHODS.get(path);
    const handler = method && handlers[method.name];
    if (method === undefined || handler === undefined)
      throw new Rejection(GRPC.unimplemented, `${path.slice(1)} is not served by this ledger`);
    let input: unknown;
    try {
      input = method.input.fromBinary(unframe(body));
    } catch (cause) {
      throw cause instanceof Rejection ? cause : invalid(`bad request: ${messageOf(cause)}`);
    }
    const output = (await handler(input as never)) as object;
    const message = method.output.toBinary(
      output instanceof Uint8Array
        ? method.output.fromBinary(output)
        : method.output.create(output),
    );
    return [frame(0, message), trailer(0, '')];
  } catch (error) {
    if (error instanceof Rejection) return [trailer(error.status, error.message)];
    logger.error({ err: error, path }, 'request failed');
    return [trailer(GRPC.internal, messageOf(error))];
  }
};

/** Is this a gRPC-web call (or a browser asking whether it may make one)? */
export const isGrpcWeb = (request: IncomingMessage): boolean =>
  request.method === 'OPTIONS' ||
  (request.method === 'POST' && (request.url ?? '').startsWith('/sui.rpc.'));

/** Serves one gRPC-web call. */
export const serveGrpcWeb = async (
  handlers: Handlers,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  if (request.method === 'OPTIONS') {
    response.writeHead(204, CORS).end();
    return;
  }
  const type = request.headers['content-type'] ?? '';
  const isText = type.startsWith('application/grpc-web-text');
  if (!isText && !type.startsWith('application/grpc-web')) {
    response.writeHead(415, CORS).end();
    return;
  }
  const raw = await readBody(request);
  const body = isText ? Buffer.from(raw.toString('latin1'), 'base64') : raw;
  const whole = Buffer.concat(await answer(handlers, request.url ?? '', body));
  response.writeHead(200, {
    ...CORS,
    'content-type': isText ? 'application/grpc-web-text' : 'application/grpc-web+proto',
  });
  response.end(isText ? whole.toString('base64') : whole);
};
