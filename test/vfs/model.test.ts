/** Random operations on the vfs and on the plain model of POSIX: same errno, attributes, names and bytes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Errno } from '../../src/base/errno.ts';
import type { Attr, Caller } from '../../src/fuse/filesystem.ts';
import { openIndex } from '../../src/meta/open.ts';
import type { Index } from '../../src/meta/types.ts';
import type { Vfs } from '../../src/vfs/vfs.ts';
import { MemoryIndex } from '../support/memory-index.ts';
import { type Kind, type Node, PosixModel } from '../support/posix-model.ts';
import { callerOf, HandClock, memoryVfs } from '../support/vfs.ts';

const NAMES = ['a', 'b', 'c', '\xff\xfe', 'd'.repeat(255), 'e'.repeat(256)];
const XATTRS = ['user.a', 'user.b', 'security.capability', 'trusted.t'];
const TYPES: Record<Kind, number> = {
  file: 0o100000,
  dir: 0o040000,
  link: 0o120000,
  fifo: 0o010000,
};

/** Numbers that one operation draws from. */
interface Draw {
  op: string;
  i: number;
  j: number;
  k: number;
  name: string;
  other: string;
  offset: number;
  length: number;
  bits: number;
}

/** Both file systems and the inodes that the "kernel" holds, side by side. */
class Pair {
  readonly held: { ino: number; node: Node; lookups: number }[] = [];
  readonly model = new PosixModel();
  readonly vfs: Vfs;
  readonly clock: HandClock;

  constructor(index: Index = new MemoryIndex()) {
    const { vfs, clock } = memoryVfs({ index });
    this.vfs = vfs;
    this.clock = clock;
    this.held.push({ ino: 1, node: this.model.root, lookups: Number.POSITIVE_INFINITY });
  }

  pick(i: number) {
    return this.held[i % this.held.length]!;
  }

  /** A directory most of the time. */
  pickDir(i: number) {
    const dirs = this.held.filter(held => held.node.kind === 'dir');
    return i % 16 === 0 ? this.pick(i) : dirs[i % dirs.length]!;
  }

  hold(attr: Attr, node: Node): void {
    const found = this.held.find(held => held.ino === attr.ino);
    if (found === undefined) this.held.push({ ino: attr.ino, node, lookups: 1 });
    else {
      expect(found.node).toBe(node);
      found.lookups++;
    }
  }

  /** Answers of both for an operation that enters an inode. */
  entered(answer: unknown, node: Node | number): void {
    if (typeof node === 'number') expect(answer).toBe(node);
    else {
      expect(answer).toBeTypeOf('object');
      this.hold(answer as Attr, node);
    }
  }

  same(ino: number, node: Node): void {
    const attr = this.vfs.getattr(callerOf(0), ino) as Attr;
    expect({
      mode: attr.mode,
      nlink: attr.nlink,
      uid: attr.uid,
      gid: attr.gid,
      size: node.kind === 'dir' ? 0 : attr.size,
      atime: attr.atime * 1000 + attr.atimeNs / 1e6,
      mtime: attr.mtime * 1000 + attr.mtimeNs / 1e6,
      ctime: attr.ctime * 1000 + attr.ctimeNs / 1e6,
    }).toEqual({
      mode: TYPES[node.kind] | node.permissions,
      nlink: this.model.nlink(node),
      uid: node.uid,
      gid: node.gid,
      size: node.bytes.length,
      atime: node.atime,
      mtime: node.mtime,
      ctime: node.ctime,
    });
    if (node.kind === 'file') this.sameBytes(ino, node, 0, node.bytes.length + 10);
    if (node.kind === 'dir') this.sameNames(ino, node);
    const names = this.vfs.listxattr(callerOf(0), ino) as string[];
    expect([...names].sort()).toEqual([...node.xattrs.keys()].sort());
  }

  sameBytes(ino: number, node: Node, offset: number, length: number): void {
    const parts = this.vfs.read(callerOf(0), ino, offset, length);
    const expected = Buffer.from(node.bytes.subarray(offset, offset + length));
    expect(Buffer.concat(parts as Buffer[]).equals(expected)).toBe(true);
  }

  /** A whole listing in steps of three, `..` included. */
  sameNames(ino: number, node: Node): void {
    const seen: string[] = [];
    for (let cookie = 0; ; ) {
      const entries = this.vfs.readdir(callerOf(0), ino, cookie, 3);
      if (typeof entries === 'number' || entries instanceof Promise) throw new Error('no listing');
      if (entries.length === 0) break;
      for (const entry of entries) {
        seen.push(entry.name);
        expect(entry.type).toBe(TYPES[node.names.get(entry.name)!.kind] >> 12);
      }
      cookie = entries.at(-1)!.cookie;
    }
    expect(seen.sort()).toEqual([...node.names.keys()].sort());
    const parent = this.held.find(held => held.node === node.parent);
    if (parent !== undefined && node.links > 0) expect(this.vfs.parentOf(ino)).toBe(parent.ino);
  }
}

const who = (draw: Draw): Caller => callerOf(draw.bits % 3 === 0 ? 0 : 1000, 100);

