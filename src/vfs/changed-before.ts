/**
 * Answers to requests whose change was made by a daemon that died before it could say so (S-44).
 * The change was the last one, so the tree is as that daemon left it, and its answer is what the
 * tree shows; the rest is in the record of the change. Nothing is changed here.
 */
import type { Ino, Name } from '../base/ids.ts';
import type { Answer, Attr, Caller, Changes } from '../fuse/filesystem.ts';
import { getattr } from './inodes.ts';
import { O_EXCL } from './modes.ts';
import { lookup } from './names.ts';
import type { Tree } from './tree.ts';

/** What the record of a change tells beyond the tree. */
export interface Effect {
  /** The first inode that it set. */
  readonly ino: Ino;
  /** Bytes of the first range that it made a hole. */
  readonly cutBytes: number;
}

const done = (): number => 0;

/** Answers in the place of the file system's changes. */
export const changedBefore = (tree: Tree, { ino, cutBytes }: Effect): Changes => {
  const named = (_caller: Caller, parent: Ino, name: Name): Answer<Attr> =>
    lookup(tree, parent, name);
  return {
    mknod: named,
    mkdir: named,
    symlink: named,
    create: named,
    link: (_caller, _ino, parent, name) => lookup(tree, parent, name),
    tmpfile: (_caller, _parent, _mode, flags) => {
      if ((flags & O_EXCL) !== 0) tree.linkable.delete(ino);
      return tree.entered(ino);
    },
    setattr: (_caller, of) => getattr(tree, of),
    // A write is made as a whole; a copy makes the range a hole before it shows anything there.
    write: (_caller, _ino, _offset, data) => data.length,
    copyFileRange: () => cutBytes,
    unlink: done,
    rmdir: done,
    rename: done,
    setxattr: done,
    removexattr: done,
    fallocate: done,
  };
};
