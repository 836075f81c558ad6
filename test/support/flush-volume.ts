/** A volume without a mount: real index and log, real flusher, a network in a directory. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { type Ino, nameFromText, ROOT_INO } from '../../src/base/ids.ts';
import { log } from '../../src/base/log.ts';
import { systemRandom } from '../../src/base/random.ts';
import { Flusher } from '../../src/flush/flusher.ts';
import type { FlushFront } from '../../src/flush/types.ts';
import { ENVELOPE_BYTES } from '../../src/format/envelope.ts';
import { aadPrefix, packKey, volumeKeys } from '../../src/format/keys.ts';
import { stagedPlace } from '../../src/log/place.ts';
import { slotOf } from '../../src/log/record.ts';
import type { MetaIndex } from '../../src/meta/index.ts';
import { openIndex } from '../../src/meta/open.ts';
import type { FramePlace, PackRow } from '../../src/meta/types.ts';
import { native } from '../../src/native.ts';
import type { Network } from '../../src/walrus/network.ts';
import { MemoryNetwork } from './memory-network.ts';

const MiB = 2 ** 20;

export const keys = volumeKeys(Buffer.alloc(16, 7), Buffer.alloc(32, 8));
export const envelope = Buffer.alloc(ENVELOPE_BYTES, 9);

/** Opens a frame out of the pack's bytes. */
export const openFrame = (bytes: Buffer, pack: PackRow, frame: FramePlace): Promise<Buffer> => {
  const { slot, compression, plainBytes, offset, sealedBytes, identity } = frame;
  const prefix = aadPrefix(keys.volumeId, pack.packId);
  const sealed = bytes.subarray(offset, offset + sealedBytes);
  const key = packKey(keys, pack.salt);
  return native.openFrame(
    key,
    prefix,
    slot,
    compression,
    plainBytes,
    sealed,
    keys.identity,
    identity,
  );
};

export class FlushVolume {
  readonly root: string;
  readonly index: MetaIndex;
  readonly network: MemoryNetwork;
  readonly flusher: Flusher;
  #snapshots = 0;

  private constructor(root: string, index: MetaIndex, packBytesMax: number, real?: Network) {
    this.root = root;
    this.index = index;
    this.network = new MemoryNetwork(join(root, 'network'));
    const directories = {
      outbox: join(root, 'outbox'),
      journal: join(root, 'journal'),
      cache: join(root, 'cache'),
      scratch: join(root, 'scratch'),
    };
    for (const path of Object.values(directories)) mkdirSync(path, { recursive: true });
    this.flusher = new Flusher({
      network: real ?? this.network,
      keys,
      envelope,
      directories,
      front: this.front(),
      clock: systemClock,
      random: systemRandom,
      limits: { epochsAhead: 5, walMaxPerPack: 10n ** 12n, tailMs: 1000, packBytesMax },
      logger: log('flush'),
    });
  }

  /** Opens or makes one; flushes go to `real` instead of the network in the directory, if given. */
  static async open(root: string, packBytesMax = 256 * MiB, real?: Network): Promise<FlushVolume> {
    const index = await openIndex({
      directory: join(root, 'index'),
      logDirectory: join(root, 'log'),
      reserveBytes: MiB,
    });
    for (const { slot } of index.log.segments.used) await index.log.segments.verify(slot);
    return new FlushVolume(root, index, packBytesMax, real);
  }

  /** The front as the daemon bridges it. */
  front(): FlushFront {
    const { index, root } = this;
    return {
      snapshot: () => index.snapshot(join(root, 'scratch', `snapshot-${++this.#snapshots}`)),
      commitPack: commit => index.commitPack(commit),
      renewPacks: ends => index.renewPacks(ends),
      stagedPlace: async addr => {
        await index.verifyStaged(slotOf(addr));
        return stagedPlace(join(root, 'log'), addr);
      },
      readFrame: async frame => {
        const place = index.frame(frame)!;
        const pack = index.pack(place.pack)!;
        const bytes = readFileSync(join(root, 'cache', `${pack.packId.toString('hex')}.pack`));
        const path = join(root, 'scratch', `frame-${frame}`);
        writeFileSync(path, await openFrame(bytes, pack, place));
        return { path, offset: 0 };
      },
    };
  }

  /** Writes bytes into a file of the root directory, made if it is missing. */
  write(name: string, offset: number, data: Buffer): Ino {
    const found = this.index.lookup(ROOT_INO, nameFromText(name))?.ino;
    let ino = found;
    if (ino === undefined) {
      const change = this.index.change();
      ino = change.createInode({ mode: 0o100644, nlink: 1 }).ino;
      change.setDentry(ROOT_INO, nameFromText(name), ino, 8);
      change.commit();
    }
    for (let at = 0; at < data.length; at += MiB) {
      const change = this.index.change();
      const part = data.subarray(at, at + MiB);
      change.stage(ino, offset + at, part);
      const size = Math.max(this.index.inode(ino)!.size, offset + at + part.length);
      change.setInode(ino, { size });
      if (change.commit() !== 0) throw new Error('no space');
    }
    return ino;
  }

  /** The file's bytes as the index shows them: log, or packs of the network. */
  async read(name: string): Promise<Buffer> {
    const ino = this.index.lookup(ROOT_INO, nameFromText(name))!.ino;
    const out = Buffer.alloc(this.index.inode(ino)!.size);
    for (const extent of this.index.extents(ino, 0, out.length)) {
      if (extent.addr >= 0) {
        (this.index.stagedBytes(extent.addr, extent.length) as Buffer).copy(out, extent.offset);
        continue;
      }
      const place = this.index.frame(extent.frame)!;
      const pack = this.index.pack(place.pack)!;
      const plain = await openFrame(
        this.network.blob(pack.blobId.toString('base64url')),
        pack,
        place,
      );
      plain.copy(out, extent.offset, extent.at, extent.at + extent.length);
    }
    return out;
  }

  sync(epoch?: number) {
    return this.flusher.run({ signal: AbortSignal.timeout(100_000), epoch });
  }

  async close(): Promise<void> {
    await this.flusher.close();
    await this.index.close();
  }
}
