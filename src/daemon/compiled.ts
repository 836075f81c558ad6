/** How Node.js runs a daemon: its code is kept compiled, so that a start takes half the time; its memory stays small. */
import * as module from 'node:module';
import { join } from 'node:path';

/**
 * What a thread has made since it last tidied up; by itself that grows to 134 MB a thread under a
 * stream of requests, nearly all of it dead.
 */
export const HEAP_FLAGS = ['--max-semi-space-size=8'];

/**
 * For glibc: memory of this size or more goes back to the system when it is freed. By itself the
 * threshold rises to what was freed before, and a flush leaves more than 100 MB behind in pieces.
 */
const ALLOCATOR = { MALLOC_MMAP_THRESHOLD_: `${256 * 1024}` };

/** Environment of a daemon; `root` is its volume's state directory. */
export const compiledIn = (root: string): NodeJS.ProcessEnv => ({
  NODE_COMPILE_CACHE: join(root, 'compiled'),
  ...ALLOCATOR,
  ...process.env,
});

/** Keeps what was loaded until now, since a daemon that is killed cannot (Node.js 22). */
export const keepCompiled = (): void => {
  if ('flushCompileCache' in module) module.flushCompileCache();
};
