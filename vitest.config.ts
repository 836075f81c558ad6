import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Where children of tests keep their code compiled; each would have to do it by itself. */
const compiled = fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url));

/** Files that take longest; they start first, or they would go on alone when all others are done. */
const LONGEST =
  /(net\/misbehaviour|mount\/(takeover|listing)|drive\/fsx|crash\/(flush-points|kill|power))\.test\.ts$/;

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => LONGEST.test(moduleId);
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter(file => !isLong(file))];
  }
}

/**
 * One project a tier: `unit` needs no FUSE and no localnet; the others run whole processes, three
 * files at a time on two cores, for they wait as long as they compute.
 */
const project = (name: string, include: string[], testTimeout: number, processes: boolean) => ({
  test: {
    name,
    include,
    testTimeout,
    hookTimeout: testTimeout,
    pool: 'forks' as const,
    ...(processes
      ? { maxWorkers: 3, sequence: { groupOrder: 1 }, env: { NODE_COMPILE_CACHE: compiled } }
      : {}),
  },
});

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      project(
        'unit',
        [
          'test/{base,fuse,log,meta,format,walrus,content,vfs,flush,volume,localnet,cli,codec,model,daemon}/**/*.test.ts',
        ],
        120_000,
        false,
      ),
      project('net', ['test/{net,interop}/**/*.test.ts'], 120_000, true),
      project('mount', ['test/mount/**/*.test.ts'], 120_000, true),
      project('drive', ['test/drive/**/*.test.ts'], 300_000, true),
      project('crash', ['test/crash/**/*.test.ts'], 300_000, true),
      project('soak', ['test/soak/**/*.test.ts'], 1_800_000, true),
    ],
  },
});
