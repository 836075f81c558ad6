/** A vfs over an index in memory, a caller and a clock that a test moves. */
import { tmpdir } from 'node:os';
import type { Clock } from '../../src/base/clock.ts';
import type { Caller } from '../../src/fuse/filesystem.ts';
import type { Index } from '../../src/meta/types.ts';
import type { FrameReader } from '../../src/vfs/data.ts';
import { Vfs } from '../../src/vfs/vfs.ts';
import { MemoryIndex } from './memory-index.ts';

/** Wall clock that stands still until it is moved. */
export class HandClock implements Clock {
  ms = 1_700_000_000_000;
  nowMs(): number {
    return this.ms;
  }
  fileTime = () => [Math.floor(this.ms / 1000), (this.ms % 1000) * 1e6] as const;
  monotonicMs(): number {
    return this.ms;
  }
  async sleep(): Promise<void> {}
}

/** Somebody who asks. */
export const callerOf = (uid: number, gid = uid): Caller => ({
  uid,
  gid,
  pid: 1,
  company: -1,
  unique: 1n,
  signal: new AbortController().signal,
});

/** No content was ever flushed. */
export const noFrames: FrameReader = {
  read: () => {
    throw new Error('no frames here');
  },
};

/** A vfs with its parts at hand. */
export const memoryVfs = <I extends Index = MemoryIndex>(
  options: { index?: I; frames?: FrameReader; readOnly?: boolean; sizeBytes?: number } = {},
) => {
  const clock = new HandClock();
  const index = (options.index ?? new MemoryIndex()) as I;
  const writtenBack: number[] = [];
  const vfs = new Vfs({
    index,
    frames: options.frames ?? noFrames,
    clock,
    fileTime: clock.fileTime,
    stateDirectory: tmpdir(),
    writeBack: async ino => void writtenBack.push(ino),
    readOnly: options.readOnly ?? false,
    sizeBytes: options.sizeBytes,
  });
  return { vfs, index, clock, writtenBack };
};
