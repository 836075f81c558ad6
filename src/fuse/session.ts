/**
 * Serves one mount: takes requests from the device, lets operations ask the file system, sends
 * the answers. Synchronous answers leave at once; a promise keeps its caller and answers when it
 * settles. No exception of the file system ends the session; every request is answered once,
 * at most INTERRUPT_GRACE_MS after the kernel has given it up.
 */
import { Errno } from '../base/errno.ts';
import { messageOf } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { log } from '../base/log.ts';
import type { FuseCalls, FuseDevice } from '../native.ts';
import { RequestCaller } from './caller.ts';
import type { Answer, Changes, Filesystem, Shown } from './filesystem.ts';
import { encodeNegative, type Form } from './forms.ts';
import { type Agreement, agree, NOTHING_AGREED } from './init.ts';
import { type Exchange, OPERATIONS } from './operations.ts';
import { Reply } from './reply.ts';
import { isIno, Refused, Request } from './request.ts';
import { IN_HEADER_BYTES, Init, OPS_END, Op, OUT_HEADER_BYTES, RESENT } from './wire.ts';

/** How long an interrupted request may take to end by itself. */
const INTERRUPT_GRACE_MS = 1000;

/** Why a session ended: unmounted, or the connection was cut while mounted. */
export type SessionEnd = 'unmounted' | 'aborted';

/** What `status` shows of a session. */
export interface SessionCounters {
  /** Requests by operation, those that came at all. */
  readonly requests: Readonly<Record<string, number>>;
  /** Requests that were answered by a promise, and those not answered yet. */
  readonly deferred: number;
  readonly pending: number;
  /** Requests given up by the kernel. */
  readonly interrupted: number;
  /** Exceptions of the file system, answered EIO. */
  readonly faults: number;
}

/** Which request is being answered: its mark; 0: none. */
export interface Cause {
  request: number;
}

/**
 * Mark of a request, from the number of its mount and its own: two of one mount in sequence never
 * have the same, others hardly ever (1 in 2^32).
 */
const markOf = (mount: number, low: number, high: number): number =>
  (mount ^ Math.imul(low, 0x9e37_79b1) ^ Math.imul(high & ~RESENT, 0x85eb_ca6b)) >>> 0 || 1;

/** What a session is told beside device and file system. */
export interface SessionOptions {
  readonly shown?: Shown;
  /** Features that this mount does not want (flags of INIT). */
  readonly without?: number;
  /** Number of this mount, not 0, and where to say which of its requests changes answer. */
  readonly mount?: number;
  readonly cause?: Cause;
  /** What an earlier daemon of this mount has agreed on with the kernel. */
  readonly agreement?: Agreement | undefined;
  /**
   * For a request that was sent before: who answers it if its change was made then. A change is
   * answered before the next request is read, so this can be so for the last change only.
   */
  readonly changedBefore?: (mark: number) => Changes | undefined;
}

interface Pending {
  readonly caller: RequestCaller;
  readonly op: number;
  open: boolean;
  grace: NodeJS.Timeout | undefined;
}

/** One mounted file system; `run` serves it until it is unmounted. */
export class Session implements Exchange {
  readonly fs: Filesystem;
  readonly request: Request;
  changes: Changes;
  agreement: Agreement;
  caller: RequestCaller;
  readonly #mount: number;
  readonly #cause: Cause;
  readonly #changedBefore: (mark: number) => Changes | undefined;
  readonly #agreed = Promise.withResolvers<Agreement>();
  readonly #device: FuseDevice;
  readonly #calls: FuseCalls;
  readonly #reply: Reply;
  readonly #without: number;
  readonly #pending = new Map<bigint, Pending>();
  readonly #requests = new Float64Array(OPS_END);
  readonly #log = log('fuse');
  readonly #ended = Promise.withResolvers<SessionEnd>();
  #closed = false;
  #looksSoon = false;
  #deferred = 0;
  #interrupted = 0;
  #faults = 0;

  constructor(device: FuseDevice, fs: Filesystem, options: SessionOptions = {}) {
    const { shown = {}, without = 0 } = options;
    this.fs = fs;
    this.changes = fs;
    this.#mount = options.mount ?? 0;
    this.#cause = options.cause ?? { request: 0 };
    this.#changedBefore = options.changedBefore ?? (() => undefined);
    this.agreement = options.agreement ?? NOTHING_AGREED;
    if (options.agreement !== undefined) this.#agreed.resolve(options.agreement);
    this.#device = device;
    this.caller = new RequestCaller(device.fd);
    this.#calls = device.calls();
    this.request = new Request(device.request());
    this.#reply = new Reply(device.reply(), shown);
    // Access control lists would let in whom the umask keeps out.
    this.#without = shown.umask === undefined ? without : without | Init.POSIX_ACL;
  }

