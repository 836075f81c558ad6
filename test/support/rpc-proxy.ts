/**
 * A Sui fullnode that fails as told: it stands in front of a ledger, passes calls on, refuses
 * them, loses the answers of some, or alters bytes of answers. A test's seam on the wire.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of a call: passed on, cut before it arrives, cut before its answer, or answered with an HTTP status, or with one of gRPC in the trailers. */
export type Passage = 'pass' | 'refuse' | 'lose' | number | { readonly grpc: number };

/** The body of an answer that consists of trailers. */
const trailers = (status: number): Buffer => {
  const text = Buffer.from(`grpc-status: ${status}\r\ngrpc-message: not%20now\r\n`);
  const head = Buffer.from([0x80, 0, 0, 0, 0]);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, text]);
};

/** Such a node. */
export class RpcProxy {
  readonly #server: Server;
  /** Methods called, in order (`ExecuteTransaction` …). */
  readonly calls: string[] = [];
  /** Connections made to it so far. */
  connections = 0;
  /** Decides a call by its method, at once or later. */
  passage: (method: string) => Passage | Promise<Passage> = () => 'pass';
  /** Alters answers, or holds them back. */
  alter: (method: string, answer: Buffer) => Buffer | Promise<Buffer> = (_, answer) => answer;

  private constructor(server: Server) {
    this.#server = server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Starts one in front of `rpcUrl`. */
  static async start(rpcUrl: string): Promise<RpcProxy> {
    const server = createServer();
    const proxy = new RpcProxy(server);
    server.on('connection', () => proxy.connections++);
    server.on('request', async (request, response) => {
      const method = request.url!.split('/').at(-1)!;
      proxy.calls.push(method);
      const body = Buffer.concat(await request.toArray());
      const passage = await proxy.passage(method);
      if (passage === 'refuse') return response.destroy();
      if (typeof passage === 'number') return response.writeHead(passage).end('<html></html>');
      if (typeof passage === 'object')
        return response
          .writeHead(200, { 'content-type': 'application/grpc-web+proto' })
          .end(trailers(passage.grpc));
      const answer = await fetch(`${rpcUrl}${request.url}`, {
        method: request.method!,
        headers: { 'content-type': request.headers['content-type']! },
        body,
      });
      const bytes = await proxy.alter(method, Buffer.from(await answer.arrayBuffer()));
      if (passage === 'lose') return response.destroy();
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! });
      response.end(bytes);
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }
}
