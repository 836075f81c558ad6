import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ino } from '../../src/base/ids.ts';
import { checkIndex } from '../../src/meta/check.ts';
import type { MetaIndex } from '../../src/meta/index.ts';
import { contentOf, MiB, openSmall, scratchPlace, settled, treeOf } from './support.ts';

let place: ReturnType<typeof scratchPlace>;
beforeEach(() => {
  place = scratchPlace();
});
afterEach(() => place.remove());

const FILE = { mode: 0o100644, nlink: 1, uid: 1, gid: 2, size: 0, mtime: -5, mtimeNs: 999_999_999 };

/** One random step; files are named f0 … f5, a name being there or not decides what happens. */
const step = fc.record({
  file: fc.nat(5),
  other: fc.nat(5),
  offset: fc.nat(5000),
  length: fc.integer({ min: 1, max: 3000 }),
  byte: fc.nat(255),
  act: fc.constantFrom(
    ...(['write', 'write', 'cut', 'share', 'rename', 'remove', 'xattr', 'link', 'mkdir'] as const),
  ),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Bytes that each file should hold; files as the model knows them. */
type Model = Map<Ino, Buffer>;

const grow = (old: Buffer, size: number): Buffer =>
  old.length >= size ? old : Buffer.concat([old, Buffer.alloc(size - old.length)]);

const fileNamed = (index: MetaIndex, model: Model, name: string): Ino => {
  const known = index.lookup(1, name);
  if (known !== undefined) return known.ino;
  const change = index.change();
  const { ino } = change.createInode(FILE);
  change.setDentry(1, name, ino, 8);
  expect(change.commit()).toBe(0);
  model.set(ino, Buffer.alloc(0));
  return ino;
};

const write = (index: MetaIndex, model: Model, ino: Ino, s: Step): void => {
  const change = index.change();
  const data = Buffer.alloc(s.length, s.byte);
  const content = grow(model.get(ino)!, s.offset + s.length);
  data.copy(content, s.offset);
  model.set(ino, content);
  change.stage(ino, s.offset, data);
  change.setInode(ino, { size: content.length });
  expect(change.commit()).toBe(0);
};

const share = (index: MetaIndex, model: Model, from: Ino, to: Ino, s: Step): void => {
  const change = index.change();
  const source = grow(model.get(from)!, s.offset + s.length);
  const content = grow(Buffer.from(model.get(to)!), s.byte + s.length);
  source.subarray(s.offset, s.offset + s.length).copy(content, s.byte);
  model.set(to, content);
  change.share(from, s.offset, s.length, to, s.byte);
  change.setInode(to, { size: content.length });
  expect(change.commit()).toBe(0);
};

const remove = (index: MetaIndex, model: Model, name: string): void => {
  const { ino } = index.lookup(1, name)!;
  const { nlink } = index.inode(ino)!;
  const change = index.change();
  change.removeDentry(1, name);
  if (nlink > 1) change.setInode(ino, { nlink: nlink - 1 });
  else {
    change.removeInode(ino);
    model.delete(ino);
  }
  expect(change.commit()).toBe(0);
};

const makeDirectory = (index: MetaIndex, name: string): void => {
  if (index.lookup(1, name) !== undefined) return;
  const change = index.change();
  const { ino } = change.createInode({ mode: 0o040755, nlink: 2, parent: 1 });
  change.setDentry(1, name, ino, 4);
  change.setInode(1, { nlink: index.inode(1)!.nlink + 1 });
  expect(change.commit()).toBe(0);
};

const play = (index: MetaIndex, model: Model, s: Step): void => {
  const name = `f${s.file}`;
  const ino = fileNamed(index, model, name);
  const change = index.change();
  switch (s.act) {
    case 'write':
      write(index, model, ino, s);
      return;
    case 'share':
      share(index, model, fileNamed(index, model, `f${s.other}`), ino, s);
      return;
    case 'remove':
      remove(index, model, name);
      return;
    case 'mkdir':
      makeDirectory(index, `d${s.byte}`);
      return;
    case 'cut':
      change.cut(ino, s.offset, s.offset + s.length);
      model
        .get(ino)!
        .subarray(s.offset, s.offset + s.length)
        .fill(0);
      break;
    case 'xattr':
      if (s.byte % 3 === 0) change.removeXattr(ino, 'user.a');
      else change.setXattr(ino, 'user.a', Buffer.from(String(s.byte)));
      break;
    case 'rename':
      if (s.file === s.other || index.lookup(1, `f${s.other}`) !== undefined) return;
      change.removeDentry(1, name);
      change.setDentry(1, `f${s.other}`, ino, 8);
      break;
    case 'link':
      if (index.lookup(1, `l${s.byte}`) !== undefined) return;
      change.setDentry(1, `l${s.byte}`, ino, 8);
      change.setInode(ino, { nlink: index.inode(ino)!.nlink + 1 });
      break;
  }
  expect(change.commit()).toBe(0);
};

const expectModel = (index: MetaIndex, model: Model): void => {
  for (const [ino, content] of model)
    expect(contentOf(index, ino, content.length).equals(content), `inode ${ino}`).toBe(true);
};

test('S-2: memory, SQLite and replay after a crash show the same tree', {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 80 }),
      fc.nat(80),
      async (steps, settleAt) => {
        const own = scratchPlace();
        const model: Model = new Map();
        let index = await openSmall(own, { segmentBytes: 256 * 1024 });
        for (const [i, s] of steps.entries()) {
          play(index, model, s);
          if (i === settleAt) await settled(index);
        }
        expectModel(index, model);
        const before = treeOf(index);
        const totals = { ...index.totals(), oldestStagedMs: 0 };
        await index.crash();
        index = await openSmall(own, { segmentBytes: 256 * 1024 });
        expect(treeOf(index)).toEqual(before);
        expect({ ...index.totals(), oldestStagedMs: 0 }).toEqual(totals);
        expectModel(index, model);
        await index.close();
        expect(checkIndex(own.directory)).toEqual([]);
        index = await openSmall(own, { segmentBytes: 256 * 1024 });
        expect(treeOf(index)).toEqual(before);
        await index.close();
        own.remove();
      },
    ),
    { numRuns: 5 },
  );
});

