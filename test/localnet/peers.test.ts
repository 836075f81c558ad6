/** How localnet's parts ask its nodes: a node that answers nonsense ends a call, and never the process. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { askPeer, type Peer } from '../../src/localnet/peers.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

const serve = async (answer: RequestListener): Promise<Peer> => {
  server = createServer(answer);
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { name: 'node-0', address, networkPublicKey: '' };
};

const ask = (peer: Peer) =>
  askPeer(peer, 'GET', 'bytes', { signal: new AbortController().signal, bytesMax: 142 });

test('a refusal may be longer than the sliver that was asked for', async () => {
  const peer = await serve((_, response) => response.writeHead(404).end('no'.repeat(200)));
  const { status, body } = await ask(peer);
  expect([status, body.length]).toEqual([404, 400]);
});

test('an answer that is too long, in one piece or without end, ends the call alone', async () => {
  const whole = await serve((_, response) => response.end(Buffer.alloc(5_000)));
  for (let i = 0; i < 5; i++) await expect(ask(whole)).rejects.toThrow('more than 142 bytes');
  server!.close();
  const endless = await serve((_, response) => {
    const timer = setInterval(() => response.write(Buffer.alloc(100)), 1);
    response.on('close', () => clearInterval(timer));
  });
  await expect(ask(endless)).rejects.toMatchObject({ code: 'network' });
  // An error that nobody hears shows behind the call, and fails the run.
  await sleep(50);
});
