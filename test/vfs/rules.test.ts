/** The rules of src/vfs/SEMANTICS.md that the model does not cover, each by its number. */
import { describe, expect, test } from 'vitest';
import { Errno } from '../../src/base/errno.ts';
import { LINKS_MAX } from '../../src/base/limits.ts';
import type { Attr } from '../../src/fuse/filesystem.ts';
import type { FramePlace } from '../../src/meta/types.ts';
import type { MemoryIndex } from '../support/memory-index.ts';
import { callerOf, memoryVfs } from '../support/vfs.ts';

const root = callerOf(0);
const user = callerOf(1000);
const made = (answer: unknown): Attr => {
  expect(answer).toBeTypeOf('object');
  return answer as Attr;
};
const file = ({ vfs }: ReturnType<typeof memoryVfs>, name = 'f', mode = 0o644) =>
  made(vfs.create(root, 1, name, 0o100000 | mode, 0, 0)).ino;

/** A part of a staged file now stands in frame 5. */
const certify = async (index: MemoryIndex, ino: number, offset: number, length: number) => {
  const [run] = index.extents(ino, offset, length);
  const pack = {
    ...{ pack: 1, packId: Buffer.alloc(16), salt: Buffer.alloc(32), size: 1, nShards: 10 },
    ...{ blobId: Buffer.alloc(32), objectId: '', endEpoch: 1 },
  };
  const range = { ino, offset, length, addr: run!.addr, oldFrame: 0, oldAt: 0, frame: 5, at: 0 };
  await index.commitPack({ pack, frames: [{ frame: 5 } as FramePlace], ranges: [range] });
};

describe('names', () => {
  test('S-4: other types of inode are refused', () => {
    const { vfs } = memoryVfs();
    expect(vfs.mknod(root, 1, 'd', 0o040755, 0, 0)).toBe(-Errno.EINVAL);
    const device = made(vfs.mknod(root, 1, 'null', 0o020666, 0x103, 0o022));
    expect([device.mode, device.rdev]).toEqual([0o020644, 0x103]);
    expect(made(vfs.mknod(root, 1, 'plain', 0o600, 7, 0)).rdev).toBe(0);
  });

  test('S-5: targets are bytes, at most 4,095', () => {
    const { vfs } = memoryVfs();
    const target = Buffer.from([0xff, 0x2f, 0x80]);
    const { ino, size } = made(vfs.symlink(root, 1, 'l', target));
    expect([vfs.readlink(root, ino), size]).toEqual([target, 3]);
    expect(vfs.symlink(root, 1, 'm', Buffer.alloc(4096, 'x'))).toBe(-Errno.ENAMETOOLONG);
    expect(vfs.readlink(root, 1)).toBe(-Errno.EINVAL);
  });

  test('S-6: too many links to a file; subdirectories are never too many', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    parts.index.inodes.get(1)!.nlink = LINKS_MAX + 1;
    expect(made(parts.vfs.mkdir(root, 1, 'd', 0o755, 0)).nlink).toBe(2);
    expect(parts.index.inodes.get(1)!.nlink).toBe(LINKS_MAX + 2);
    parts.index.inodes.get(ino)!.nlink = LINKS_MAX;
    expect(parts.vfs.link(root, ino, 1, 'g')).toBe(-Errno.EMLINK);
  });

  test('S-8: what is no form of rename is refused; a full disk takes all that are', () => {
    const parts = memoryVfs();
    const { vfs, index } = parts;
    const [f, g] = [file(parts), file(parts, 'g')];
    for (const flags of [4, 5, 8])
      expect(vfs.rename(root, 1, 'f', 1, 'h', flags)).toBe(-Errno.EINVAL);
    index.full = true;
    expect(vfs.rename(root, 1, 'f', 1, 'g', 2)).toBe(0);
    expect(index.lookup(1, 'f')!.ino).toBe(g);
    expect(vfs.rename(root, 1, 'g', 1, 'f', 0)).toBe(0);
    expect([index.lookup(1, 'f')!.ino, index.lookup(1, 'g')]).toEqual([f, undefined]);
  });

  test('S-10: a file without a name goes with its last lookup, or with the kernel', () => {
    const parts = memoryVfs();
    const { vfs, index } = parts;
    const [held, other] = [file(parts), file(parts, 'g')];
    vfs.write(root, held, 0, Buffer.from('kept'), 1);
    vfs.unlink(root, 1, 'f');
    vfs.unlink(root, 1, 'g');
    expect(vfs.read(root, held, 0, 9)).toEqual([Buffer.from('kept')]);
    vfs.forget(held, 1);
    expect([index.inodes.has(held), index.inodes.has(other)]).toEqual([false, true]);
    vfs.destroy();
    expect(index.inodes.has(other)).toBe(false);
  });

  test('S-10: what nobody looked up goes at once', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    parts.vfs.forget(ino, 1);
    expect(parts.vfs.unlink(root, 1, 'f')).toBe(0);
    expect(parts.index.inodes.has(ino)).toBe(false);
  });

  test('S-11: names that stay are listed once while others come and go', () => {
    const parts = memoryVfs();
    const { vfs } = parts;
    for (let i = 0; i < 30; i++) file(parts, `stays-${i}`);
    const seen: string[] = [];
    for (let cookie = 0, round = 0; ; round++) {
      const entries = vfs.readdir(root, 1, cookie, 4) as { name: string; cookie: number }[];
      if (entries.length === 0 || round > 40) break;
      seen.push(...entries.map(entry => entry.name).filter(name => name.startsWith('stays')));
      cookie = entries.at(-1)!.cookie;
      if (round < 20) file(parts, `comes-${round}`);
      vfs.unlink(root, 1, `comes-${round - 1}`);
    }
    expect([seen.length, new Set(seen).size]).toEqual([30, 30]);
  });
});

