import { defineConfig } from 'vitest/config';

/** One project a tier: `unit` needs no FUSE and no localnet; the others run whole processes. */
const project = (name: string, include: string[], testTimeout: number, parallel: boolean) => ({
  test: {
    name,
    include,
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism: parallel,
    pool: 'forks' as const,
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
        true,
      ),
      project('net', ['test/{net,interop}/**/*.test.ts'], 120_000, false),
      project('mount', ['test/mount/**/*.test.ts'], 120_000, false),
      project('drive', ['test/drive/**/*.test.ts'], 300_000, false),
      project('crash', ['test/crash/**/*.test.ts'], 300_000, false),
      project('soak', ['test/soak/**/*.test.ts'], 1_800_000, false),
    ],
  },
});
