/** The note file of the writer: a line for each step that was done. */
import { existsSync, readFileSync } from 'node:fs';

/** How many steps are noted; they were done in order, from 0. */
export const notedSteps = (notes: string): number =>
  existsSync(notes) ? readFileSync(notes, 'utf8').split('\n').length - 1 : 0;
