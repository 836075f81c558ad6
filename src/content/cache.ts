/**
 * The sliver cache: a directory of pack files within a size limit and a free-space floor, emptied
 * sliver by sliver, least recently used first. Everything in it is also on the network, so a file
 * that looks damaged is thrown away rather than mended.
 */
import { mkdir, readdir, readFile, rm, stat, statfs } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf, systemCode } from '../base/errors.ts';
import { log } from '../base/log.ts';
import type { PackRow } from '../meta/types.ts';
import { mapPathOf, PackFile, type PackShape, packShape } from './pack-file.ts';
import { decodeSliverMap } from './sliver-map.ts';

/** Descriptors kept open at most, but for those in use. */
const OPEN_FILES_MAX = 32;
/** Shrinking goes this part of the limit further than needed, so that it is not needed each time. */
const SLACK = 1 / 16;

/** Limits of the cache on disk. */
export interface CacheLimits {
  readonly cacheBytes: number;
  readonly freeBytesMin: number;
}

/** All pack files of a volume. */
export class SliverCache {
  readonly #directory: string;
  readonly #limits: CacheLimits;
  /** By pack id in hex. */
  readonly #files = new Map<string, Promise<PackFile>>();
  readonly #removals = new Map<string, Promise<void>>();
  readonly #opened = new Set<PackFile>();
  #stamp = 1;
  #shrinking: Promise<number> | undefined;
  /** Bytes of slivers being fetched. */
  #expectedBytes = 0;
  bytesEvicted = 0;

  private constructor(directory: string, limits: CacheLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /** Opens the cache in `directory` (made if missing), throwing away what is damaged. */
  static async open(directory: string, limits: CacheLimits): Promise<SliverCache> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const cache = new SliverCache(directory, limits);
    await cache.#scan();
    return cache;
  }

