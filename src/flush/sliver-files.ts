/**
 * The files that slivers wait in on their way to the nodes, in the scratch directory. What a pack
 * leaves is taken for the next one of the flush: writing over pages and blocks that are there takes
 * the kernel half the time of giving out new ones.
 */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../base/errors.ts';

const sparePath = (scratch: string): string => join(scratch, 'spare.slivers');
const pathOf = (scratch: string, packId: string): string => join(scratch, `${packId}.slivers`);

const moved = (from: string, to: string): void => {
  try {
    renameSync(from, to);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
};

/** Where a pack's slivers are to be written; what another pack left there is to be written over. */
export const takeSliverFile = (scratch: string, packId: string): string => {
  const path = pathOf(scratch, packId);
  moved(sparePath(scratch), path);
  return path;
};

/** Leaves the slivers of a pack, which nobody reads any more, to the next one. */
export const leaveSliverFile = (scratch: string, packId: string): void =>
  moved(pathOf(scratch, packId), sparePath(scratch));

/** Gives back the space of a file that no pack has taken. */
export const dropSpareSlivers = (scratch: string): void =>
  rmSync(sparePath(scratch), { force: true });
