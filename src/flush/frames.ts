/**
 * Regions become frames: cut, named by identity, and told from what is stored already. The same
 * bytes are stored once, whether they stood in the index before or occur twice in one flush.
 */
import type Database from 'better-sqlite3';
import type { FrameId } from '../base/ids.ts';
import type { VolumeKeys } from '../format/keys.ts';
import type { FlushedRange } from '../meta/types.ts';
import { native, type Piece } from '../native.ts';
import type { Region } from './choose.ts';
import { overlaps, type Sources } from './sources.ts';

/** Regions cut in one call: bounds what waits in memory. */
const REGIONS_A_CALL = 8192;

/** A frame that is not stored yet, or no longer for long enough: then it keeps its number. */
export interface NewFrame {
  readonly id: FrameId;
  readonly identity: Buffer;
  readonly plainBytes: number;
  readonly pieces: Piece[];
}

/** Frames in file order with the ranges that they make certified. */
export interface FramePlan {
  /** Each with the ranges that can be committed once it is stored. */
  readonly frames: { readonly frame: NewFrame; readonly ranges: FlushedRange[] }[];
  /** Ranges whose bytes were stored before this flush. */
  readonly shared: FlushedRange[];
  readonly bytesStored: number;
  readonly bytesShared: number;
}

interface Stored {
  readonly id: FrameId;
  readonly endEpoch: number;
}

/** Tells which frame has an identity: where to look stands in `local.db`, what it says in the index. */
const storedFrames = (
  index: Database.Database,
  local: Database.Database,
): ((identity: Buffer) => Stored | undefined) => {
  const frameOf = local.prepare('SELECT frame FROM identity WHERE start = substr(?, 1, 8)').pluck();
  const stored = index.prepare(
    'SELECT f.id, p.end_epoch AS endEpoch FROM frame f JOIN pack p ON p.id = f.pack WHERE f.id = ? AND f.identity = ?',
  );
  return identity => stored.get(frameOf.get(identity) ?? null, identity) as Stored | undefined;
};

/** Cuts all regions; frames that are stored already, until the epoch `until` at least, yield ranges only. */
export const planFrames = async (
  index: Database.Database,
  local: Database.Database,
  keys: VolumeKeys,
  regions: readonly Region[],
  sources: Sources,
  until: number,
): Promise<FramePlan> => {
  const known = storedFrames(index, local);
  let nextId = (index.prepare('SELECT max(id) FROM frame').pluck().get() as number | null) ?? 0;
  const fresh = new Map<string, FramePlan['frames'][number]>();
  const plan = { shared: [] as FlushedRange[], bytesStored: 0, bytesShared: 0 };

  for (let at = 0; at < regions.length; at += REGIONS_A_CALL) {
    const batch: Region[] = [];
    for (const region of regions.slice(at, at + REGIONS_A_CALL))
      batch.push(...(await sources.prepare(region)));
    const pieces = batch.map(region => sources.pieces(region, 0, region.length));
    const cuts = await native.cutRegions(keys.cutting, keys.identity, pieces);
    cuts.forEach((frames, i) => {
      const region = batch[i]!;
      for (const { offset, length, identity } of frames) {
        const name = identity.toString('latin1');
        const planned = fresh.get(name);
        const stored = planned === undefined ? known(identity) : undefined;
        const shared =
          planned?.frame.id ?? (stored && stored.endEpoch >= until ? stored.id : undefined);
        if (shared !== undefined) {
          (planned?.ranges ?? plan.shared).push(...rangesOf(region, offset, length, shared));
          plan.bytesShared += length;
          continue;
        }
        const id: FrameId = stored?.id ?? ++nextId;
        const cut = sources.pieces(region, offset, length);
        const frame = { id, identity, plainBytes: length, pieces: cut };
        fresh.set(name, { frame, ranges: rangesOf(region, offset, length, id) });
        plan.bytesStored += length;
      }
    });
  }
  return { ...plan, frames: [...fresh.values()] };
};

/** The parts of a file that a frame will hold, each with where its bytes were read from. */
const rangesOf = (region: Region, from: number, length: number, frame: FrameId): FlushedRange[] => {
  let at = 0;
  return overlaps(region, from, length).map(({ run, skip, length: part }) => {
    const range: FlushedRange = {
      ino: region.ino,
      offset: run.offset + skip,
      length: part,
      addr: run.addr < 0 ? -1 : run.addr + skip,
      oldFrame: run.frame,
      oldAt: run.addr < 0 ? run.at + skip : 0,
      frame,
      at,
    };
    at += part;
    return range;
  });
};