  /** Serves requests from the event loop; resolves when the mount is gone. */
  run(): Promise<SessionEnd> {
    this.#device.start(() => this.#turn());
    return this.#ended.promise;
  }

  /** Resolves when the kernel has been answered what this session can do; never if it ends before. */
  get agreed(): Promise<Agreement> {
    return this.#agreed.promise;
  }

  /** Serves no more; what has no answer yet is for the next daemon of this mount. */
  stop(): void {
    this.#closed = true;
    for (const pending of this.#pending.values()) pending.caller.abort();
    this.#device.close();
  }

  /** Figures since the start. */
  counters(): SessionCounters {
    const requests: Record<string, number> = {};
    for (const [name, op] of Object.entries(Op)) {
      if (this.#requests[op]! > 0) requests[name.toLowerCase()] = this.#requests[op]!;
    }
    if (this.#requests[0]! > 0) requests.unknown = this.#requests[0]!;
    return {
      requests,
      deferred: this.#deferred,
      pending: this.#pending.size,
      interrupted: this.#interrupted,
      faults: this.#faults,
    };
  }

  answer<T>(answer: Answer<T>, form: Form<T>, arg = 0): void {
    if (answer instanceof Promise) this.#defer(answer, form, arg);
    else {
      failpoint(ANSWER_POINTS[this.request.op]!);
      this.#settle(this.caller, answer, form, arg);
    }
  }

  agree(): void {
    const agreed = agree(this.request, this.#reply, this.#without);
    if (agreed === undefined) {
      this.#log.error('the kernel is too old: Linux 5.4 or newer is needed');
      this.#fail(this.caller, Errno.EPROTO);
      return;
    }
    this.agreement = agreed.agreement;
    this.#log.info(agreed.agreement, 'connected to the kernel');
    this.#send(this.caller, agreed.bytes);
    if (agreed.agreement !== NOTHING_AGREED) this.#agreed.resolve(agreed.agreement);
  }

  interrupt(uniqueLow: number, uniqueHigh: number): void {
    const pending = this.#pending.get((BigInt(uniqueHigh) << 32n) | BigInt(uniqueLow));
    if (pending === undefined || pending.caller.aborted) return;
    this.#interrupted++;
    pending.grace = setTimeout(() => {
      pending.open = false;
      if (!this.#closed) this.#fail(pending.caller, Errno.EINTR);
    }, INTERRUPT_GRACE_MS);
    pending.caller.abort();
  }

  /** Everything that waits, for as long as the device thinks right. */
  #turn(): void {
    let length = 0;
    while (!this.#closed && (length = this.#calls.next()) > 0) this.#serve(length);
    if (!this.#closed && length < 0) this.#end(-length);
  }

  /** Once all who wait for the same are answered, their next requests are looked for, as in a turn. */
  #lookSoon(): void {
    if (this.#looksSoon) return;
    this.#looksSoon = true;
    setImmediate(() => {
      this.#looksSoon = false;
      if (this.#closed) return;
      this.#device.look();
      this.#turn();
    });
  }

  #serve(length: number): void {
    const { request, caller } = this;
    if (length < IN_HEADER_BYTES) return;
    request.load(length);
    caller.load(request);
    const op = request.op;
    this.#requests[op < OPS_END ? op : 0]!++;
    try {
      const operation = OPERATIONS[op];
      if (operation === undefined) throw new Refused(Errno.ENOSYS);
      request.need(operation.need);
      if (!isIno(request.ino) && NEEDS_INO[op]) throw new Refused();
      if (!SILENT[op]) this.#begin(caller);
      operation.run(this);
    } catch (error) {
      if (error instanceof Refused) this.#refuse(caller, op, error.errno);
      else this.#fault(caller, op, error);
    } finally {
      this.#cause.request = 0;
    }
  }

  /** Changes made from here to the end of the operation answer this request. */
  #begin({ uniqueLow, uniqueHigh }: RequestCaller): void {
    const mark = markOf(this.#mount, uniqueLow, uniqueHigh);
    this.#cause.request = mark;
    this.changes = uniqueHigh >= RESENT ? (this.#changedBefore(mark) ?? this.fs) : this.fs;
  }

  #defer<T>(promise: Promise<T | number>, form: Form<T>, arg: number): void {
    const pending: Pending = {
      caller: this.caller,
      op: this.request.op,
      open: true,
      grace: undefined,
    };
    this.caller = new RequestCaller(pending.caller.company);
    this.#deferred++;
    this.#pending.set(pending.caller.unique, pending);
    promise.then(
      value => {
        this.#forgetPending(pending);
        if (!this.#closed) this.#settleLate(pending, value, form, arg);
      },
      error => {
        this.#forgetPending(pending);
        if (this.#closed || !pending.open) return;
        if (pending.caller.aborted) this.#fail(pending.caller, Errno.EINTR);
        else this.#fault(pending.caller, pending.op, error);
      },
    );
  }

  #forgetPending(pending: Pending): void {
    clearTimeout(pending.grace);
    this.#pending.delete(pending.caller.unique);
  }

  #settleLate<T>(pending: Pending, value: T | number, form: Form<T>, arg: number): void {
    try {
      if (pending.open) {
        this.#settle(pending.caller, value, form, arg);
        this.#lookSoon();
      } else this.#undo(value, form);
    } catch (error) {
      this.#fault(pending.caller, pending.op, error);
    }
  }

  #settle<T>(to: RequestCaller, value: T | number, form: Form<T>, arg: number): void {
    if (typeof value === 'number' && value < 0) {
      if (value === -Errno.ENOENT && form.negative) this.#send(to, encodeNegative(this.#reply));
      else this.#fail(to, -value);
      return;
    }
    const bytes = form.encode(this.#reply, value as T, arg);
    if (bytes < 0) this.#fail(to, -bytes);
    else if (this.#send(to, bytes) !== 0) this.#undo(value, form);
  }

  /** An answer that nobody received counted lookups in vain. */
  #undo<T>(value: T | number, form: Form<T>): void {
    if (typeof value !== 'number' && form.undo !== undefined) {
      form.undo(this.fs, value, this.#reply);
    }
  }

  #send(to: RequestCaller, bytes: number): number {
    const reply = this.#reply;
    reply.header(OUT_HEADER_BYTES + bytes, 0, to.uniqueLow, to.uniqueHigh);
    const views = reply.views;
    if (views === undefined) return this.#calls.send();
    reply.views = undefined;
    return this.#device.sendViews(OUT_HEADER_BYTES, views);
  }

  #fail(to: RequestCaller, errno: number): void {
    this.#reply.header(OUT_HEADER_BYTES, -errno, to.uniqueLow, to.uniqueHigh);
    this.#calls.send();
  }

  /** An error of the file system's own: the caller gets EIO, the log the reason. */
  #fault(to: RequestCaller, op: number, error: unknown): void {
    this.#faults++;
    this.#reply.views = undefined;
    this.#log.error({ op, unique: to.unique.toString(), err: error }, messageOf(error));
    if (!SILENT[op]) this.#fail(to, Errno.EIO);
  }

  #refuse(to: RequestCaller, op: number, errno: number): void {
    if (!SILENT[op]) this.#fail(to, errno);
  }

  #end(errno: number): void {
    this.#closed = true;
    for (const pending of this.#pending.values()) pending.caller.abort();
    this.#device.close();
    try {
      this.fs.destroy();
    } catch (error) {
      this.#log.error({ err: error }, messageOf(error));
    }
    this.#ended.resolve(errno === Errno.ENODEV ? 'unmounted' : 'aborted');
  }
}

/** Where a test lets the daemon die when it has done what a request asks for, but not said so. */
const ANSWER_POINTS: readonly string[] = Array.from(
  { length: OPS_END },
  (_, op) => `fuse.answer.${Object.entries(Op).find(([, of]) => of === op)?.[0] ?? op}`,
);

const flags = (ops: readonly number[]): readonly boolean[] =>
  Array.from({ length: OPS_END }, (_, op) => ops.includes(op));
/** Operations that get no answer. */
const SILENT = flags([Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT]);
/** Operations that are about an inode. */
const NEEDS_INO = flags(
  Object.values(Op).filter(
    op =>
      ![Op.INIT, Op.DESTROY, Op.BATCH_FORGET, Op.INTERRUPT, Op.STATFS].some(other => other === op),
  ),
);
