/** One side of a bench: a child process, so that neither side shares memory or a thread with the other. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** A child that answers one question at a time. */
export class Side<Question extends object, Answer extends object> {
  readonly #child: ChildProcess;

  /** Starts `module` (a name beside this file) with `args`. */
  constructor(module: string, args: readonly string[]) {
    this.#child = fork(new URL(module, import.meta.url), args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
  }

  /** The answer; throws if the child ends instead. */
  async ask(question: Question): Promise<Answer> {
    const over = new AbortController();
    const heard = (event: string) => once(this.#child, event, { signal: over.signal });
    this.#child.send(question);
    const [said] = await Promise.race([heard('message'), heard('exit')]).finally(() =>
      over.abort(),
    );
    if (typeof said === 'object' && said !== null) return said as Answer;
    throw new Error(`a side of the bench ended with ${said}`);
  }

  /** Ends the child and waits for it. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    if (this.#child.connected) this.#child.disconnect();
    await exit;
  }
}
