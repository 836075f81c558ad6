import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Where children of tests keep their code compiled; each would have to do it by itself. */
const compiled = fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url));

/**
 * One project a tier: `unit` needs no FUSE and no localnet; the others run whole processes, two
 * files at a time, which wait more than they compute.
 */
const project = (name: string, include: string[], testTimeout: number, processes: boolean) => ({
  test: {
    name,
    include,
    testTimeout,
    hookTimeout: testTimeout,
    pool: 'forks' as const,
    ...(processes
      ? { maxWorkers: 2, sequence: { groupOrder: 1 }, env: { NODE_COMPILE_CACHE: compiled } }
      : {}),
  },
});

export default defineConfig({
  test: {
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
