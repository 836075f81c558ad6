/** A sealed pack made of given plaintexts, and a source of its slivers that can be told to misbehave. */
import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { TuskError } from '../../src/base/errors.ts';
import { blobIdFromBytes } from '../../src/base/ids.ts';
import type { FrameKey, SliverRequest, SliverSource } from '../../src/content/types.ts';
import type { FramePlace, PackRow } from '../../src/meta/types.ts';
import { native } from '../../src/native.ts';

export const IDENTITY_KEY = Buffer.alloc(32, 7);

/** The key of a pack, by its salt. */
export const frameKey = (pack: PackRow): FrameKey => ({
  key: createHash('sha256').update(pack.salt).digest(),
  aadPrefix: pack.packId,
});

/** A pack and what stands in it. */
export interface SealedPack {
  readonly row: PackRow;
  readonly bytes: Buffer;
  readonly frames: readonly FramePlace[];
}

/** Seals plaintexts end to end; frame numbers count from `firstFrame`. */
export const sealPack = async (
  pack: number,
  plains: readonly Buffer[],
  nShards = 100,
  firstFrame = pack * 1000,
): Promise<SealedPack> => {
  const salt = randomBytes(32);
  const row = {
    pack,
    packId: randomBytes(16),
    salt,
    nShards,
    blobId: randomBytes(32),
    objectId: '0x1',
    endEpoch: 9,
  };
  const { key, aadPrefix } = frameKey({ ...row, size: 0 });
  const frames: FramePlace[] = [];
  const parts: Buffer[] = [];
  let offset = 0;
  for (const [slot, plain] of plains.entries()) {
    const { sealed, compression } = await native.sealBytes(key, aadPrefix, slot, plain);
    frames.push({
      frame: firstFrame + slot,
      identity: native.keyedHash(IDENTITY_KEY, plain),
      pack,
      slot,
      offset,
      sealedBytes: sealed.length,
      plainBytes: plain.length,
      compression,
    });
    parts.push(sealed);
    offset += sealed.length;
  }
  const bytes = Buffer.concat(parts);
  return { row: { ...row, size: bytes.length }, bytes, frames };
};

/** What happens to one fetched sliver. */
export type Fault = 'none' | 'corrupt' | 'zeros' | 'fail' | 'hang' | 'slow' | 'half' | 'cut';

/** Slivers of known packs, written into the cache file as the network side does. */
export class LocalSource implements SliverSource {
  readonly packs = new Map<string, SealedPack>();
  readonly requests: SliverRequest[] = [];
  /** Decides about each sliver of a request; proof finds out about wrong bytes unless it is `liar`. */
  fault: (request: SliverRequest, sliver: number) => Fault = () => 'none';
  liar = false;

  add(pack: SealedPack): SealedPack {
    this.packs.set(blobIdFromBytes(pack.row.blobId), pack);
    return pack;
  }

  async fetch(request: SliverRequest, signal?: AbortSignal): Promise<void> {
    this.requests.push(request);
    const { bytes } = this.packs.get(request.blobId)!;
    const { primaryBytes } = native.blobShape(request.size, request.nShards);
    const file = await open(request.cachePath, 'r+');
    try {
      for (const sliver of request.slivers) {
        const fault = this.fault(request, sliver);
        if (fault === 'fail')
          throw new TuskError('too_few_shards', `blob ${request.blobId}: sliver ${sliver}`);
        if (fault === 'hang') await aborted(signal);
        if (fault === 'slow') await new Promise(resolve => setTimeout(resolve, 3));
        const at = sliver * primaryBytes;
        const data = Buffer.alloc(primaryBytes);
        bytes.copy(data, 0, at, at + primaryBytes);
        const lies = !request.verify || this.liar;
        if (fault === 'corrupt' && lies)
          for (let i = 0; i < data.length; i += 512) data[i]! ^= 0x40;
        if (fault === 'zeros' && lies) data.fill(0);
        if (fault === 'half' && lies) data.fill(0, primaryBytes / 2);
        if (fault === 'cut' && lies) await file.truncate(at);
        else await file.write(data, 0, data.length, at);
      }
    } finally {
      await file.close();
    }
  }
}

const aborted = (signal?: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
