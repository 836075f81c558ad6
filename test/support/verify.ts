/** Reads back what `writer.ts` noted and prints the numbers of files that are missing or differ. Arguments: as of the writer. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.ts';
import { fileOf, noted } from './writer.ts';

const [directory, notes, , seed] = process.argv.slice(2);
let bad = 0;
for (const i of noted(notes!)) {
  const { path, content } = fileOf(Number(seed), i);
  try {
    if (readFileSync(join(directory!, path)).equals(content)) continue;
    console.log(`${path}: content differs`);
  } catch (error) {
    console.log(`${path}: ${messageOf(error)}`);
  }
  bad++;
}
process.exitCode = bad === 0 ? 0 : 1;
