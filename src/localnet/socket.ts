/**
 * The daemon's control socket: HTTP over a Unix socket in the localnet's directory, which only its
 * owner can enter. Whoever answers there is the daemon of that directory, which is how a command
 * knows that a process is really ours.
 */
import { rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { type ErrorCode, messageOf, systemCode, TuskError } from '../base/errors.ts';
import type { NetworkPaths } from './parameters.ts';

/** Methods by name; `args` come from the command as JSON. */
export type Methods = Record<string, (args: unknown) => unknown>;

interface Reply {
  readonly result?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

const answer = async (methods: Methods, name: string, body: string): Promise<Reply> => {
  try {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (method === undefined) throw new TuskError('usage', `the localnet knows no method ${name}`);
    return { result: (await method(body === '' ? undefined : JSON.parse(body))) ?? null };
  } catch (error) {
    const code = error instanceof TuskError ? error.code : 'internal';
    return { error: { code, message: messageOf(error) } };
  }
};

/** Serves the methods; a stale socket of a dead daemon is replaced. */
export const serveControl = async (paths: NetworkPaths, methods: Methods): Promise<Server> => {
  rmSync(paths.socket, { force: true });
  const server = createServer(async (incoming, response) => {
    const reply = await answer(methods, incoming.url?.slice(1) ?? '', await text(incoming));
    response.end(JSON.stringify(reply));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(paths.socket, resolve);
  });
  return server;
};

/** Calls a method of the daemon; `not_found` if none runs. */
export const callControl = <T>(paths: NetworkPaths, method: string, args?: unknown): Promise<T> =>
  new Promise((resolve, reject) => {
    const options = { socketPath: paths.socket, path: `/${method}`, method: 'POST', agent: false };
    const call = request(options, async response => {
      try {
        const { result, error } = JSON.parse(await text(response)) as Reply;
        if (error === undefined) resolve(result as T);
        else reject(new TuskError(error.code, error.message));
      } catch (cause) {
        reject(new TuskError('aborted', 'the localnet ended before it answered', { cause }));
      }
    });
    call.on('error', cause => {
      const down = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(cause) ?? '');
      reject(
        down
          ? notRunning(paths)
          : new TuskError('io', `the localnet does not answer: ${cause.message}`, { cause }),
      );
    });
    call.end(args === undefined ? undefined : JSON.stringify(args));
  });

/** The error of every command that needs a running localnet. */
export const notRunning = (paths: NetworkPaths): TuskError =>
  new TuskError(
    'not_found',
    `the localnet of ${paths.root} is not running. Start it with \`tuskfs localnet start\`.`,
  );
