/** Encoding a pack must fit beside everything else that a machine does. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';

const PACK = 64 * 2 ** 20;
const CHILD = fileURLToPath(new URL('encode-memory.ts', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'tuskfs-memory-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('encoding a pack over 1000 shards takes anonymous memory for at most one and a half packs', async () => {
  const path = join(dir, 'pack');
  writeFileSync(path, '');
  truncateSync(path, PACK);
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[CHILD, path, '1000', join(dir, 'slivers')],
  ]);
  const grown = Number(stdout);
  expect(grown).toBeGreaterThan(2 ** 20);
  expect(grown).toBeLessThan(1.5 * PACK);
});
