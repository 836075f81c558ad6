/** Names of segment files, and where a log address stands on disk. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TuskError } from '../base/errors.ts';
import type { LogAddr } from '../base/ids.ts';
import { offsetOf, slotOf } from './record.ts';

const PATTERN = /^([0-9]{8,})\.seg$/;

/** Path of a segment file. */
export const segmentPath = (directory: string, slot: number): string =>
  join(directory, `${String(slot).padStart(8, '0')}.seg`);

/** File and offset of staged bytes, for whoever reads them by descriptor (sealing). */
export const stagedPlace = (
  directory: string,
  addr: LogAddr,
): { path: string; offset: number } => ({
  path: segmentPath(directory, slotOf(addr)),
  offset: offsetOf(addr),
});

/** The error for staged bytes that the disk altered. `paths`: the files that show them, if known. */
export const damagedBytes = (
  directory: string,
  addr: LogAddr,
  length: number,
  paths: readonly string[],
): TuskError => {
  const { path, offset } = stagedPlace(directory, addr);
  const whose = paths.length === 0 ? '' : `of ${paths.join(', ')} `;
  return new TuskError(
    'damaged',
    `${length} bytes ${whose}were altered on the disk since they were written (${path}, from byte ${offset}): they are not served and not uploaded; ` +
      'everything else is safe; check the disk, and write the file anew or remove it',
    { details: { path, offset, length } },
  );
};

/** Slots that have a file, ascending. */
export const slotsIn = (directory: string): number[] =>
  readdirSync(directory)
    .map(name => PATTERN.exec(name)?.[1])
    .filter(slot => slot !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
