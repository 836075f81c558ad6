/**
 * One atomic change: collects mutations, then becomes one log record and is applied to memory, in
 * one go on the front thread. Space is found before anything is touched, so a full disk changes nothing.
 */
import type { ByteWriter } from '../base/bytes.ts';
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import type { Ino, Name, Seq } from '../base/ids.ts';
import type { Log, Room } from '../log/log.ts';
import { RECORD_HEADER_BYTES } from '../log/record.ts';
import type { Memory } from './memory.ts';
import {
  blocksOf,
  encodeMutation,
  type InodeRow,
  Kind,
  type Mutation,
  patchClears,
  patchInodeBytes,
  rowWith,
} from './mutation.ts';
import type { Change, Extent, Inode, InodeFields } from './types.ts';

const NO_DATA = Buffer.alloc(0);
const EMPTY: Omit<InodeRow, 'ino'> = {
  ...{ mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, blocks: 0, bytes: 0, parent: 0 },
  ...{ atime: 0, atimeNs: 0, mtime: 0, mtimeNs: 0, ctime: 0, ctimeNs: 0, btime: 0, btimeNs: 0 },
};

/** What a change needs of the index that it belongs to. */
export interface ChangeHost {
  readonly log: Log;
  readonly memory: Memory;
  /** One scratch buffer for all changes: commits never overlap. */
  readonly scratch: ByteWriter;
  nextIno: Ino;
  nextCookie: number;
  inodes: number;
  /** Mark of the request that changes answer now; 0: none. */
  readonly cause: { readonly request: number };
  nowMs(): number;
  /** Waits a moment if the index writer has fallen far behind. */
  keepPace(): void;
}

/** A range whose old content `share` resolves when the change commits. */
interface Share {
  source: Ino;
  from: number;
  length: number;
  target: Ino;
  to: number;
}

/** A change being put together. */
export class IndexChange implements Change {
  readonly #host: ChangeHost;
  readonly #mutations: (Mutation | Share)[] = [];
  /** Inodes as this change leaves them; null: removed. */
  readonly #rows = new Map<Ino, InodeRow | null>();
  readonly #touched = new Set<Ino>();
  readonly #created: Ino[] = [];
  #inodes = 0;
  #hasShares = false;
  #data: Buffer = NO_DATA;

  constructor(host: ChangeHost) {
    this.#host = host;
  }