describe('content', () => {
  test('S-15: sizes', () => {
    const parts = memoryVfs();
    const { vfs } = parts;
    const ino = file(parts);
    const max = Number.MAX_SAFE_INTEGER;
    expect(vfs.setattr(root, ino, { size: max + 1 })).toBe(-Errno.EFBIG);
    expect(made(vfs.setattr(root, ino, { size: max })).size).toBe(max);
    expect(vfs.write(root, ino, max - 1, Buffer.alloc(2), 0)).toBe(-Errno.EFBIG);
    expect(vfs.fallocate(root, ino, max - 1, 2, 0)).toBe(-Errno.EFBIG);
    expect(vfs.setattr(root, 1, { size: 0 })).toBe(-Errno.EISDIR);
    const hole = vfs.read(root, ino, max - 3_000_000, 3_000_010) as Buffer[];
    expect(hole.reduce((sum, part) => sum + part.length, 0)).toBe(3_000_000);
  });

  test('S-19: growth fails first, accepted pages and removal later', () => {
    const parts = memoryVfs();
    const { vfs, index } = parts;
    const ino = file(parts);
    index.full = true;
    expect(vfs.create(root, 1, 'g', 0o100644, 0, 0)).toBe(-Errno.ENOSPC);
    expect(vfs.setattr(root, ino, { size: 10 })).toBe(-Errno.ENOSPC);
    expect(vfs.write(root, ino, 0, Buffer.alloc(10), 0)).toBe(-Errno.ENOSPC);
    expect(vfs.setxattr(root, ino, 'user.a', Buffer.alloc(1), 0)).toBe(-Errno.ENOSPC);
    expect(vfs.write(root, ino, 0, Buffer.alloc(10), 1)).toBe(10);
    expect(made(vfs.setattr(root, ino, { mtime: 'now' })).size).toBe(10);
    index.reserveFull = true;
    expect(vfs.write(root, ino, 10, Buffer.alloc(10), 1)).toBe(-Errno.ENOSPC);
    expect(made(vfs.getattr(root, ino)).size).toBe(10);
    index.reserveFull = false;
    expect(vfs.unlink(root, 1, 'f')).toBe(0);
  });

  test('S-19: growth waits for the space of what was deleted, and answers its own request then', async () => {
    const { vfs, index } = memoryVfs();
    index.full = true;
    const asked: number[] = [];
    index.reliefs = async () => {
      index.full = false;
    };
    const append = index.change.bind(index);
    index.change = () => {
      asked.push(index.cause.request);
      return append();
    };
    index.cause.request = 7;
    const waiting = vfs.symlink(root, 1, 'g', Buffer.from('target'));
    index.cause.request = 0;
    expect(waiting).toBeInstanceOf(Promise);
    const { ino } = made((await waiting) as Attr);
    expect(vfs.readlink(root, ino)).toEqual(Buffer.from('target'));
    expect([asked, index.cause.request]).toEqual([[7, 7], 0]);
    // Tried once more, not for ever; and not for one who has been told to stop.
    index.full = true;
    index.reliefs = async () => undefined;
    expect(await vfs.mkdir(root, 1, 'd', 0o755, 0)).toBe(-Errno.ENOSPC);
    const stopped = { ...root, signal: AbortSignal.abort() };
    expect(await vfs.mkdir(stopped, 1, 'd', 0o755, 0)).toBe(-Errno.EINTR);
  });

  test('S-19, S-44: of several that wait for space, each is answered before the next change is made', async () => {
    const { vfs, index } = memoryVfs();
    index.full = true;
    const relief = Promise.resolve().then(() => {
      index.full = false;
    });
    index.reliefs = () => relief;
    const order: string[] = [];
    const append = index.change.bind(index);
    const waiting = ['a', 'b', 'c'].map(name => {
      index.cause.request = name.charCodeAt(0);
      return (vfs.mkdir(root, 1, name, 0o755, 0) as Promise<unknown>).then(() => order.push(name));
    });
    index.change = () => {
      order.push(`change for ${String.fromCharCode(index.cause.request)}`);
      return append();
    };
    await Promise.all(waiting);
    expect(order).toEqual(['a', 'b', 'c'].flatMap(name => [`change for ${name}`, name]));
  });

  test('S-20: fsync and fsyncdir reach the log', async () => {
    const parts = memoryVfs();
    expect(await parts.vfs.fsync(root, file(parts), true)).toBe(0);
    expect(await parts.vfs.fsyncdir(root, 1)).toBe(0);
    expect(parts.index.syncs).toBe(2);
  });

  test('S-21: fallocate refuses what df has no room for; what is there needs none', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    parts.vfs.write(root, ino, 0, Buffer.alloc(9000), 1);
    parts.index.room = 5000;
    const fallocate = (offset: number, length: number, mode: number): unknown =>
      parts.vfs.fallocate(root, ino, offset, length, mode);
    for (const mode of [0, 1, 16]) expect(fallocate(0, 14_001, mode)).toBe(-Errno.ENOSPC);
    expect(fallocate(0, 14_001, 3)).toBe(0);
    parts.vfs.write(root, ino, 0, Buffer.alloc(9000), 1);
    expect(fallocate(0, 14_000, 0)).toBe(0);
  });

  test('S-21: other modes of fallocate', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    for (const mode of [0x02, 0x08, 0x20, 0x40])
      expect(parts.vfs.fallocate(root, ino, 0, 1, mode)).toBe(-Errno.ENOTSUP);
  });

  test('S-22: pages that the kernel holds are asked for where they could matter', async () => {
    const parts = memoryVfs();
    const { vfs, writtenBack } = parts;
    const ino = file(parts);
    vfs.write(root, ino, 0, Buffer.alloc(10), 1);
    vfs.write(root, ino, 20, Buffer.alloc(5), 1);
    vfs.setattr(root, ino, { size: 40 });
    expect(vfs.lseek(root, ino, 3, 3)).toBe(3);
    expect(writtenBack).toEqual([]);
    const found: unknown[] = [];
    for (const at of [3, 10, 22, 25, 40])
      found.push([await vfs.lseek(root, ino, at, 3), await vfs.lseek(root, ino, at, 4)]);
    const none = -Errno.ENXIO;
    expect(found).toEqual([
      ...[
        [3, 10],
        [20, 10],
        [22, 25],
        [none, 25],
      ],
      [none, none],
    ]);
    expect(writtenBack.length).toBe(8);
  });

  test('S-23: a copy shares the bytes, up to 1 GiB a call', () => {
    const parts = memoryVfs();
    const { vfs, index } = parts;
    const [from, to] = [file(parts), file(parts, 'g')];
    vfs.write(root, from, 0, Buffer.alloc(9000, 'x'), 1);
    const stored = index.logEnd;
    expect(vfs.copyFileRange(root, from, 1000, to, 10, 20_000)).toBe(8000);
    expect(index.logEnd).toBe(stored);
    expect(index.extents(to, 0, 9000)).toMatchObject([
      { offset: 10, length: 8000, addr: index.extents(from, 1000, 1)[0]!.addr },
    ]);
    vfs.setattr(root, from, { size: 2 ** 40 });
    expect(vfs.copyFileRange(root, from, 0, to, 0, 2 ** 40)).toBe(2 ** 30);
  });

  test('S-24: frames, log bytes and holes make one answer; a wait keeps what it has', async () => {
    let give: (bytes: Buffer) => void = () => {};
    const frames = { read: () => new Promise<Buffer>(resolve => (give = resolve)) };
    const parts = memoryVfs({ frames });
    const { vfs, index } = parts;
    const ino = file(parts);
    vfs.write(root, ino, 0, Buffer.from('abcd'), 1);
    vfs.write(root, ino, 6, Buffer.from('efgh'), 1);
    const state = () => vfs.getxattr(root, ino, 'user.tuskfs.state');
    expect(state()).toEqual(Buffer.from('staged'));
    await certify(index, ino, 6, 4);
    expect(state()).toEqual(Buffer.from('staged'));
    const answer = vfs.read(root, ino, 0, 100) as Promise<Buffer[]>;
    index.log.fill(0);
    give(Buffer.from('efgh'));
    expect(Buffer.concat(await answer)).toEqual(Buffer.from('abcd\0\0efgh'));
    vfs.setattr(root, ino, { size: 0 });
    expect(state()).toEqual(Buffer.from('certified'));
  });

  test('S-24: what cannot be read fails its read, and ends nothing else', async () => {
    const frames = { read: () => Promise.reject(new Error('no network')) };
    const { vfs, index } = memoryVfs({ frames });
    const { ino } = made(vfs.create(root, 1, 'f', 0o100644, 0, 0));
    vfs.write(root, ino, 0, Buffer.from('abcdefgh'), 1);
    await certify(index, ino, 0, 4);
    const unhandled: unknown[] = [];
    const hear = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', hear);
    // Log bytes of an earlier daemon are verified first, and then all is read again.
    const known = index.stagedBytes.bind(index);
    const unknown = async () => {
      index.stagedBytes = known;
    };
    index.stagedBytes = unknown as never;
    await expect(vfs.read(root, ino, 0, 8)).rejects.toThrow('no network');
    index.stagedBytes = () => {
      throw new Error('altered');
    };
    expect(() => vfs.read(root, ino, 0, 8)).toThrow('altered');
    await new Promise(resolve => setTimeout(resolve, 10));
    process.off('unhandledRejection', hear);
    expect(unhandled).toEqual([]);
  });
});

