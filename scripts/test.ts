/** Every test that fits into minutes: `npm run ok`, then the tiers that run whole processes. */
import { finish, okSteps, runSteps, type Step } from './steps.ts';

const fsx = (seed: string): Step => ({
  name: `fsx, seed ${seed}`,
  command: ['node', 'test/mount/suite.ts', 'fsx', seed],
});

finish(
  await runSteps([
    ...okSteps,
    {
      name: 'package compiles',
      command: ['tsc', '-p', 'tsconfig.build.json', '--outDir', 'node_modules/.cache/dist'],
    },
    { name: 'fuzz targets, 10 s each', command: ['node', 'scripts/fuzz.ts'] },
    { name: 'network tests', command: ['vitest', 'run', '--project', 'net'] },
    { name: 'mount tests', command: ['vitest', 'run', '--project', 'mount'] },
    [{ name: 'pjdfstest', command: ['node', 'test/mount/suite.ts', 'pjdfstest'] }, fsx('1')],
    [fsx('2'), fsx('3')],
    { name: 'drive tests', command: ['vitest', 'run', '--project', 'drive'] },
    { name: 'crash tests', command: ['vitest', 'run', '--project', 'crash'] },
  ]),
);
