/**
 * The tree in memory: layers over SQLite for inodes, names, attributes, extents, frames and packs.
 * Applies the mutations of committed records; keeps the counts of live bytes in the log right.
 */
import type { FrameId, Ino, LogAddr, Name, PackNo, Seq } from '../base/ids.ts';
import { ExtentMap } from './extent-map.ts';
import { Layer } from './layer.ts';
import { Listings } from './listings.ts';
import { CLEARS_FRAMES, CLEARS_STAGED, type InodeRow } from './mutation.ts';
import type { Queries } from './queries.ts';
import type { Dentry, Extent, FramePlace, PackRow } from './types.ts';

/** Bounds of the caches, in entries (of names, values and extents). */
const CACHED_MAX = 50_000;
const CACHED_EXTENTS_MAX = 250_000;
const CACHED_FRAMES_MAX = 20_000;

/** Shared by all that have none: nobody changes what a layer holds. */
const NO_XATTRS: ReadonlyMap<Name, Buffer> = new Map();

/** A symbolic link's target, boxed so that layers hold objects. */
interface Target {
  readonly bytes: Buffer;
}

/** Names of one directory that records changed and SQLite may not have. */
type Pins = Map<Name, Dentry | null>;

/** What the memory tells its owner about log bytes. */
export type Account = (addr: LogAddr, bytes: number, seq: Seq) => void;

/** All layers. */
export class Memory {
  readonly #queries: Queries;
  readonly #account: Account;
  readonly inodes: Layer<Ino, InodeRow>;
  readonly xattrs: Layer<Ino, ReadonlyMap<Name, Buffer>>;
  readonly symlinks: Layer<Ino, Target>;
  readonly extentMaps: Layer<Ino, ExtentMap>;
  readonly frames: Layer<FrameId, FramePlace>;
  readonly packs: Layer<PackNo, PackRow>;
  readonly #names: Layer<string, Dentry>;
  readonly #listings = new Listings(CACHED_MAX);
  /** Pinned names by directory, for listings; the same as what `#names` pins. */
  readonly #pins = new Map<Ino, Pins>();
  /** Inodes from this number on are so new that SQLite has nothing of them: all they have is pinned. */
  #newFrom: Ino;
  #created: { ino: Ino; seq: Seq }[] = [];
  stagedFiles = 0;
  stagedBytes = 0;
  contentBytes = 0;

