/** A small index in a directory of its own, and what it shows, in one value that can be compared. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ino } from '../../src/base/ids.ts';
import type { MetaIndex } from '../../src/meta/index.ts';
import { openIndex } from '../../src/meta/open.ts';

export const MiB = 1024 * 1024;

/** Directories of one index; `remove` at the end. */
export const scratchPlace = () => {
  const root = mkdtempSync(join(tmpdir(), 'tuskfs-meta-'));
  return {
    root,
    directory: join(root, 'index'),
    logDirectory: join(root, 'log'),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
};

/** Opens it with small segments, whose checksums are known at once. */
export const openSmall = async (
  place: { directory: string; logDirectory: string },
  options: { segmentBytes?: number; reserveBytes?: number } = {},
): Promise<MetaIndex> => {
  const index = await openIndex({ ...place, segmentBytes: MiB, reserveBytes: 0, ...options });
  for (const { slot } of index.log.segments.used) await index.log.segments.verify(slot);
  return index;
};

/** Waits until the index writer has everything. */
export const settled = async (index: MetaIndex): Promise<void> => {
  await index.sync();
  while (index.metrics().lagRecords > 0) await new Promise(resolve => setTimeout(resolve, 2));
};

/** Content of [0, length) of a file, holes as zeros; every extent must be staged. */
export const contentOf = (index: MetaIndex, ino: Ino, length: number): Buffer => {
  const content = Buffer.alloc(length);
  for (const extent of index.extents(ino, 0, length)) {
    if (extent.addr >= 0) {
      const bytes = index.stagedBytes(extent.addr, extent.length) as Buffer;
      bytes.copy(content, extent.offset);
    } else {
      content.fill(extent.frame, extent.offset, extent.offset + extent.length);
    }
  }
  return content;
};

/** Everything below `directory`, with attributes and content. */
export const treeOf = (index: MetaIndex, directory: Ino = 1): unknown => ({
  inode: index.inode(directory),
  names: index.list(directory, 0, 10_000).map(dentry => ({
    dentry,
    inode: index.inode(dentry.ino),
    target: index.symlink(dentry.ino)?.toString(),
    xattrs: index
      .xattrNames(dentry.ino)
      .sort()
      .map(name => [name, index.xattr(dentry.ino, name)?.toString()]),
    content:
      dentry.type === 8
        ? contentOf(index, dentry.ino, index.inode(dentry.ino)?.size ?? 0).toString('latin1')
        : undefined,
    below: dentry.type === 4 ? treeOf(index, dentry.ino) : undefined,
  })),
});
