/** A disk that forgets (`forgetfs.ts`), as a test sees it: mounted, cut, full, and gone at the end. */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import type { Forgotten } from './forget-fs.ts';
import type { DiskRequest } from './forgetfs.ts';
import { until } from './sandbox.ts';

const ANSWER_TIMEOUT_MS = 30_000;

/** A mounted disk of its own process. */
export class ForgetfulDisk {
  readonly #mountPoint: string;
  readonly #server: ChildProcess;
  /** The cut that was asked for has happened: nothing changes on the disk any more. */
  isCut = false;

  private constructor(backing: string, mountPoint: string) {
    mkdirSync(backing);
    this.#mountPoint = mountPoint;
    this.#server = fork(new URL('./forgetfs.ts', import.meta.url), [backing, mountPoint], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#server.on('message', message => {
      if (message === 'cut') this.isCut = true;
    });
  }

  /** Mounts an empty disk at an empty directory; `backing` is made. */
  static async mount(backing: string, mountPoint: string): Promise<ForgetfulDisk> {
    const disk = new ForgetfulDisk(backing, mountPoint);
    await disk.#heard();
    return disk;
  }

  /** The power fails after this many more changes of names and then this many changes of any kind. */
  async cutAfter(names: number, changes: number): Promise<void> {
    this.isCut = false;
    await this.#ask({ cutAfter: { names, changes } });
  }

  /** Only the next `times` changes that need space get it. */
  async spaceFor(times: number): Promise<void> {
    await this.#ask({ spaceFor: times });
  }

  /** The power fails now, if it has not yet; nobody may use the disk. What was forgotten, once it is mounted again. */
  async powerCut(seed: number): Promise<Forgotten> {
    await this.cutAfter(0, 0);
    await until('the disk can be unmounted', () => {
      try {
        execFileSync('umount', [this.#mountPoint], { stdio: 'ignore' });
        return true;
      } catch {
        return false;
      }
    });
    const forgotten = (await this.#ask({ powerCut: seed })) as Forgotten;
    this.isCut = false;
    return forgotten;
  }

  /** Unmounts and removes the disk. */
  async remove(): Promise<void> {
    execFileSync('umount', ['-l', this.#mountPoint], { stdio: 'ignore' });
    const exit = once(this.#server, 'exit');
    this.#server.disconnect();
    await exit;
  }

  async #ask(request: DiskRequest): Promise<unknown> {
    this.#server.send(request);
    return this.#heard();
  }

  async #heard(): Promise<unknown> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    for (;;) {
      const [message] = await once(this.#server, 'message', { signal });
      if (message !== 'cut') return message;
    }
  }
}
