/** Indexes that earlier versions made (`test/golden/format/index.v*.db.gz`, never written again) open as if they were new. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkIndex } from '../../src/meta/check.ts';
import { INDEX_SCHEMA } from '../../src/meta/schema.ts';
import { openSmall, scratchPlace, settled, treeOf } from './support.ts';

let place: ReturnType<typeof scratchPlace>;
beforeEach(() => {
  place = scratchPlace();
});
afterEach(() => place.remove());

/** Rows of a query on one of the two files. */
const rows = (name: 'index.db' | 'local.db', sql: string): unknown[] => {
  const db = new Database(join(place.directory, name), { readonly: true });
  try {
    return db.prepare(sql).raw().all();
  } finally {
    db.close();
  }
};

test('version 1: its files, frames and the way from content to frames', async () => {
  const path = fileURLToPath(new URL('../golden/format/index.v1.db.gz', import.meta.url));
  mkdirSync(place.directory, { recursive: true });
  writeFileSync(join(place.directory, 'index.db'), gunzipSync(readFileSync(path)));
  expect(rows('index.db', "SELECT value FROM state WHERE key = 'schema'")).toEqual([[1]]);

  const index = await openSmall(place);
  expect(treeOf(index)).toMatchObject({
    names: [
      {
        dentry: { name: 'directory' },
        below: {
          names: [1, 2, 3].map(i => ({
            dentry: { name: `file-${i}` },
            inode: { size: 1000 * i },
            content: String.fromCharCode(i).repeat(1000 * i),
            xattrs: i === 1 ? [['user.comment', 'kept']] : [],
          })),
        },
      },
      { dentry: { name: 'link' }, target: 'file-1' },
    ],
  });
  for (const id of [1, 2, 3])
    expect(index.frame(id)).toMatchObject({ identity: Buffer.alloc(32, 100 + id), pack: 1 });

  // A frame stored anew keeps its number; a new one gets in beside it.
  const pack = { ...index.pack(1)!, pack: 2, packId: Buffer.alloc(16, 9) };
  const frames = [2, 4].map(id => ({
    ...{ frame: id, identity: Buffer.alloc(32, 100 + id), pack: 2, slot: id },
    ...{ offset: 456 * id, sealedBytes: 2016, plainBytes: 2000, compression: 0 },
  }));
  await index.commitPack({ pack, frames, ranges: [] });
  await settled(index);
  await index.close();
  expect(checkIndex(place.directory)).toEqual([]);
  expect(rows('index.db', "SELECT value FROM state WHERE key = 'schema'")).toEqual([
    [INDEX_SCHEMA.version],
  ]);
  expect(rows('index.db', 'SELECT id, pack FROM frame')).toEqual([
    [1, 1],
    [2, 2],
    [3, 1],
    [4, 2],
  ]);
  expect(
    rows('index.db', "SELECT 1 FROM sqlite_master WHERE name LIKE '%autoindex_frame%'"),
  ).toEqual([]);
  expect(rows('local.db', 'SELECT start, frame FROM identity')).toEqual(
    [1, 2, 3, 4].map(id => [Buffer.alloc(8, 100 + id), id]),
  );
});