const OPERATIONS: Record<string, (pair: Pair, draw: Draw) => void | Promise<void>> = {
  make: (pair, draw) => make(pair, draw),
  lookup: (pair, draw) => {
    const dir = pair.pickDir(draw.i);
    pair.entered(
      pair.vfs.lookup(who(draw), dir.ino, draw.name),
      pair.model.lookup(dir.node, draw.name),
    );
  },
  link: (pair, draw) => {
    const dir = pair.pickDir(draw.i);
    const { ino, node } = pair.pick(draw.j);
    const answer = pair.vfs.link(who(draw), ino, dir.ino, draw.name);
    const expected = pair.model.link(node, dir.node, draw.name);
    pair.entered(answer, expected === 0 ? node : expected);
  },
  remove: (pair, draw) => {
    const dir = pair.pickDir(draw.i);
    const directory = draw.bits % 2 === 1;
    const call = directory ? 'rmdir' : 'unlink';
    expect(pair.vfs[call](who(draw), dir.ino, draw.name)).toBe(
      pair.model.remove(dir.node, draw.name, directory),
    );
  },
  rename: (pair, draw) => {
    const [from, to] = [pair.pickDir(draw.i), pair.pickDir(draw.j)];
    const flags = draw.bits % 8 < 4 ? 0 : (draw.bits % 8) - 4;
    expect(pair.vfs.rename(who(draw), from.ino, draw.name, to.ino, draw.other, flags)).toBe(
      pair.model.rename(from.node, draw.name, to.node, draw.other, flags),
    );
  },
  write: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const data = Buffer.alloc(draw.length, draw.bits + 1);
    const flags = (draw.bits & 1) | (draw.bits & 4);
    const expected = pair.model.write(
      node,
      draw.offset,
      data,
      (flags & 1) !== 0,
      (flags & 4) !== 0,
    );
    expect(pair.vfs.write(who(draw), ino, draw.offset, data, flags)).toBe(expected);
  },
  truncate: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const answer = pair.vfs.setattr(who(draw), ino, { size: draw.offset });
    const expected = pair.model.truncate(node, draw.offset);
    expect(typeof answer === 'number' ? answer : 0).toBe(expected);
  },
  chmod: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const permissions = (draw.bits * 73 + draw.length) & 0o7777;
    pair.vfs.setattr(who(draw), ino, { mode: permissions });
    node.permissions = permissions;
    node.ctime = pair.model.now;
  },
  chown: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    pair.vfs.setattr(who(draw), ino, { uid: draw.j, gid: draw.k, killPriv: true });
    if (node.kind !== 'dir') pair.model.dropPrivileges(node);
    [node.uid, node.gid, node.ctime] = [draw.j, draw.k, pair.model.now];
  },
  utimens: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    pair.vfs.setattr(who(draw), ino, { atime: 'now', mtime: -draw.j, mtimeNs: 5e8 });
    [node.atime, node.mtime, node.ctime] = [pair.model.now, -draw.j * 1000 + 500, pair.model.now];
  },
  allocate: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const mode = [0, 1, 3, 0x10, 0x11][draw.bits % 5]!;
    const length = draw.length + 1;
    expect(pair.vfs.fallocate(who(draw), ino, draw.offset, length, mode)).toBe(
      pair.model.allocate(who(draw), node, draw.offset, length, mode > 1, (mode & 1) !== 0),
    );
  },
  copy: (pair, draw) => {
    const [from, to] = [pair.pick(draw.i), pair.pick(draw.j)];
    const at = (draw.k * 97) % 5000;
    expect(pair.vfs.copyFileRange(who(draw), from.ino, at, to.ino, draw.offset, draw.length)).toBe(
      pair.model.copy(who(draw), from.node, at, to.node, draw.offset, draw.length),
    );
  },
  seek: async (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    if (node.kind !== 'file') return;
    const data = (await pair.vfs.lseek(who(draw), ino, draw.offset, 3)) as number;
    const until = data < 0 ? node.bytes.length : data;
    expect(node.bytes.subarray(draw.offset, until).every(byte => byte === 0)).toBe(true);
    const hole = (await pair.vfs.lseek(who(draw), ino, draw.offset, 4)) as number;
    if (draw.offset >= node.bytes.length)
      expect([data, hole]).toEqual([-Errno.ENXIO, -Errno.ENXIO]);
    else expect(hole).toBeLessThanOrEqual(node.bytes.length);
  },
  setxattr: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const name = XATTRS[draw.j % XATTRS.length]!;
    const flags = draw.bits % 3;
    const exists = node.xattrs.has(name);
    const refusal =
      exists && flags === 1 ? -Errno.EEXIST : !exists && flags === 2 ? -Errno.ENODATA : 0;
    expect(pair.vfs.setxattr(who(draw), ino, name, Buffer.from(draw.name, 'latin1'), flags)).toBe(
      refusal,
    );
    if (refusal < 0) return;
    node.xattrs.set(name, draw.name);
    node.ctime = pair.model.now;
  },
  removexattr: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const name = XATTRS[draw.j % XATTRS.length]!;
    const value = pair.vfs.getxattr(who(draw), ino, name);
    expect(Buffer.isBuffer(value) ? value.latin1Slice() : undefined).toBe(node.xattrs.get(name));
    const had = node.xattrs.delete(name);
    if (had) node.ctime = pair.model.now;
    expect(pair.vfs.removexattr(who(draw), ino, name)).toBe(had ? 0 : -Errno.ENODATA);
  },
  read: (pair, draw) => {
    const { ino, node } = pair.pick(draw.i);
    const refusal = pair.model.contentRefusal(node);
    if (refusal < 0) expect(pair.vfs.read(who(draw), ino, 0, 1)).toBe(refusal);
    else pair.sameBytes(ino, node, draw.offset, draw.length);
  },
  forget: (pair, draw) => {
    const at = draw.i % pair.held.length;
    const held = pair.held[at]!;
    if (held.ino === 1) return;
    pair.vfs.forget(held.ino, 1);
    if (--held.lookups > 0) return;
    pair.held.splice(at, 1);
    if (held.node.links === 0) expect(pair.vfs.getattr(who(draw), held.ino)).toBe(-Errno.ESTALE);
  },
};