describe('extended attributes', () => {
  test('S-26: namespaces and limits', () => {
    const parts = memoryVfs();
    const { vfs } = parts;
    const ino = file(parts);
    const one = Buffer.from('1');
    expect(vfs.setxattr(root, ino, 'system.other', one, 0)).toBe(-Errno.ENOTSUP);
    expect(vfs.getxattr(root, ino, 'other.x')).toBe(-Errno.ENOTSUP);
    expect(vfs.setxattr(root, ino, 'user.', one, 0)).toBe(-Errno.EINVAL);
    expect(vfs.setxattr(root, ino, `user.${'n'.repeat(251)}`, one, 0)).toBe(-Errno.ERANGE);
    expect(vfs.setxattr(root, ino, 'user.big', Buffer.alloc(65_537), 0)).toBe(-Errno.E2BIG);
    let outcome: unknown = 0;
    let count = 0;
    for (; outcome === 0 && count < 400; count++)
      outcome = vfs.setxattr(root, ino, `user.${count}`.padEnd(255, 'n'), one, 0);
    expect([outcome, count]).toEqual([-Errno.ENOSPC, 257]);
    vfs.setxattr(root, 1, 'trusted.t', one, 0);
    expect([vfs.listxattr(root, 1), vfs.listxattr(user, 1)]).toEqual([['trusted.t'], []]);
  });

  test('S-28: names of the drive', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    expect(parts.vfs.setxattr(root, ino, 'user.tuskfs.x', Buffer.alloc(1), 0)).toBe(-Errno.EPERM);
    expect(parts.vfs.removexattr(root, ino, 'user.tuskfs.state')).toBe(-Errno.EPERM);
    expect(parts.vfs.getxattr(root, 1, 'user.tuskfs.state')).toBe(-Errno.ENODATA);
  });
});

