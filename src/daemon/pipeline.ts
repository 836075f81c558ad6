/** What the front remembers of the running flush, for `status` and progress bars. */
import type { FlushProgress } from '../flush/types.ts';
import type { PackCommit } from '../meta/types.ts';
import type { Amount } from './report.ts';

/** Progress as last heard, the rate since the flush began, and what is certified but in no checkpoint yet. */
export class Pipeline {
  now: FlushProgress | undefined;
  #startedMs = 0;
  #files = new Set<number>();
  #bytes = 0;

  /** A flush begins. */
  started(): void {
    this.#startedMs = performance.now();
  }

  /** The back tells how far it is. */
  progress(value: FlushProgress): void {
    this.now = value;
  }

  /** A certified pack was entered in the index. */
  committed(commit: PackCommit): void {
    for (const range of commit.ranges) {
      this.#files.add(range.ino);
      this.#bytes += range.length;
    }
  }

  /** A checkpoint names everything that was committed. */
  checkpointed(): void {
    this.#files.clear();
    this.#bytes = 0;
  }

  /** Certified, but this machine is still needed for its place in the tree. */
  uncheckpointed(): Amount {
    return { files: this.#files.size, bytes: this.#bytes };
  }

  /** Bytes a second since the flush began. */
  get rate(): number {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    return this.now === undefined || seconds <= 0 ? 0 : this.now.bytesDone / seconds;
  }
}
