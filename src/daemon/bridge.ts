/**
 * Calls between two threads over a message port: a method name, plain-data arguments, a promise
 * of the answer. An aborted signal is passed on; errors keep their code and kind.
 */
import type { MessagePort, Worker } from 'node:worker_threads';
import { type ErrorCode, type ErrorDetails, type ErrorKind, TuskError } from '../base/errors.ts';

type Wire =
  | { type: 'call'; id: number; method: string; args: unknown }
  | { type: 'abort'; id: number }
  | { type: 'result'; id: number; value: unknown }
  | { type: 'error'; id: number; error: WireError };

interface WireError {
  code: ErrorCode;
  kind: ErrorKind;
  message: string;
  stack: string;
  details: ErrorDetails;
}

/** Methods that one side offers the other: one argument of plain data, a signal, a promise. */
export type Methods = { [name: string]: (args: never, signal: AbortSignal) => unknown };

const toWire = (error: unknown): WireError => {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  if (error instanceof TuskError) {
    const { code, kind, message, details } = error;
    return { code, kind, message, details, stack };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'internal', kind: 'bug', message, details: {}, stack };
};

const fromWire = (error: WireError): TuskError => {
  const { code, kind, message, details, stack } = error;
  const made = new TuskError(code, message, { kind, details });
  made.stack = stack;
  return made;
};

/** One end of a pair; `Remote` is what the other end offers. */
export class Bridge<Remote extends Methods> {
  readonly #port: MessagePort | Worker;
  readonly #methods: Methods;
  readonly #waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void }
  >();
  readonly #running = new Map<number, AbortController>();
  #nextId = 1;
  #broken: Error | undefined;

  constructor(port: MessagePort | Worker, methods: Methods) {
    this.#port = port;
    this.#methods = methods;
    port.on('message', (wire: Wire) => this.#receive(wire));
  }

  /** Calls a method of the other end. */
  call<M extends keyof Remote & string>(
    method: M,
    args: Parameters<Remote[M]>[0],
    signal?: AbortSignal,
  ): Promise<Awaited<ReturnType<Remote[M]>>> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) return reject(this.#broken);
      if (signal?.aborted) return reject(aborted(method));
      const onAbort = () => this.#post({ type: 'abort', id });
      signal?.addEventListener('abort', onAbort, { once: true });
      const settle = () => {
        this.#waiting.delete(id);
        signal?.removeEventListener('abort', onAbort);
      };
      this.#waiting.set(id, {
        resolve: value => {
          settle();
          resolve(value);
        },
        reject: error => {
          settle();
          reject(error);
        },
      });
      this.#post({ type: 'call', id, method, args });
    });
  }

  /** Fails everything that waits and will be asked, because the other thread ended. */
  breakOff(error: Error): void {
    this.#broken = error;
    for (const waiting of [...this.#waiting.values()]) waiting.reject(error);
  }

  #post(wire: Wire): void {
    this.#port.postMessage(wire);
  }

  #receive(wire: Wire): void {
    if (wire.type === 'call') void this.#run(wire.id, wire.method, wire.args);
    else if (wire.type === 'abort') this.#running.get(wire.id)?.abort(aborted('call'));
    else if (wire.type === 'result') this.#waiting.get(wire.id)?.resolve(wire.value as never);
    else this.#waiting.get(wire.id)?.reject(fromWire(wire.error));
  }

  async #run(id: number, method: string, args: unknown): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    try {
      const found = this.#methods[method];
      if (found === undefined) throw new TuskError('internal', `no method ${method}`);
      this.#post({ type: 'result', id, value: await found(args as never, controller.signal) });
    } catch (error) {
      this.#post({ type: 'error', id, error: toWire(error) });
    } finally {
      this.#running.delete(id);
    }
  }
}

const aborted = (method: string): TuskError => new TuskError('aborted', `${method} was aborted`);
