/**
 * Checks the index of a volume whose daemon was killed or has ended. The log is replayed on a copy,
 * so that the next daemon still meets exactly what the dead one left. Argument: the volume's state
 * directory. Prints what is wrong, one finding a line; exit code 1 if anything is.
 */
import { constants, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkIndex } from '../../src/meta/check.ts';
import { openIndex } from '../../src/meta/open.ts';
import { volumePaths } from '../../src/volume/paths.ts';

const state = process.argv[2]!;
const paths = volumePaths(state);
const copy = mkdtempSync(join(state, '..', 'checked-'));
try {
  for (const from of [paths.index, paths.log]) {
    cpSync(from, join(copy, from === paths.index ? 'index' : 'log'), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      filter: path => !path.endsWith('.spare'),
    });
  }
  const directory = join(copy, 'index');
  const index = await openIndex({ directory, logDirectory: join(copy, 'log'), reserveBytes: 0 });
  await index.close();
  const findings = checkIndex(directory);
  for (const finding of findings) console.log(finding);
  process.exitCode = findings.length === 0 ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
