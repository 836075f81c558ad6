/**
 * The files that slivers wait in on their way to the nodes, in the scratch directory. What a pack
 * leaves is taken for a next one of the flush: writing over pages and blocks that are there takes
 * the kernel half the time of giving out new ones. There are as many as uploads and tails at once.
 */
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../base/errors.ts';

const SPARE = '.spare';

const pathOf = (scratch: string, packId: string): string => join(scratch, `${packId}.slivers`);

const sparesIn = (scratch: string): string[] =>
  readdirSync(scratch)
    .filter(name => name.endsWith(SPARE))
    .map(name => join(scratch, name));

/** Where a pack's slivers are to be written; what another pack left there is to be written over. */
export const takeSliverFile = (scratch: string, packId: string): string => {
  const path = pathOf(scratch, packId);
  const [spare] = sparesIn(scratch);
  if (spare !== undefined) renameSync(spare, path);
  return path;
};

/** Leaves the slivers of a pack, which nobody reads any more, to a next one. */
export const leaveSliverFile = (scratch: string, packId: string): void => {
  const path = pathOf(scratch, packId);
  try {
    renameSync(path, `${path}${SPARE}`);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
};

/** Gives back the space of files that no pack has taken. */
export const dropSpareSlivers = (scratch: string): void => {
  for (const spare of sparesIn(scratch)) rmSync(spare, { force: true });
};
