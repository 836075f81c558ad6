/** Single exchanges with a storage node that answers as a test says: what kind of failure it is, and when it ends. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { StorageNode } from '../../src/walrus/network.ts';
import { NodeHttp } from '../../src/walrus/nodes/http.ts';

const BYTES_MAX = 100_000;

let server: Server | undefined;
const http = new NodeHttp('http');
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

const serve = async (answer: RequestListener): Promise<StorageNode> => {
  server = createServer(answer);
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { name: 'node-0', address, networkPublicKey: Buffer.alloc(0) } as unknown as StorageNode;
};

const get = (node: StorageNode, signal = new AbortController().signal) =>
  http.send(node, {
    method: 'GET',
    path: '/v1/bytes',
    accept: 'bytes',
    bodyBytesMax: BYTES_MAX,
    timeoutMs: 400,
    signal,
  });

test.each([
  [408, 'transient', 'node_refused'],
  [429, 'transient', 'node_refused'],
  [500, 'transient', 'node_refused'],
  [503, 'transient', 'node_refused'],
  [301, 'permanent', 'node_refused'],
  [400, 'permanent', 'node_refused'],
  [404, 'permanent', 'node_refused'],
  [451, 'permanent', 'blocked'],
])('%i is %s, and says how long to wait', async (status, kind, code) => {
  const headers = { 'retry-after': '7', location: '/elsewhere' };
  const node = await serve((_, response) => response.writeHead(status, headers).end('no'));
  await expect(get(node)).rejects.toMatchObject({ kind, code, details: { retryAfterMs: 7_000 } });
});

test('requests to a node share a few connections, which stay open', async () => {
  const node = await serve((_, response) => setTimeout(() => response.end('yes'), 20));
  let connections = 0;
  server!.on('connection', () => connections++);
  for (let turn = 0; turn < 3; turn++)
    await Promise.all(Array.from({ length: 40 }, () => get(node)));
  expect(connections).toBeGreaterThan(1);
  expect(connections).toBeLessThanOrEqual(8);
});

/** Sends forever; `ended` resolves when the client has closed the connection. */
const forever = async (chunk: Buffer, everyMs: number) => {
  const ended = Promise.withResolvers<void>();
  const node = await serve((_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(chunk), everyMs);
    response.on('close', () => {
      clearInterval(timer);
      ended.resolve();
    });
  });
  return { node, ended: ended.promise };
};

test('a body that comes byte by byte ends with the deadline, and its connection with it', async () => {
  const { node, ended } = await forever(Buffer.alloc(1), 20);
  await expect(get(node)).rejects.toMatchObject({ code: 'timeout', kind: 'transient' });
  await ended;
});

test('a body that comes slowly, but comes, is waited for', async () => {
  const chunks = Array.from({ length: 9 }, (_, i) => Buffer.alloc(10_000, i));
  const node = await serve(async (_, response) => {
    response.writeHead(200);
    for (const chunk of chunks) {
      response.write(chunk);
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    response.end();
  });
  expect(await get(node)).toEqual(Buffer.concat(chunks));
});

test('a body that does not end is read no further than it may be long', async () => {
  const { node, ended } = await forever(Buffer.alloc(20_000), 1);
  await expect(get(node)).rejects.toThrow(`a body longer than ${BYTES_MAX} bytes`);
  await ended;
});

test('who gives up closes the connection at once', async () => {
  const { node, ended } = await forever(Buffer.alloc(1), 20);
  const stop = new AbortController();
  const answer = get(node, stop.signal);
  setTimeout(() => stop.abort(), 100);
  await expect(answer).rejects.toMatchObject({ code: 'aborted' });
  await ended;
});

test('an answer cut short is a failure on the way; what follows an announced end is not read', async () => {
  for (const length of [10, 1]) {
    const node = await serve((_, response) => {
      const { socket } = response;
      socket?.end(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\nabcde`);
    });
    const answer = get(node).then(String);
    if (length === 10) await expect(answer).rejects.toMatchObject({ code: 'network' });
    else expect(await answer).toBe('a');
  }
});