test('S-11, S-29: numbers and cookies of what was removed are not used again by the next daemon', async () => {
  const make = (index: MetaIndex): number[] => {
    const change = index.change();
    const { ino } = change.createInode(FILE);
    change.setDentry(1, 'f', ino, 8);
    expect(change.commit()).toBe(0);
    return [ino, index.lookup(1, 'f')!.cookie];
  };
  let index = await openSmall(place);
  let [ino, cookie] = make(index) as [number, number];
  for (const end of ['close', 'crash'] as const) {
    const change = index.change();
    change.removeDentry(1, 'f');
    change.removeInode(ino);
    expect(change.commit()).toBe(0);
    await settled(index);
    await index[end]();
    index = await openSmall(place);
    const [nextIno, nextCookie] = make(index) as [number, number];
    expect([nextIno > ino, nextCookie > cookie]).toEqual([true, true]);
    [ino, cookie] = [nextIno, nextCookie];
  }
  await index.close();
});

test('S-2, S-18: a log cut off anywhere replays to a prefix', async () => {
  const index = await openSmall(place);
  const trees: unknown[] = [treeOf(index)];
  // A state before any record, to which every cut is applied.
  const empty = { directory: join(place.root, 'empty'), logDirectory: place.logDirectory };
  const snapshot = await index.snapshot(empty.directory);
  for (let i = 0; i < 4; i++) {
    const change = index.change();
    const { ino } = change.createInode({ ...FILE, size: 50 + i });
    change.setDentry(1, `file${i}`, ino, 8);
    change.stage(ino, 0, Buffer.alloc(50 + i, 65 + i));
    expect(change.commit()).toBe(0);
    trees.push(treeOf(index));
  }
  const [segment] = readdirSync(place.logDirectory).filter(name => name.endsWith('.seg'));
  const written = 64 + 4 * 450;
  await index.crash();
  const whole = readFileSync(join(place.logDirectory, segment!));
  const seen = new Set<number>();
  for (let cut = 64; cut < written; cut += 331) {
    const copy = { directory: join(place.root, 'd'), logDirectory: join(place.root, 'l') };
    cpSync(empty.directory, copy.directory, { recursive: true });
    mkdirSync(copy.logDirectory);
    const path = join(copy.logDirectory, segment!);
    // The rest as zeros, written so that every block exists.
    writeFileSync(path, Buffer.concat([whole.subarray(0, cut), Buffer.alloc(MiB - cut)]));
    const again = await openSmall(copy);
    const found = treeOf(again);
    const at = trees.findIndex(tree => isDeepStrictEqual(tree, found));
    expect(at, `cut at ${cut}`).toBeGreaterThanOrEqual(0);
    seen.add(at);
    await again.close();
    expect(checkIndex(copy.directory)).toEqual([]);
    rmSync(copy.directory, { recursive: true });
    rmSync(copy.logDirectory, { recursive: true });
  }
  expect(seen.size).toBeGreaterThan(2);
  expect(existsSync(snapshot.directory)).toBe(true);
});
