/** The check of our own encoder finds what it is for: wrong slivers, and a blob ID that the official encoder does not name. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { checkEncoding } from '../../src/flush/self-check.ts';
import { bytesOf, encode } from '../support/blobs.ts';

const SHARDS = 100;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tusk-check-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A blob larger than what is judged of it, and its encoding. */
const encoded = async () => {
  const file = await encode(directory, bytesOf(1, 9 * 2 ** 20), SHARDS);
  return { file, path: file.sliversPath.replace(/slivers$/, 'blob') };
};

test('an encoding that is right passes', async () => {
  const { file, path } = await encoded();
  await checkEncoding(path, file, seededRandom(1));
});

test('slivers that are not those of the metadata are found, and nothing counts as paid', async () => {
  const { file, path } = await encoded();
  const slivers = readFileSync(file.sliversPath);
  for (let at = 100; at < slivers.length; at += 4096) slivers[at]! ^= 1;
  writeFileSync(file.sliversPath, slivers);
  const checked = checkEncoding(path, file, seededRandom(2));
  await expect(checked).rejects.toThrow(
    /the sliver (primary|secondary) \d.*Nothing was registered/,
  );
});

test('a blob ID that the official encoder does not name is found', async () => {
  const file = await encode(directory, bytesOf(1, 2 ** 20), SHARDS);
  const other = join(directory, 'other');
  copyFileSync(file.sliversPath.replace(/slivers$/, 'blob'), other);
  const bytes = readFileSync(other);
  bytes[12345]! ^= 1;
  writeFileSync(other, bytes);
  await expect(checkEncoding(other, file, seededRandom(3))).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining(`blob ID ${file.blobId}, officially `),
  });
});

test('an official encoder that fails says why', async () => {
  const { file } = await encoded();
  const gone = join(directory, 'gone');
  await expect(checkEncoding(gone, file, seededRandom(4))).rejects.toThrow(
    /the official encoder ended with 1: .*ENOENT/s,
  );
});
