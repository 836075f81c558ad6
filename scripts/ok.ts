/** `npm run ok`: types, lint, import table, Rust, unit tests. */
import { finish, okSteps, runSteps } from './steps.ts';

finish(await runSteps(okSteps));
