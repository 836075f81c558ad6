/** Whether a volume's state is where it should be: moved away under a mount, it must not be made anew. */
import { statSync } from 'node:fs';
import { TuskError } from '../base/errors.ts';
import type { VolumePaths } from './paths.ts';

const isMissing = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
};

/** Throws `not_found` if a volume's state is not where the settings say; made anew there, it would be an empty volume. */
export const needState = (name: string, { root, envelope }: VolumePaths): void => {
  if (!isMissing(envelope)) return;
  throw new TuskError(
    'not_found',
    `the state of ${name} is not in ${root}: it was moved or removed, or its disk is not mounted. Nothing was made anew; put it back there, for what the network does not have yet stands nowhere else. A drive that is mounted goes on if that is done within a minute`,
  );
};