  /** Bytes of slivers on disk. */
  bytes(): number {
    let sum = 0;
    for (const file of this.#opened) sum += file.bytes;
    return sum;
  }

  /** The file of a pack, made if there is none; it stays until `release`. */
  async acquire(pack: PackRow): Promise<PackFile> {
    const name = pack.packId.toString('hex');
    for (;;) {
      let opening = this.#files.get(name);
      if (opening === undefined) {
        opening = this.#openOrCreate(name, packShape(pack.size, pack.nShards));
        this.#enter(name, opening);
      }
      const file = await opening;
      if (file.removed) continue;
      file.holders++;
      return file;
    }
  }

  /** Gives a file back. */
  release(file: PackFile): void {
    file.holders--;
  }

  /** Marks a sliver as just used. */
  used(file: PackFile, sliver: number): void {
    file.stamps[sliver] = this.#stamp++;
  }

  /** Runs `fetch`, having made room for the bytes that it brings. */
  async filling<T>(bytes: number, fetch: () => Promise<T>): Promise<T> {
    this.#expectedBytes += bytes;
    try {
      await this.shrink();
      return await fetch();
    } finally {
      this.#expectedBytes -= bytes;
    }
  }

  /** Empties slivers until limit and floor hold, as far as slivers in use allow; bytes freed. */
  shrink(): Promise<number> {
    this.#shrinking ??= this.#shrink().finally(() => {
      this.#shrinking = undefined;
    });
    return this.#shrinking;
  }

  /** Throws every sliver away but those in use. */
  async drop(): Promise<void> {
    for (const file of this.#opened) {
      const all = Array.from({ length: file.shape.slivers }, (_, i) => i);
      await this.#empty(
        file,
        all.filter(i => !file.isPinned(i)),
      );
    }
  }

  /** Writes maps that changed, and closes descriptors that are too many. */
  async settle(): Promise<void> {
    for (const file of this.#opened) await file.save();
    let open = [...this.#opened].filter(file => file.isOpen).length;
    for (const file of this.#opened) {
      if (open <= OPEN_FILES_MAX) break;
      if (!file.isOpen || file.busy) continue;
      await file.close();
      open--;
    }
  }

  /** Writes the maps and closes all files. */
  async close(): Promise<void> {
    await this.#shrinking;
    await Promise.allSettled(this.#removals.values());
    for (const file of this.#opened) {
      await file.save();
      await file.close();
    }
  }

  #enter(name: string, opening: Promise<PackFile>): void {
    this.#files.set(name, opening);
    opening.then(
      file => this.#opened.add(file),
      () => this.#files.delete(name),
    );
  }

  /** A complete file that appeared beside us (a pack just flushed), or a new one. */
  async #openOrCreate(name: string, shape: PackShape): Promise<PackFile> {
    await this.#removals.get(name);
    const path = join(this.#directory, `${name}.pack`);
    const present = await stat(path).catch(() => undefined);
    if (present?.isFile() && present.size === shape.size) {
      const bits = new Uint8Array(Math.ceil(shape.slivers / 8)).fill(0xff);
      const file = new PackFile(path, shape, bits, this.#stamp++);
      await file.save(true);
      return file;
    }
    if (present !== undefined) await this.#discard(path, `it has ${present.size} bytes`);
    return PackFile.create(path, shape);
  }

  /** Known files, oldest first; complete ones without a map wait until their pack is asked for. */
  async #scan(): Promise<void> {
    const names = await readdir(this.#directory);
    const found: { name: string; usedMs: number }[] = [];
    for (const name of names) {
      const path = join(this.#directory, name);
      if (name.endsWith('.map.new')) await rm(path, { force: true });
      if (!name.endsWith('.map')) continue;
      if (names.includes(name.replace(/\.map$/, '.pack')))
        found.push({ name: name.slice(0, -4), usedMs: (await stat(path)).mtimeMs });
      else await rm(path, { force: true });
    }
    found.sort((a, b) => a.usedMs - b.usedMs);
    for (const { name } of found) {
      const file = await this.#load(join(this.#directory, `${name}.pack`));
      if (file === undefined) continue;
      this.#files.set(name, Promise.resolve(file));
      this.#opened.add(file);
    }
  }

  async #load(path: string): Promise<PackFile | undefined> {
    const map = decodeSliverMap(await readFile(mapPathOf(path)));
    if (map === undefined) return this.#discard(path, 'its map is torn');
    const shape = packShape(map.size, map.nShards);
    const { size } = await stat(path);
    if (map.slivers !== shape.slivers) return this.#discard(path, 'its map has another shape');
    if (size < shape.size || size > shape.slivers * shape.primaryBytes)
      return this.#discard(path, `it has ${size} bytes`);
    const file = new PackFile(path, shape, map.bits, this.#stamp++);
    await file.emptyAbsent();
    return file;
  }

  async #discard(path: string, why: string): Promise<undefined> {
    log('content').warn({ path, why }, 'a damaged cache file was thrown away');
    await rm(mapPathOf(path), { force: true });
    await rm(path, { force: true });
  }

  async #shrink(): Promise<number> {
    const excess = await this.#excessBytes();
    if (excess <= 0) return 0;
    const wanted = excess + this.#limits.cacheBytes * SLACK;
    const slivers: { file: PackFile; sliver: number }[] = [];
    for (const file of this.#opened)
      for (let sliver = 0; sliver < file.shape.slivers; sliver++)
        if (file.has(sliver) && !file.isPinned(sliver)) slivers.push({ file, sliver });
    slivers.sort((a, b) => a.file.stamps[a.sliver]! - b.file.stamps[b.sliver]!);
    const going = new Map<PackFile, number[]>();
    let bytes = 0;
    for (const { file, sliver } of slivers) {
      if (bytes >= wanted) break;
      bytes += file.sliverBytes(sliver);
      const list = going.get(file);
      if (list === undefined) going.set(file, [sliver]);
      else list.push(sliver);
    }
    let freed = 0;
    for (const [file, list] of going) freed += await this.#empty(file, list);
    return freed;
  }

  async #excessBytes(): Promise<number> {
    const over = this.bytes() + this.#expectedBytes - this.#limits.cacheBytes;
    const disk = await statfs(this.#directory).catch(error => {
      log('content').warn({ error: messageOf(error) }, 'free space of the disk is unknown');
      return undefined;
    });
    if (disk === undefined) return over;
    const free = disk.bavail * disk.bsize - this.#expectedBytes;
    return Math.max(over, this.#limits.freeBytesMin - free);
  }

  /** Empties slivers; a file that holds nothing more goes. A pack file that a flush still names keeps its bytes. */
  async #empty(file: PackFile, slivers: readonly number[]): Promise<number> {
    const freed = await this.#freed(file, slivers);
    this.bytesEvicted += freed;
    if (file.bytes === 0 && file.holders === 0 && !file.removed) this.#remove(file);
    return freed;
  }

  async #freed(file: PackFile, slivers: readonly number[]): Promise<number> {
    const going = () => slivers.filter(i => file.has(i) && !file.isPinned(i));
    try {
      if (going().length === 0 || (await file.isShared())) return 0;
      // Looked at anew: a reader may have come meanwhile.
      return await file.empty(going());
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      return file.forgetAll();
    }
  }

  #remove(file: PackFile): void {
    const name = basename(file.path, '.pack');
    file.removed = true;
    this.#opened.delete(file);
    this.#files.delete(name);
    const removal = file.remove().finally(() => this.#removals.delete(name));
    removal.catch(error =>
      log('content').warn({ path: file.path, error: messageOf(error) }, 'cache file not removed'),
    );
    this.#removals.set(name, removal);
  }
}
