/** The envelope as it lies on this machine; alone, for who serves a volume needs no wallet. */
import { readFileSync } from 'node:fs';
import { messageOf, systemCode, TuskError } from '../base/errors.ts';
import { volumePaths } from './paths.ts';
import type { VolumeSettings } from './settings.ts';

/** The envelope of a volume on this machine. */
export const readEnvelope = (name: string, volume: VolumeSettings): Buffer => {
  const path = volumePaths(volume.stateDirectory).envelope;
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = systemCode(cause) === 'ENOENT' ? 'not_found' : 'io';
    throw new TuskError(
      code,
      `the envelope of ${name} at ${path} cannot be read: ${messageOf(cause)}. Every checkpoint on the network holds a copy of it.`,
      { cause },
    );
  }
};
