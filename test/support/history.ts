/**
 * Random operations on a tree, with an account of what the tree must look like after each of their
 * steps: a step is what the daemon receives as one request, so that whatever survives must be the
 * tree after some step. What an fsync has returned for is *local*.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../src/base/errors.ts';
import type { Random } from '../../src/base/random.ts';

interface File {
  readonly content: Buffer;
  readonly mode: number;
}

/** A tree: names lead to a number; numbers to a directory (null), a file, or a link's target. */
interface Tree {
  readonly names: ReadonlyMap<string, number>;
  readonly things: ReadonlyMap<number, File | string | null>;
}

/** What an operation does, and the trees that it leads through. */
interface Operation {
  readonly text: string;
  readonly trees: Tree[];
  run(): Promise<unknown>;
}

const BYTES_MAX = 60_000;
const NAMES = 12;
const TREE_MAX = 60;

const isFile = (thing: File | string | null | undefined): thing is File =>
  typeof thing === 'object' && thing !== null;

const sums = new WeakMap<Buffer, string>();
const sum = (content: Buffer): string => {
  let known = sums.get(content);
  if (known === undefined) {
    known = `${content.length} ${createHash('sha1').update(content).digest('hex').slice(0, 12)}`;
    sums.set(content, known);
  }
  return known;
};

const lineOf = (thing: File | string | null, links: number): string => {
  if (thing === null) return 'directory';
  if (typeof thing === 'string') return `link to ${thing}`;
  return `file ${thing.mode.toString(8)} ×${links} ${sum(thing.content)}`;
};

/** A tree in words, one name a line. */
const describe = ({ names, things }: Tree): string[] => {
  const links = new Map<number, number>();
  for (const id of names.values()) links.set(id, (links.get(id) ?? 0) + 1);
  return [...names]
    .map(([path, id]) => `${path}: ${lineOf(things.get(id)!, links.get(id)!)}`)
    .sort();
};

/** The tree below `directory`, in the same words. */
const look = async (directory: string): Promise<string[]> => {
  const lines: string[] = [];
  for (const entry of await fs.readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    const { nlink, mode } = await fs.lstat(path);
    const thing = entry.isDirectory()
      ? null
      : entry.isSymbolicLink()
        ? await fs.readlink(path)
        : { content: await fs.readFile(path), mode: mode & 0o777 };
    lines.push(`${name}: ${lineOf(thing, nlink)}`);
  }
  return lines.sort();
};

/** A user of a drive and what it knows of it. */
export class History {
  readonly #random: Random;
  readonly #drive: string;
  /** The tree after each step; the drive shows one of them. */
  #trees: Tree[] = [{ names: new Map(), things: new Map() }];
  #texts: string[] = ['the start'];
  /** The step up to which everything is *local*. */
  #local = 0;
  #nextId = 1;

  constructor(random: Random, drive: string) {
    this.#random = random;
    this.#drive = drive;
  }

  /** Does one operation; false if it failed, with its errno in `failure`. */
  failure = '';
  async step(): Promise<boolean> {
    const operation = this.#choose();
    this.#trees.push(...operation.trees);
    for (const _ of operation.trees) this.#texts.push(operation.text);
    try {
      const isSynced = await operation.run();
      if (isSynced === true) this.#local = this.#trees.length - 1;
      return true;
    } catch (error) {
      this.failure = systemCode(error) ?? String(error);
      return false;
    }
  }

