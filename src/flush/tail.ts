/**
 * What follows a committed pack: the upload to the remaining nodes ends, then slivers chosen at
 * random are read back from the network. Only then is the sealed file given up.
 */
import { readFileSync } from 'node:fs';
import { failpoint } from '../base/failpoints.ts';
import type { PackJournal } from './journal.ts';
import { patiently, pause } from './patience.ts';
import type { FlushParts } from './types.ts';
import { removeUpload, type Tail } from './upload.ts';

/** Slivers that must be read back and verified. */
const SPOT_CHECKS = 8;
const AGAIN_MS = 5000;

/** Ends a pack's life in the journal; rejects only when `signal` fires or the network is refused for good. */
export const endTail = async (
  parts: FlushParts,
  journal: PackJournal,
  tail: Tail,
  signal: AbortSignal,
): Promise<void> => {
  const { blobId, size, nShards } = journal.state;
  if (tail.run !== undefined) {
    const { shards, missing } = await tail.run.tail();
    parts.logger.info({ blobId, shards, missing }, 'upload ended');
  }
  const metadata = tail.encoded?.metadata ?? readFileSync(journal.path('metadata'));
  for (let held = 0; held < SPOT_CHECKS; ) {
    const blob = { blobId: blobId!, size, nShards };
    const wanted = SPOT_CHECKS - held;
    const found = await patiently(
      parts,
      signal,
      () => {},
      () => parts.network.spotCheck(blob, metadata, wanted, signal),
    );
    held += found.held;
    for (const failure of found.failed) parts.logger.warn({ blobId, ...failure }, 'spot check');
    if (held < SPOT_CHECKS) await pause(parts.clock, AGAIN_MS, signal);
  }
  failpoint('flush.tail_done');
  removeUpload(parts, journal);
};