test('S-29: df', () => {
  const parts = memoryVfs();
  const figures = parts.vfs.statfs(root) as { bavail: number };
  expect(figures.bavail).toBeGreaterThan(0);
  parts.index.room = 5 * 4096 + 1;
  parts.vfs.write(root, file(parts), 0, Buffer.alloc(5000), 1);
  const free = { bfree: 5, bavail: 5, namelen: 255 };
  expect(parts.vfs.statfs(root)).toMatchObject({ bsize: 4096, blocks: 7, ...free });
  const sized = memoryVfs({ sizeBytes: 40_960 });
  const shown = (): unknown => sized.vfs.statfs(root);
  expect(shown()).toMatchObject({ bsize: 4096, blocks: 10, bfree: 10, bavail: 10 });
  const ino = file(sized);
  sized.vfs.write(root, ino, 0, Buffer.alloc(5000), 1);
  expect(shown()).toMatchObject({ blocks: 10, bavail: 8 });
  sized.vfs.write(root, ino, 0, Buffer.alloc(50_000), 1);
  expect(shown()).toMatchObject({ blocks: 13, bavail: 0 });
});

test('S-30: read-only', () => {
  const { vfs } = memoryVfs();
  vfs.goReadOnly();
  const refused = [
    vfs.create(root, 1, 'f', 0o100644, 0, 0),
    vfs.mkdir(root, 1, 'd', 0o755, 0),
    vfs.symlink(root, 1, 'l', Buffer.from('x')),
    vfs.link(root, 1, 1, 'h'),
    vfs.unlink(root, 1, 'f'),
    vfs.rmdir(root, 1, 'f'),
    vfs.rename(root, 1, 'f', 1, 'g', 0),
    vfs.setattr(root, 1, { mode: 0 }),
    vfs.write(root, 1, 0, Buffer.alloc(1), 0),
    vfs.fallocate(root, 1, 0, 1, 0),
    vfs.copyFileRange(root, 1, 0, 1, 0, 1),
    vfs.setxattr(root, 1, 'user.a', Buffer.alloc(1), 0),
    vfs.removexattr(root, 1, 'user.a'),
  ];
  for (const answer of refused) expect(answer).toBe(-Errno.EROFS);
});