  /** Everything done so far is *local*. */
  async sync(): Promise<void> {
    const handle = await fs.open(this.#drive, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    this.#local = this.#trees.length - 1;
  }

  /**
   * Finds the step that the drive shows, at or behind the last *local* one, and goes on from
   * there. Returns the steps that were lost; throws if it shows none of them.
   */
  async recognise(): Promise<number> {
    const found = (await look(this.#drive)).join('\n');
    const trees = this.#trees;
    let at = trees.length - 1;
    while (at >= 0 && describe(trees[at]!).join('\n') !== found) at--;
    if (at < this.#local) throw new Error(this.#difference(found.split('\n'), at));
    const lost = trees.length - 1 - at;
    this.#trees = [trees[at]!];
    this.#texts = ['what was recognised'];
    this.#local = 0;
    return lost;
  }

  #difference(found: string[], older: number): string {
    const all = this.#trees.length;
    const closest = this.#trees
      .slice(this.#local)
      .map((tree, i) => {
        const lines = describe(tree);
        const missing = lines.filter(line => !found.includes(line));
        const foreign = found.filter(line => line !== '' && !lines.includes(line));
        return { step: this.#local + i, missing, foreign };
      })
      .sort(
        (a, b) => a.missing.length + a.foreign.length - b.missing.length - b.foreign.length,
      )[0]!;
    const texts = this.#texts.map((text, i) => `${i} ${text}`);
    return [
      older >= 0
        ? `the drive shows step ${older}, but step ${this.#local} was local (of ${all})`
        : `the drive shows no step from ${this.#local}, which was local, to ${all - 1}; closest is ${closest.step}`,
      ...closest.missing.map(line => `- ${line}`),
      ...closest.foreign.map(line => `+ ${line}`),
      ...texts.slice(Math.max(0, closest.step - 15), closest.step + 6),
    ].join('\n');
  }

  #choose(): Operation {
    for (;;) {
      const made = this.#make(this.#random.below(20));
      if (made !== undefined) return made;
    }
  }

  get #now(): Tree {
    return this.#trees.at(-1)!;
  }

  /** At least one byte, none like another time's. */
  #bytes(max: number): Buffer {
    const outputLength = 1 + this.#random.below(max);
    return createHash('shake256', { outputLength }).update(this.#random.bytes(8)).digest();
  }

  #paths(fits: (thing: File | string | null) => boolean): string[] {
    const { names, things } = this.#now;
    return [...names].filter(([, id]) => fits(things.get(id)!)).map(([path]) => path);
  }

  #pick<T>(all: readonly T[]): T | undefined {
    return all[this.#random.below(Math.max(1, all.length))];
  }

  #freshPath(): string {
    const parent = this.#pick(['', ...this.#paths(thing => thing === null)])!;
    return join(parent, `n${this.#random.below(NAMES)}`);
  }

  #make(dice: number): Operation | undefined {
    const files = this.#paths(isFile);
    const isFull = this.#now.names.size >= TREE_MAX;
    if (dice < 5 && !isFull) return this.#write(this.#freshPath());
    if (dice < 9) return this.#patch(this.#pick(files));
    if (dice === 9) return this.#truncate(this.#pick(files));
    if (dice < 12) return this.#rename(this.#pick([...this.#now.names.keys()]), this.#freshPath());
    if (dice < 14) return this.#remove(this.#pick([...this.#now.names.keys()]));
    if (dice === 14 && !isFull) return this.#mkdir(this.#freshPath());
    if (dice === 15 && !isFull) return this.#link(this.#pick(files), this.#freshPath());
    if (dice === 16) return this.#chmod(this.#pick(files));
    if (dice === 17 && !isFull) return this.#symlink(this.#freshPath());
    if (dice === 18) return this.#fsync(this.#pick(files));
    return undefined;
  }

