/**
 * One HTTP exchange on undici's dispatcher, without its streams: the answer's body goes into one
 * bounded buffer. What a request costs beside its bytes decides how fast thousands of slivers go.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';

/** An answer in full, whatever its status. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Where the body of an answer goes. */
export interface Sink {
  /** The next bytes, which are not to be kept. */
  put(chunk: Buffer): void;
}

/** Answers of unknown length start with a buffer of this size. */
const FIRST_BYTES = 64 * 1024;
/** Below this, buffers come out of Node's pool. */
const POOLED_BYTES = 4 * 1024;

/** Handler of one exchange; `answer` settles once. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #bytesMaxOf: (status: number) => number;
  readonly #sinkOf: (status: number) => Sink | undefined;
  readonly #tooLong: (bytesMax: number) => Error;
  #controller: Dispatcher.DispatchController | undefined;
  #failure: Error | undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #bytesMax = 0;
  #sink: Sink | undefined;
  #bytes = Buffer.alloc(0);
  #at = 0;

  /**
   * `bytesMaxOf` bounds the body by the status; `tooLong` makes the error for a longer one. A body
   * for which there is a sink goes there, not into the answer.
   */
  constructor(
    bytesMaxOf: (status: number) => number,
    tooLong: (bytesMax: number) => Error,
    sinkOf: (status: number) => Sink | undefined,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#bytesMaxOf = bytesMaxOf;
    this.#tooLong = tooLong;
    this.#sinkOf = sinkOf;
  }

  /** Bytes of the answer's body so far. */
  get bytesReceived(): number {
    return this.#at;
  }

  /** Ends the exchange, and its connection if it has one; nothing goes to the sink any more. */
  abort(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#reject(error);
    this.#controller?.abort(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure !== undefined) controller.abort(this.#failure);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    // 100 to 199 announce the answer.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
    this.#bytesMax = this.#bytesMaxOf(status);
    const declared = Number(headers['content-length'] ?? Number.NaN);
    if (declared > this.#bytesMax) {
      this.abort(this.#tooLong(this.#bytesMax));
      return;
    }
    this.#sink = this.#sinkOf(status);
    if (this.#sink !== undefined) return;
    const known = Number.isInteger(declared) && declared >= 0;
    const bytes = known ? declared : Math.min(this.#bytesMax, FIRST_BYTES);
    this.#bytes = bytes < POOLED_BYTES ? Buffer.allocUnsafe(bytes) : Buffer.allocUnsafeSlow(bytes);
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    const end = this.#at + chunk.length;
    if (end > this.#bytesMax) {
      this.abort(this.#tooLong(this.#bytesMax));
      return;
    }
    if (this.#sink === undefined) this.#keep(chunk, end);
    else this.#sink.put(chunk);
    this.#at = end;
  }

  #keep(chunk: Buffer, end: number): void {
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.#bytesMax, 2 * end));
      this.#bytes.copy(larger, 0, 0, this.#at);
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#at);
  }

  onResponseEnd(): void {
    const body = this.#bytes.subarray(0, this.#at);
    this.#resolve({ status: this.#status, headers: this.#headers, body });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#failure ??= error;
    this.#reject(this.#failure);
  }
}