  createInode(fields: InodeFields): Inode {
    const row = rowWith({ ...EMPTY, ino: this.#host.nextIno++ }, fields);
    this.#rows.set(row.ino, row);
    this.#created.push(row.ino);
    this.#inodes++;
    return row;
  }

  setInode(ino: Ino, fields: InodeFields): void {
    this.#rows.set(ino, rowWith(this.#row(ino), fields));
  }

  removeInode(ino: Ino): void {
    this.#row(ino);
    this.#rows.set(ino, null);
    this.#mutations.push({ kind: Kind.removeInode, ino, clears: 0 });
    this.#inodes--;
  }

  setDentry(parent: Ino, name: Name, ino: Ino, type: number): void {
    this.#mutations.push({ kind: Kind.dentry, parent, name, ino, type, cookie: 0 });
  }

  removeDentry(parent: Ino, name: Name): void {
    this.#mutations.push({ kind: Kind.removeDentry, parent, name });
  }

  setXattr(ino: Ino, name: Name, value: Uint8Array): void {
    this.#mutations.push({ kind: Kind.xattr, ino, name, value: Buffer.from(value) });
  }

  removeXattr(ino: Ino, name: Name): void {
    this.#mutations.push({ kind: Kind.removeXattr, ino, name });
  }

  setSymlink(ino: Ino, target: Uint8Array): void {
    this.#mutations.push({ kind: Kind.symlink, ino, target: Buffer.from(target) });
  }

  stage(ino: Ino, offset: number, data: Buffer): void {
    if (this.#data.length > 0) throw new TuskError('internal', 'one stage a change');
    if (data.length === 0) return;
    this.#data = data;
    this.#touched.add(ino);
    const length = data.length;
    this.#mutations.push({ kind: Kind.placeData, ino, offset, length, clears: 0, dataAt: 0 });
  }

  cut(ino: Ino, from: number, to: number): void {
    if (to <= from) return;
    this.#touched.add(ino);
    this.#mutations.push({ kind: Kind.cut, ino, offset: from, length: to - from, clears: 0 });
  }

  share(source: Ino, from: number, length: number, target: Ino, to: number): void {
    if (length <= 0) return;
    this.#touched.add(target);
    this.#hasShares = true;
    this.#mutations.push({ source, from, length, target, to });
  }

  /** A mutation as it is: for packs, frames and ranges that point at them. */
  put(mutation: Mutation): void {
    if (mutation.kind === Kind.place) this.#touched.add(mutation.ino);
    this.#mutations.push(mutation);
  }

  commit(reserve = false): number {
    const { log, scratch } = this.#host;
    this.#host.keepPace();
    const mutations = this.#resolved();
    for (const ino of this.#touched) if (!this.#rows.has(ino)) this.#rows.set(ino, this.#row(ino));
    scratch.reset().reserve(RECORD_HEADER_BYTES);
    const places = mutations.map(mutation => {
      // Taken in the order of commits: what is pinned of a directory stays in cookie order.
      if (mutation.kind === Kind.dentry) mutation.cookie = this.#host.nextCookie++;
      const at = scratch.at;
      encodeMutation(scratch, mutation);
      return { mutation, at };
    });
    const rows: { row: InodeRow; at: number }[] = [];
    for (const row of this.#rows.values()) {
      if (row === null) continue;
      rows.push({ row, at: scratch.at });
      encodeMutation(scratch, { kind: Kind.inode, row });
    }
    if (scratch.at === RECORD_HEADER_BYTES) return 0;
    const room = log.reserve(scratch.at - RECORD_HEADER_BYTES, this.#data.length, reserve);
    if (room === undefined) return -Errno.ENOSPC;
    this.#write(places, rows, room);
    return 0;
  }

  /** From here on nothing can fail: memory and log change together. */
  #write(
    places: { mutation: Mutation; at: number }[],
    rows: { row: InodeRow; at: number }[],
    room: Room,
  ): void {
    const { log, memory, scratch } = this.#host;
    const seq = log.lastSeq + 1;
    for (const ino of this.#created) memory.created(ino, seq);
    const encoded = scratch.done();
    for (const { mutation, at } of places) {
      const clears = this.#toMemory(mutation, room, seq);
      if (clears > 0) patchClears(encoded, at, clears);
    }
    for (const { row, at } of rows) {
      const bytes = this.#touched.has(row.ino) ? memory.extents(row.ino).bytes : row.bytes;
      if (bytes !== row.bytes) patchInodeBytes(encoded, at, bytes);
      const final = bytes === row.bytes ? row : { ...row, bytes, blocks: blocksOf(bytes) };
      memory.inodes.set(row.ino, final, seq);
    }
    this.#host.inodes += this.#inodes;
    const { inodes } = this.#host;
    const { request } = this.#host.cause;
    const timeMs = this.#host.nowMs();
    const facts = { request, timeMs, inodes, contentBytes: memory.contentBytes };
    log.append(room, facts, encoded, this.#data);
  }

  /** Applies one mutation to memory; returns what a range held before (CLEARS_*). */
  #toMemory(m: Mutation, room: Room, seq: Seq): number {
    const { memory } = this.#host;
    switch (m.kind) {
      case Kind.removeInode:
        return memory.remove(m.ino, seq);
      case Kind.dentry: {
        const { parent, name, ino, type, cookie } = m;
        memory.setName(parent, name, { parent, name, ino, type, cookie }, seq);
        return 0;
      }
      case Kind.removeDentry:
        memory.setName(m.parent, m.name, null, seq);
        return 0;
      case Kind.xattr:
      case Kind.removeXattr: {
        const xattrs = new Map(memory.xattrs.get(m.ino));
        if (m.kind === Kind.xattr) xattrs.set(m.name, m.value);
        else xattrs.delete(m.name);
        memory.xattrs.set(m.ino, xattrs, seq);
        return 0;
      }
      case Kind.symlink:
        memory.symlinks.set(m.ino, { bytes: m.target }, seq);
        return 0;
      case Kind.cut:
        return memory.place(m.ino, m.offset, m.offset + m.length, [], seq);
      case Kind.place: {
        const { offset, length, addr, frame, at } = m;
        const extent: Extent = { offset, length, addr, frame, at };
        return memory.place(m.ino, offset, offset + length, [extent], seq);
      }
      case Kind.placeData: {
        const { offset, length } = m;
        const addr = room.dataAddr + m.dataAt;
        const extent: Extent = { offset, length, addr, frame: 0, at: 0 };
        return memory.place(m.ino, offset, offset + length, [extent], seq);
      }
      case Kind.frame:
        memory.frames.set(m.place.frame, m.place, seq);
        return 0;
      case Kind.pack:
        // One that is known may have been paid for longer.
        if (m.row.endEpoch > (memory.packs.get(m.row.pack)?.endEpoch ?? -1))
          memory.packs.set(m.row.pack, m.row, seq);
        return 0;
      case Kind.inode:
        return 0;
    }
  }

  /** The mutations, with what shares mean now in their place. */
  #resolved(): Mutation[] {
    if (!this.#hasShares) return this.#mutations as Mutation[];
    return this.#mutations.flatMap(m => ('kind' in m ? [m] : this.#resolve(m)));
  }

  /** What a share means now: a hole, and over it what the source shows. */
  #resolve(share: Share): Mutation[] {
    const { source, from, length, target, to } = share;
    const shown = this.#host.memory.extents(source).within(from, from + length);
    return [
      { kind: Kind.cut, ino: target, offset: to, length, clears: 0 },
      ...shown.map(
        (extent): Mutation => ({
          ...{ kind: Kind.place, ino: target, clears: 0 },
          ...{ offset: extent.offset - from + to, length: extent.length },
          ...{ addr: extent.addr, frame: extent.frame, at: extent.at },
        }),
      ),
    ];
  }

  #row(ino: Ino): InodeRow {
    const row = this.#rows.has(ino) ? this.#rows.get(ino) : this.#host.memory.inodes.get(ino);
    if (row === null || row === undefined)
      throw new TuskError('internal', `inode ${ino} does not exist`);
    return row;
  }
}
