/**
 * Every test that fits into minutes: what `npm run ok` runs, and the tiers that run whole processes;
 * since those wait more than they compute, what must be compiled is compiled beside them.
 */
import { installCommand } from '../test/support/crates.ts';
import { add, finish, quickSteps, runSteps, rustSteps, unitSteps } from './steps.ts';

const first = await runSteps([
  // fsx runs longest of all, so it must be there when the others begin.
  [...quickSteps, { name: 'fsx compiles', command: installCommand('fsx') }],
  ...unitSteps,
]);
const beside = await Promise.all([
  runSteps([
    {
      name: 'network, mount, drive and crash tests',
      command: [
        'vitest',
        'run',
        ...['net', 'mount', 'drive', 'crash'].flatMap(tier => ['--project', tier]),
      ],
    },
  ]),
  runSteps([
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