  /** The tree with one name changed (undefined: removed) and one thing (kept if undefined). */
  #with(tree: Tree, path: string, id: number | undefined, thing?: File | string | null): Tree {
    const names = new Map(tree.names);
    if (id === undefined) names.delete(path);
    else names.set(path, id);
    if (thing === undefined || id === undefined) return { names, things: tree.things };
    return { names, things: new Map(tree.things).set(id, thing) };
  }

  #at(path: string): string {
    return join(this.#drive, path);
  }

  /** Leaves out and puts in, as a save of a whole file does. */
  #write(path: string): Operation | undefined {
    const { names, things } = this.#now;
    const before = names.get(path);
    const old = before === undefined ? undefined : things.get(before);
    if (before !== undefined && !isFile(old)) return undefined;
    const content = this.#bytes(BYTES_MAX);
    const id = before ?? this.#nextId++;
    const mode = isFile(old) ? old.mode : 0o644;
    const empty = this.#with(this.#now, path, id, { content: Buffer.alloc(0), mode });
    const whole = this.#with(empty, path, id, { content, mode });
    const isSynced = this.#random.below(3) === 0;
    return {
      text: `write ${path} ${content.length}${isSynced ? ' fsync' : ''}`,
      trees: [empty, whole],
      run: () =>
        this.#withFile(path, 'w', async file => {
          await file.write(content, 0, content.length, 0);
          if (isSynced) await file.sync();
          return isSynced;
        }),
    };
  }

  #patch(path: string | undefined): Operation | undefined {
    if (path === undefined) return undefined;
    const id = this.#now.names.get(path)!;
    const { content, mode } = this.#now.things.get(id) as File;
    const data = this.#bytes(BYTES_MAX / 4);
    const offset = this.#random.below(2) === 0 ? content.length : this.#random.below(BYTES_MAX);
    const size = Math.max(content.length, offset + data.length);
    const fresh = Buffer.concat([content, Buffer.alloc(size - content.length)]);
    data.copy(fresh, offset);
    const isSynced = this.#random.below(4) === 0;
    return {
      text: `patch ${path} ${offset}+${data.length}${isSynced ? ' fsync' : ''}`,
      trees: [this.#with(this.#now, path, id, { content: fresh, mode })],
      run: () =>
        this.#withFile(path, 'r+', async file => {
          await file.write(data, 0, data.length, offset);
          if (isSynced) await file.datasync();
          return isSynced;
        }),
    };
  }

  #truncate(path: string | undefined): Operation | undefined {
    if (path === undefined) return undefined;
    const id = this.#now.names.get(path)!;
    const { content, mode } = this.#now.things.get(id) as File;
    const size = this.#random.below(BYTES_MAX);
    const longer = Buffer.alloc(Math.max(0, size - content.length));
    const fresh = Buffer.concat([content.subarray(0, size), longer]);
    return {
      text: `truncate ${path} ${size}`,
      trees: [this.#with(this.#now, path, id, { content: fresh, mode })],
      run: () => fs.truncate(this.#at(path), size),
    };
  }

  #rename(from: string | undefined, to: string): Operation | undefined {
    const { names, things } = this.#now;
    if (from === undefined || to === from || to.startsWith(`${from}/`)) return undefined;
    const [moved, target] = [names.get(from)!, names.get(to)];
    if (moved === target) return undefined;
    // Only what replaces its like, and directories nothing.
    const isDirectory = things.get(moved) === null;
    if (target !== undefined && (isDirectory || things.get(target) === null)) return undefined;
    const renamed = new Map<string, number>();
    for (const [path, id] of names) {
      if (path === to) continue;
      const isMoved = path === from || path.startsWith(`${from}/`);
      renamed.set(isMoved ? to + path.slice(from.length) : path, id);
    }
    return {
      text: `rename ${from} ${to}`,
      trees: [{ names: renamed, things }],
      run: () => fs.rename(this.#at(from), this.#at(to)),
    };
  }

  #remove(path: string | undefined): Operation | undefined {
    if (path === undefined) return undefined;
    const { names, things } = this.#now;
    const isDirectory = things.get(names.get(path)!) === null;
    if (isDirectory && [...names.keys()].some(name => name.startsWith(`${path}/`)))
      return undefined;
    return {
      text: `remove ${path}`,
      trees: [this.#with(this.#now, path, undefined)],
      run: () => (isDirectory ? fs.rmdir(this.#at(path)) : fs.unlink(this.#at(path))),
    };
  }

  #mkdir(path: string): Operation | undefined {
    if (this.#now.names.has(path) || path.split('/').length > 3) return undefined;
    return {
      text: `mkdir ${path}`,
      trees: [this.#with(this.#now, path, this.#nextId++, null)],
      run: () => fs.mkdir(this.#at(path)),
    };
  }

  #link(from: string | undefined, to: string): Operation | undefined {
    if (from === undefined || this.#now.names.has(to)) return undefined;
    return {
      text: `link ${from} ${to}`,
      trees: [this.#with(this.#now, to, this.#now.names.get(from)!)],
      run: () => fs.link(this.#at(from), this.#at(to)),
    };
  }

  #chmod(path: string | undefined): Operation | undefined {
    if (path === undefined) return undefined;
    const id = this.#now.names.get(path)!;
    const mode = 0o600 + this.#random.below(0o100);
    const { content } = this.#now.things.get(id) as File;
    return {
      text: `chmod ${path} ${mode.toString(8)}`,
      trees: [this.#with(this.#now, path, id, { content, mode })],
      run: () => fs.chmod(this.#at(path), mode),
    };
  }

  #symlink(path: string): Operation | undefined {
    if (this.#now.names.has(path)) return undefined;
    const target = `to${this.#random.below(1000)}`;
    return {
      text: `symlink ${path}`,
      trees: [this.#with(this.#now, path, this.#nextId++, target)],
      run: () => fs.symlink(target, this.#at(path)),
    };
  }

  #fsync(path: string | undefined): Operation | undefined {
    if (path === undefined) return undefined;
    return {
      text: `fsync ${path}`,
      trees: [],
      run: () =>
        this.#withFile(path, 'r', async file => {
          await file.sync();
          return true;
        }),
    };
  }

  async #withFile<T>(
    path: string,
    flags: string,
    work: (file: fs.FileHandle) => Promise<T>,
  ): Promise<T> {
    const file = await fs.open(this.#at(path), flags);
    try {
      return await work(file);
    } finally {
      await file.close();
    }
  }
}
