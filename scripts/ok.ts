/** `npm run ok`: what must hold before every commit (types, lint, import table, Rust, unit tests); no FUSE, no network. */
import { finish, quickSteps, runSteps, rustSteps, unitSteps } from './steps.ts';

finish(await runSteps([quickSteps, ...rustSteps, ...unitSteps]));
