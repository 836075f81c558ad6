/** Every test that fits into minutes: `npm run ok`, then the tiers that run whole processes. */
import { finish, okSteps, runSteps } from './steps.ts';

finish(
  await runSteps([
    ...okSteps,
    { name: 'network tests', command: ['vitest', 'run', '--project', 'net'] },
    { name: 'mount tests', command: ['vitest', 'run', '--project', 'mount'] },
    { name: 'drive tests', command: ['vitest', 'run', '--project', 'drive'] },
    { name: 'crash tests', command: ['vitest', 'run', '--project', 'crash'] },
  ]),
);
