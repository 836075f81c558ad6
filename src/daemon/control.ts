/**
 * The control socket of a mounted volume: one JSON object a line. A request is
 * `{ method, args }`; answers are any number of `{ progress }`, then one `{ result }` or
 * `{ error }`; `{}` every few seconds says that the daemon lives. Closing the connection aborts the
 * request. Only the owner can connect (the state directory is 0700).
 */
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

/** How often the daemon says that it is still at it. */
const BEAT_MS = 5000;
/** Silence after which nobody is believed to work on a request. */
const SILENCE_MS_MAX = 30_000;

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
  const beat = setInterval(() => send({}), BEAT_MS);
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
  } finally {
    clearInterval(beat);
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

/** Serves a socket that `listenControl` made, here or in the process that handed it on. */
export const serveControl = async (fd: number, methods: ControlMethods): Promise<Server> => {
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
    server.listen({ fd }, resolve);
  });
  return server;
};

/**
 * Sends one request to a daemon; `not_found` if there is none, `timeout` if it is silent for
 * `silenceMs` (stopped, or hanging). A daemon that takes over from one that died meanwhile is asked
 * again: every method can be.
 */
export const callDaemon = async (
  path: string,
  method: string,
  args: Record<string, unknown> = {},
  onProgress: (value: never) => void = () => undefined,
  silenceMs = SILENCE_MS_MAX,
): Promise<never> => {
  for (;;) {
    try {
      return await ask(path, method, args, onProgress, silenceMs);
    } catch (error) {
      if (!(error instanceof Unanswered) || !(await isServed(path))) throw error;
    }
  }
};

/** The daemon went away before it answered. */
class Unanswered extends TuskError {
  constructor() {
    super('aborted', 'the daemon ended before it answered');
  }
}

const unaskable = (path: string, cause: Error): TuskError =>
  new TuskError(
    'io',
    `the daemon that listens on ${path} cannot be asked: ${messageOf(cause)}. It goes on as before; only the user who mounted the volume can ask it`,
    { cause, kind: 'permanent' },
  );

const ask = (
  path: string,
  method: string,
  args: Record<string, unknown>,
  onProgress: (value: never) => void,
  silenceMs: number,
): Promise<never> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    let settled = false;
    const settle = (act: () => void) => {
      settled = true;
      socket.end();
      act();
    };
    socket.setTimeout(silenceMs, () => {
      settled = true;
      socket.destroy();
      reject(
        new TuskError(
          'timeout',
          `the daemon that listens on ${path} has not answered for ${silenceMs / 1000} s: it is stopped, or hangs. What was local stays so; try again, and if that does not help, end the process and mount again`,
        ),
      );
    });
    socket.on('connect', () => socket.write(`${JSON.stringify({ method, args })}\n`));
    socket.on('error', error => {
      const down = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(error) ?? '');
      const cut = ['ECONNRESET', 'EPIPE'].includes(systemCode(error) ?? '');
      reject(
        down
          ? new TuskError('not_found', 'the volume is not mounted')
          : cut
            ? new Unanswered()
            : unaskable(path, error),
      );
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined);
    lines.on('line', text => {
      const line = JSON.parse(text) as Line;
      if (line.error !== undefined) {
        const { code, kind, message } = line.error;
        settle(() => reject(new TuskError(code, message, { kind })));
      } else if ('result' in line) settle(() => resolve(line.result as never));
      else if ('progress' in line) onProgress(line.progress as never);
    });
    socket.on('close', () => {
      if (!settled) reject(new Unanswered());
    });
  });
