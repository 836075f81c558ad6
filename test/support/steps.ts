/**
 * A long seeded history of a small tree: step by step the same on every run, so that a program can
 * go on where it was interrupted and another can say what the tree must look like after step `n`.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { seededRandom } from '../../src/base/random.ts';

const PATHS = 160;
const BIG_EVERY = 150;

/** What a step does to its path. */
export type Step = {
  readonly path: string;
  /** Permission bits and time (whole seconds) that the file has afterwards. */
  readonly mode: number;
  readonly timeS: number;
} & (
  | { readonly kind: 'write' | 'replace' | 'append'; readonly size: number }
  | { readonly kind: 'unlink' }
);

/** A file as it must be. */
export interface Expected {
  readonly size: number;
  readonly mode: number;
  readonly timeS: number;
  /** The bytes, made when asked for. */
  content(): Buffer;
}

/** The `size` bytes that step `i` writes; they do not compress. */
export const contentOf = (seed: number, i: number, size: number): Buffer =>
  createHash('shake256', { outputLength: size }).update(`${seed} ${i}`).digest();

/** Step `i` (from 0) of the history `seed`. */
export const stepOf = (seed: number, i: number): Step => {
  const random = seededRandom(seed * 1_000_003 + i);
  const n = random.below(PATHS);
  const path = join(`d${n % 13}`, `f${n}`);
  const mode = 0o600 + random.below(0o100);
  const timeS = 1_600_000_000 + i;
  const dice = random.below(100);
  if (dice < 8) return { kind: 'unlink', path, mode, timeS };
  const kind = dice < 25 ? 'replace' : dice < 45 ? 'append' : 'write';
  const size = i % BIG_EVERY === BIG_EVERY - 1 ? 3_000_000 + random.below(4e6) : random.below(4e4);
  return { kind, path, mode, timeS, size };
};

/** The tree after the first `count` steps, by path. */
export const treeAfter = (seed: number, count: number): Map<string, Expected> => {
  const tree = new Map<string, Expected>();
  for (let i = 0; i < count; i++) {
    const step = stepOf(seed, i);
    const { path, mode, timeS } = step;
    if (step.kind === 'unlink') tree.delete(path);
    else {
      const before = step.kind === 'append' ? tree.get(path) : undefined;
      const size = (before?.size ?? 0) + step.size;
      const content = () =>
        Buffer.concat([before?.content() ?? Buffer.alloc(0), contentOf(seed, i, step.size)]);
      tree.set(path, { size, mode, timeS, content });
    }
  }
  return tree;
};

/** Where a file of a `replace` step is written before it takes its place. */
export const draftOf = (path: string): string => `${path}.draft`;
