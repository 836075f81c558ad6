/** Who sent the request at hand. One object serves all synchronous answers; a promise keeps its own. */
import type { Caller } from './filesystem.ts';
import type { Request } from './request.ts';

/** The session's `Caller`. */
export class RequestCaller implements Caller {
  uid = 0;
  gid = 0;
  pid = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  readonly company: number;
  #controller: AbortController | undefined;
  #aborted = false;

  constructor(company: number) {
    this.company = company;
  }

  /** Takes over the header of `request`. */
  load(request: Request): void {
    this.uid = request.uid;
    this.gid = request.gid;
    this.pid = request.pid;
    this.uniqueLow = request.uniqueLow;
    this.uniqueHigh = request.uniqueHigh;
    this.#controller = undefined;
    this.#aborted = false;
  }

  get unique(): bigint {
    return (BigInt(this.uniqueHigh) << 32n) | BigInt(this.uniqueLow);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  /** The kernel no longer wants the answer. */
  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }
}