const make = (pair: Pair, draw: Draw): void => {
  const dir = pair.pickDir(draw.i);
  const caller = who(draw);
  const kind = (['file', 'file', 'dir', 'dir', 'link', 'fifo'] as const)[draw.bits % 6]!;
  const permissions = [0o644, 0o4755, 0o2755, 0o777][draw.j % 4]!;
  const answer =
    kind === 'file'
      ? pair.vfs.create(caller, dir.ino, draw.name, 0o100000 | permissions, 0, 0o22)
      : kind === 'dir'
        ? pair.vfs.mkdir(caller, dir.ino, draw.name, permissions, 0o22)
        : kind === 'link'
          ? pair.vfs.symlink(caller, dir.ino, draw.name, Buffer.from(draw.other, 'latin1'))
          : pair.vfs.mknod(caller, dir.ino, draw.name, 0o010000 | permissions, 0, 0o22);
  const shown = kind === 'link' ? 0o777 : permissions & ~0o22;
  const target = kind === 'link' ? draw.other : '';
  pair.entered(answer, pair.model.make(caller, dir.node, draw.name, kind, shown, target));
};

const draws: fc.Arbitrary<Draw> = fc.record({
  op: fc.constantFrom('make', 'make', 'write', 'rename', 'remove', ...Object.keys(OPERATIONS)),
  i: fc.nat(63),
  j: fc.nat(63),
  k: fc.nat(63),
  name: fc.constantFrom(...NAMES),
  other: fc.constantFrom(...NAMES),
  offset: fc.integer({ min: 0, max: 9000 }),
  length: fc.integer({ min: 0, max: 5000 }),
  bits: fc.nat(255),
});

/** Changes so far, where they are counted. */
const commits = (index: Index): number => (index instanceof MemoryIndex ? index.commits : 0);

/** Does what was drawn on both sides, then compares everything that is held. */
const run = async (index: Index, all: readonly Draw[]): Promise<void> => {
  const pair = new Pair(index);
  pair.model.now = pair.clock.ms;
  // The root is as old as the index; the model starts there too.
  const root = pair.vfs.getattr(callerOf(0), 1) as Attr;
  const { model } = pair;
  model.root.mtime = root.mtime * 1000 + root.mtimeNs / 1e6;
  model.root.atime = root.atime * 1000 + root.atimeNs / 1e6;
  model.root.ctime = root.ctime * 1000 + root.ctimeNs / 1e6;
  for (const draw of all) {
    pair.clock.ms += 1001;
    model.now = pair.clock.ms;
    const before = commits(index);
    await OPERATIONS[draw.op]!(pair, draw);
    // What an operation does is one change, so that a crash shows all of it or nothing.
    expect(commits(index) - before).toBeLessThanOrEqual(1);
  }
  for (const { ino, node } of pair.held) pair.same(ino, node);
};

test('S-1, S-2, S-3, S-7, S-8, S-9, S-12, S-13, S-14, S-17, S-23, S-27: random operations agree with the model of POSIX', async () => {
  const plans = fc.array(draws, { minLength: 1, maxLength: 60, size: 'max' });
  const property = fc.asyncProperty(plans, all => run(new MemoryIndex(), all));
  await fc.assert(property, { numRuns: 2000 });
});

test('the same over the real index', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tuskfs-vfs-'));
  let runs = 0;
  try {
    const plans = fc.array(draws, { minLength: 200, maxLength: 600, size: 'max' });
    const property = fc.asyncProperty(plans, async all => {
      const state = join(directory, String(runs++));
      const index = await openIndex({
        directory: join(state, 'index'),
        logDirectory: join(state, 'log'),
        segmentBytes: 4 << 20,
        reserveBytes: 1 << 20,
        clock: new HandClock(),
      });
      try {
        await run(index, all);
      } finally {
        await index.close();
      }
    });
    await fc.assert(property, { numRuns: 8, endOnFailure: true });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
