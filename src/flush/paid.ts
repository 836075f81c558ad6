/**
 * Until when what the last checkpoint names is paid (`paid.json`): counted once a checkpoint, in the
 * flush's own copy of the index, so that whoever asks reads a few lines.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { replaceFile } from '../base/files.ts';

/** Files whose first bytes to run out do so at one time; each file counts once, with all its bytes. */
export interface FilesPaid {
  /** First epoch that is not paid for. */
  readonly endEpoch: number;
  readonly files: number;
  readonly bytes: number;
}

/** The paid time of a checkpoint. */
export interface Paid {
  /** First epoch for which a part of the checkpoint itself (index, manifest) is not paid; null: not known. */
  readonly checkpoint: number | null;
  /** In the order of epochs. */
  readonly files: readonly FilesPaid[];
}

/**
 * Fewer epochs than this, the running one counted, are few: half of what a flush pays ahead, so that
 * as much time is left to do something as has passed; and in any case the last one.
 */
export const fewEpochs = (epochsAhead: number): number => Math.max(2, Math.ceil(epochsAhead / 2));

/** What is paid until this epoch at least has not run out yet: it is used again, and not renewed. */
export const lastingEnd = (epoch: number, epochsAhead: number): number =>
  epoch + Math.min(epochsAhead, fewEpochs(epochsAhead));

/** Is a part of the checkpoint itself, or of files that can still be paid for longer, not paid until `end`? */
export const isDue = ({ checkpoint, files }: Paid, epoch: number, end: number) => ({
  checkpoint: checkpoint !== null && checkpoint < end,
  files: files.some(({ endEpoch }) => endEpoch > epoch && endEpoch < end),
});

const FILE = 'paid.json';
/** Stands for the end of the pack that carries the checkpoint: it is paid last and ends last. */
const CARRIER = 0xffff_ffff;

/** Files of an index copy by the end of their paid time; of the carrier's only `paidUntil` knows it. */
export const countPaid = (index: Database.Database): FilesPaid[] =>
  index
    .prepare(
      `SELECT endEpoch, count(*) AS files, sum(bytes) AS bytes FROM (
         SELECT min(iif(p.blob_id IS NULL, ${CARRIER}, p.end_epoch)) AS endEpoch, sum(e.length) AS bytes
         FROM extent e CROSS JOIN frame f ON f.id = e.frame CROSS JOIN pack p ON p.id = f.pack
         GROUP BY e.ino)
       GROUP BY endEpoch ORDER BY endEpoch`,
    )
    .all() as FilesPaid[];

/** The counted files with the carrier's end filled in. */
export const paidUntil = (files: readonly FilesPaid[], carrierEnd: number): FilesPaid[] => {
  const ends = new Map<number, FilesPaid>();
  for (const { endEpoch, files: count, bytes } of files) {
    const end = endEpoch === CARRIER ? carrierEnd : endEpoch;
    const sum = ends.get(end) ?? { endEpoch: end, files: 0, bytes: 0 };
    ends.set(end, { endEpoch: end, files: sum.files + count, bytes: sum.bytes + bytes });
  }
  return [...ends.values()].sort((a, b) => a.endEpoch - b.endEpoch);
};

/** Keeps what was counted. */
export const savePaid = (journal: string, paid: Paid): void =>
  replaceFile(join(journal, FILE), JSON.stringify(paid));

/** What was counted last; undefined if nothing was, or the file is damaged: then the next flush counts anew. */
export const loadPaid = (journal: string): Paid | undefined => {
  const path = join(journal, FILE);
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Paid;
  } catch {
    return undefined;
  }
};
