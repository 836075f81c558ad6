/** A check of what a daemon left behind that died or was cut off, without changing it. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkIndex } from '../../src/meta/check.ts';
import { openIndex } from '../../src/meta/open.ts';
import type { Served } from './served.ts';

/** A log of many small segments. */
export const SMALL_LOG = { segmentBytes: 2 ** 19, reserveBytes: 2 ** 20 };

/** What a check says after a replay; both on a copy, so that the next daemon meets what the last one left. */
export const findingsOnCopy = async (served: Served): Promise<string[]> => {
  const copy = mkdtempSync(join(served.work, 'copy-'));
  const [directory, logDirectory] = [join(copy, 'index'), join(copy, 'log')];
  const filter = (path: string): boolean => !path.endsWith('.spare');
  try {
    cpSync(served.state, copy, { recursive: true, filter });
    const index = await openIndex({ ...SMALL_LOG, directory, logDirectory, reserveBytes: 0 });
    await index.close();
    return checkIndex(directory);
  } finally {
    rmSync(copy, { recursive: true });
  }
};
