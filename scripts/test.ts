/**
 * Every test that fits into minutes: what `npm run ok` runs, and the tiers that run whole processes;
 * since those wait more than they compute, what must be compiled is compiled beside them.
 */
import { installCommand } from '../test/support/crates.ts';
import { add, finish, quickSteps, runSteps, rustSteps, unitSteps } from './steps.ts';

const first = await runSteps([quickSteps, ...unitSteps]);
const beside = await Promise.all([
  runSteps([
    { name: 'network tests', command: ['vitest', 'run', '--project', 'net'] },
    { name: 'mount tests', command: ['vitest', 'run', '--project', 'mount'] },
    { name: 'drive tests', command: ['vitest', 'run', '--project', 'drive'] },
    { name: 'crash tests', command: ['vitest', 'run', '--project', 'crash'] },
  ]),
  runSteps([
    { name: 'fsx compiles', command: installCommand('fsx') },
    { name: 'pjdfstest', command: ['node', 'test/mount/pjdfstest.ts'] },
    ...rustSteps,
    {
      name: 'package compiles',
      command: ['tsc', '-p', 'tsconfig.build.json', '--outDir', 'node_modules/.cache/dist'],
    },
    { name: 'fuzz targets, 10 s each', command: ['node', 'scripts/fuzz.ts'] },
  ]),
]);
finish(add(first, ...beside));
