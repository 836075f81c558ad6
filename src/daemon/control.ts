/**
 * The control socket of a mounted volume: one JSON object a line. A request is
 * `{ method, args }`; answers are any number of `{ progress }`, then one `{ result }` or
 * `{ error }`. Closing the connection aborts the request. Only the owner can connect (the state
 * directory is 0700).
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import {
  type ErrorCode,
  type ErrorKind,
  messageOf,
  systemCode,
  TuskError,
} from '../base/errors.ts';

/** What a request may do besides returning: report progress, learn that nobody waits any more. */
export interface ControlContext {
  readonly signal: AbortSignal;
  progress(value: unknown): void;
}

/** Methods by name. */
export type ControlMethods = Record<
  string,
  (args: Record<string, unknown>, context: ControlContext) => unknown
>;

interface Line {
  progress?: unknown;
  result?: unknown;
  error?: { code: ErrorCode; kind: ErrorKind; message: string };
}

const encode = (line: Line): string =>
  `${JSON.stringify(line, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}\n`;

const answer = async (
  socket: Socket,
  methods: ControlMethods,
  text: string,
  signal: AbortSignal,
) => {
  const send = (line: Line) => {
    if (!socket.destroyed) socket.write(encode(line));
  };
  try {
    const { method, args } = JSON.parse(text) as { method: string; args: Record<string, unknown> };
    const found = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (found === undefined) throw new TuskError('usage', `the daemon knows no method ${method}`);
    const result = await found(args, { signal, progress: progress => send({ progress }) });
    send({ result: result ?? null });
  } catch (error) {
    const { code, kind } =
      error instanceof TuskError ? error : ({ code: 'internal', kind: 'bug' } as const);
    send({ error: { code, kind, message: messageOf(error) } });
  }
  socket.end();
};

/** True if a daemon answers on the socket. */
export const isServed = (path: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

/** Serves the socket of a volume whose lock the caller holds; `busy` if a daemon lives there nevertheless. */
export const serveControl = async (path: string, methods: ControlMethods): Promise<Server> => {
  if (await isServed(path)) {
    throw new TuskError('busy', 'this volume is mounted already; `tuskfs status` says where');
  }
  rmSync(path, { force: true });
  const server = createServer(socket => {
    const gone = new AbortController();
    socket.on('error', () => undefined);
    socket.on('close', () => gone.abort(new TuskError('aborted', 'the command was interrupted')));
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined);
    lines.once('line', text => void answer(socket, methods, text, gone.signal));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
};

/** Sends one request to a daemon; `not_found` if none answers. */
export const callDaemon = (
  path: string,
  method: string,
  args: Record<string, unknown> = {},
  onProgress: (value: never) => void = () => undefined,
): Promise<never> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    let settled = false;
    const settle = (act: () => void) => {
      settled = true;
      socket.end();
      act();
    };
    socket.on('connect', () => socket.write(`${JSON.stringify({ method, args })}\n`));
    socket.on('error', error => {
      const down = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(error) ?? '');
      reject(down ? new TuskError('not_found', 'the volume is not mounted') : error);
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined);
    lines.on('line', text => {
      const line = JSON.parse(text) as Line;
      if (line.error !== undefined) {
        const { code, kind, message } = line.error;
        settle(() => reject(new TuskError(code, message, { kind })));
      } else if ('result' in line) settle(() => resolve(line.result as never));
      else onProgress(line.progress as never);
    });
    socket.on('close', () => {
      if (!settled) reject(new TuskError('aborted', 'the daemon ended before it answered'));
    });
  });