describe('access control lists', () => {
  /** A list as extended attributes carry it, of [tag, permissions, id]. */
  const acl = (...entries: [tag: number, permissions: number, id?: number][]): Buffer => {
    const bytes = Buffer.alloc(4 + entries.length * 8);
    bytes.writeUInt32LE(2);
    entries.forEach(([tag, permissions, id = 0xffff_ffff], i) => {
      bytes.writeUInt16LE(tag, 4 + i * 8);
      bytes.writeUInt16LE(permissions, 6 + i * 8);
      bytes.writeUInt32LE(id, 8 + i * 8);
    });
    return bytes;
  };
  const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER] = [1, 2, 4, 0x10, 0x20] as const;
  const ACCESS = 'system.posix_acl_access';
  const DEFAULT = 'system.posix_acl_default';
  const list = acl([USER_OBJ, 7], [USER, 6, 1000], [GROUP_OBJ, 4], [MASK, 6], [OTHER, 0]);

  test('S-32: mode and list agree; a list without more than a mode is not kept', () => {
    const parts = memoryVfs();
    const { vfs } = parts;
    const ino = file(parts, 'f', 0o2644);
    const mode = () => made(vfs.getattr(root, ino)).mode & 0o7777;
    expect(vfs.setxattr(root, ino, ACCESS, list, 0)).toBe(0);
    expect([mode(), vfs.getxattr(root, ino, ACCESS)]).toEqual([0o2760, list]);
    vfs.setattr(root, ino, { mode: 0o541 });
    expect(vfs.getxattr(root, ino, ACCESS)).toEqual(
      acl([USER_OBJ, 5], [USER, 6, 1000], [GROUP_OBJ, 4], [MASK, 4], [OTHER, 1]),
    );
    vfs.setattr(root, ino, { mode: 0o2541 });
    const minimal = acl([USER_OBJ, 6], [GROUP_OBJ, 5], [OTHER, 4]);
    expect(vfs.setxattr(user, ino, ACCESS, minimal, 0, true)).toBe(0);
    expect([mode(), vfs.getxattr(root, ino, ACCESS)]).toEqual([0o654, -Errno.ENODATA]);
    expect(vfs.removexattr(root, ino, ACCESS)).toBe(0);
    expect(vfs.setxattr(root, ino, DEFAULT, list, 0)).toBe(-Errno.EACCES);
  });

  test('S-32: what is no list is refused', () => {
    const parts = memoryVfs();
    const ino = file(parts);
    const unmasked = acl([USER_OBJ, 7], [USER, 6, 1000], [GROUP_OBJ, 4], [OTHER, 0]);
    const newer = Buffer.from(list).fill(3, 0, 1);
    for (const bad of [unmasked, newer, list.subarray(0, 20), acl([OTHER, 1]), Buffer.alloc(0)])
      expect(parts.vfs.setxattr(root, ino, ACCESS, bad, 0)).toBe(-Errno.EINVAL);
  });

  test('S-33: new inodes take the default list, cut by their mode, not by the umask', () => {
    const { vfs } = memoryVfs();
    expect(vfs.setxattr(root, 1, DEFAULT, list, 0)).toBe(0);
    const made1 = made(vfs.create(root, 1, 'f', 0o100666, 0, 0o077));
    expect(made1.mode & 0o777).toBe(0o660);
    expect(vfs.getxattr(root, made1.ino, ACCESS)).toEqual(
      acl([USER_OBJ, 6], [USER, 6, 1000], [GROUP_OBJ, 4], [MASK, 6], [OTHER, 0]),
    );
    const below = made(vfs.mkdir(root, 1, 'd', 0o755, 0o022));
    expect(below.mode & 0o777).toBe(0o740);
    expect(vfs.getxattr(root, below.ino, DEFAULT)).toEqual(list);
    expect(made(vfs.symlink(root, 1, 'l', Buffer.from('x'))).mode & 0o777).toBe(0o777);
    const minimal = acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 4]);
    expect(vfs.setxattr(root, 1, DEFAULT, minimal, 0)).toBe(0);
    const plain = made(vfs.create(root, 1, 'p', 0o100666, 0, 0o077));
    expect([plain.mode & 0o777, vfs.listxattr(root, plain.ino)]).toEqual([0o644, []]);
    expect(vfs.setxattr(root, 1, DEFAULT, acl(), 0)).toBe(0);
    expect(made(vfs.create(root, 1, 'g', 0o100666, 0, 0o077)).mode & 0o777).toBe(0o600);
  });
});

test('S-31: a file made without a name goes, unless it is given one', () => {
  const { vfs, index } = memoryVfs();
  const [gone, kept, never] = [0, 0, 0o200].map(flags =>
    made(vfs.tmpfile(user, 1, 0o666, flags, 0o022)),
  ) as [Attr, Attr, Attr];
  expect([kept.nlink, kept.uid, kept.mode]).toEqual([0, 1000, 0o100644]);
  expect(made(vfs.link(user, kept.ino, 1, 'kept')).nlink).toBe(1);
  expect(vfs.link(user, never.ino, 1, 'never')).toBe(-Errno.ENOENT);
  vfs.forget(gone.ino, 1);
  vfs.forget(kept.ino, 2);
  expect(made(vfs.lookup(user, 1, 'kept'))).toMatchObject({ ino: kept.ino, nlink: 1 });
  vfs.unlink(user, 1, 'kept');
  vfs.forget(kept.ino, 1);
  expect([index.inodes.has(gone.ino), index.inodes.has(kept.ino)]).toEqual([false, false]);
});