  constructor(queries: Queries, nextIno: Ino, account: Account) {
    this.#queries = queries;
    this.#newFrom = nextIno;
    this.#account = account;
    this.inodes = new Layer(CACHED_MAX, ino => queries.inode(ino));
    this.xattrs = new Layer(CACHED_MAX, ino => {
      const xattrs = ino >= this.#newFrom ? NO_XATTRS : queries.xattrs(ino);
      return xattrs.size === 0 ? NO_XATTRS : xattrs;
    });
    this.symlinks = new Layer(CACHED_MAX / 10, ino => {
      const bytes = ino >= this.#newFrom ? null : queries.symlink(ino);
      return bytes === null ? null : { bytes };
    });
    this.extentMaps = new Layer(
      CACHED_EXTENTS_MAX,
      ino => (ino >= this.#newFrom ? new ExtentMap() : ExtentMap.of(queries.extents(ino))),
      map => map.count + 4,
    );
    this.frames = new Layer(CACHED_FRAMES_MAX, id => queries.frame(id));
    this.packs = new Layer(CACHED_FRAMES_MAX / 10, id => queries.pack(id));
    this.#names = new Layer(CACHED_MAX, key => {
      const slash = key.indexOf('/');
      const parent = Number(key.slice(0, slash));
      return parent >= this.#newFrom ? null : queries.dentry(parent, key.slice(slash + 1));
    });
  }

  /** Things that wait for the index writer. */
  get pinnedCount(): number {
    const layers = [this.inodes, this.#names, this.xattrs, this.symlinks, this.extentMaps];
    return layers.reduce((sum, layer) => sum + layer.pinnedCount, 0);
  }

  /** Record `seq` created this inode; numbers grow from record to record. */
  created(ino: Ino, seq: Seq): void {
    this.#created.push({ ino, seq });
  }

  name(parent: Ino, name: Name): Dentry | null {
    return this.#names.get(`${parent}/${name}`);
  }

  setName(parent: Ino, name: Name, dentry: Dentry | null, seq: Seq): void {
    this.#names.set(`${parent}/${name}`, dentry, seq);
    this.#listings.drop(parent);
    let pins = this.#pins.get(parent);
    if (pins === undefined) this.#pins.set(parent, (pins = new Map()));
    // A name that comes back takes a new cookie: the map stays in cookie order.
    pins.delete(name);
    pins.set(name, dentry);
  }

  /** True if no name is in the directory. */
  isEmpty(directory: Ino): boolean {
    return this.#read(directory, 0, 1).length === 0;
  }

  /** Names of a directory behind `cookie`, in cookie order, at most `limit`; not the caller's to change. */
  list(parent: Ino, cookie: number, limit: number): Dentry[] {
    const known = this.#listings.get(parent, cookie, limit);
    if (known !== undefined) return known;
    const listed = this.#read(parent, cookie, limit);
    this.#listings.keep(parent, cookie, limit, listed);
    return listed;
  }

  #read(parent: Ino, cookie: number, limit: number): Dentry[] {
    const pins = this.#pins.get(parent);
    const listed: Dentry[] = [];
    for (let at = cookie, isMore = parent < this.#newFrom; isMore && listed.length < limit; ) {
      const page = this.#queries.list(parent, at, limit);
      for (const dentry of page) if (!pins?.has(dentry.name)) listed.push(dentry);
      isMore = page.length === limit;
      at = page.at(-1)?.cookie ?? at;
    }
    if (pins === undefined) return listed;
    let more = limit;
    for (const dentry of pins.values()) {
      if (dentry === null || dentry.cookie <= cookie) continue;
      listed.push(dentry);
      if (--more === 0) break;
    }
    return listed.sort((a, b) => a.cookie - b.cookie).slice(0, limit);
  }

  /** A name of the inode, if it has one. */
  nameOf(ino: Ino): Dentry | undefined {
    for (const pins of this.#pins.values())
      for (const dentry of pins.values()) if (dentry?.ino === ino) return dentry;
    return this.#queries.names(ino).find(d => !this.#pins.get(d.parent)?.has(d.name));
  }

  extents(ino: Ino): ExtentMap {
    return this.extentMaps.get(ino) ?? new ExtentMap();
  }

  /** Replaces a range of a file; returns what it held (CLEARS_*). */
  place(ino: Ino, from: number, to: number, put: readonly Extent[], seq: Seq): number {
    const map = this.extents(ino);
    const stagedBefore = map.stagedBytes;
    const bytesBefore = map.bytes;
    // New references first: a segment must not look dead while its bytes only move within a file.
    for (const extent of put) if (extent.addr >= 0) this.#account(extent.addr, extent.length, seq);
    let clears = 0;
    for (const old of map.replace(from, to, put)) {
      clears |= old.addr >= 0 ? CLEARS_STAGED : CLEARS_FRAMES;
      if (old.addr >= 0) this.#account(old.addr, -old.length, seq);
    }
    this.#countStaged(stagedBefore, map.stagedBytes);
    this.contentBytes += map.bytes - bytesBefore;
    this.extentMaps.set(ino, map, seq);
    return clears;
  }

  /** Forgets all that belongs to an inode; returns what its extents held (CLEARS_*). */
  remove(ino: Ino, seq: Seq): number {
    const clears = this.place(ino, 0, Number.MAX_SAFE_INTEGER, [], seq);
    this.inodes.set(ino, null, seq);
    this.xattrs.set(ino, null, seq);
    this.symlinks.set(ino, null, seq);
    return clears;
  }

  /** SQLite has everything up to `seq`. */
  applied(seq: Seq): void {
    this.#queries.refresh();
    this.#ageInodes(seq);
    this.inodes.applied(seq);
    this.xattrs.applied(seq);
    this.symlinks.applied(seq);
    this.extentMaps.applied(seq);
    this.frames.applied(seq);
    this.packs.applied(seq);
    this.#names.applied(seq, key => {
      const slash = key.indexOf('/');
      const parent = Number(key.slice(0, slash));
      const pins = this.#pins.get(parent);
      pins?.delete(key.slice(slash + 1));
      if (pins?.size === 0) this.#pins.delete(parent);
    });
  }

  /** Moves `#newFrom` behind what records up to `seq` created. */
  #ageInodes(seq: Seq): void {
    const created = this.#created;
    let aged = 0;
    while (aged < created.length && created[aged]!.seq <= seq) aged++;
    if (aged === 0) return;
    this.#newFrom = created[aged - 1]!.ino + 1;
    this.#created = created.slice(aged);
  }

  #countStaged(before: number, after: number): void {
    this.stagedBytes += after - before;
    if (before === 0 && after > 0) this.stagedFiles++;
    if (before > 0 && after === 0) this.stagedFiles--;
  }
}
