import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createFile, makeDirectory, replaceFile } from '../../src/base/files.ts';

const root = mkdtempSync(join(tmpdir(), 'tuskfs-files-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('a directory is made with all that is missing above it, once more harmlessly', () => {
  const path = join(root, 'a', 'b', 'c');
  for (const _ of [1, 2]) makeDirectory(path);
  for (const made of [path, join(root, 'a')]) expect(statSync(made).mode & 0o777).toBe(0o700);
});

test('where no directory can be made the error comes at once', () => {
  expect(() => makeDirectory('/proc/tuskfs/config')).toThrow(/ENOENT/);
  writeFileSync(join(root, 'file'), '');
  expect(() => makeDirectory(join(root, 'file', 'below'))).toThrow(/ENOTDIR|EEXIST/);
});

test('a file that is there is not made anew', () => {
  const path = join(root, 'key');
  createFile(path, 'first');
  expect(() => createFile(path, 'second')).toThrow(/EEXIST/);
  expect(readFileSync(path, 'utf8')).toBe('first');
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('what cannot be written whole leaves nothing behind, nor changes what was there', () => {
  // No bytes: as a full disk does, this stops the write once the file is open.
  const broken = 5 as never;
  const [path, kept] = [join(root, 'broken'), join(root, 'kept')];
  replaceFile(kept, 'old');
  expect(() => createFile(path, broken)).toThrow();
  expect(() => replaceFile(kept, broken)).toThrow();
  for (const left of [path, `${kept}.new`]) expect(existsSync(left)).toBe(false);
  expect(readFileSync(kept, 'utf8')).toBe('old');
});
