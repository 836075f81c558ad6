/** Opens the index of a volume: starts the index writer, lets it replay the log, then begins where the log ends. */
import { type Clock, systemClock } from '../base/clock.ts';
import { makeDirectory } from '../base/files.ts';
import { SEGMENT_BYTES } from '../base/limits.ts';
import { Log } from '../log/log.ts';
import { MetaIndex } from './index.ts';
import { Queries } from './queries.ts';
import { TailReader } from './tails.ts';
import { WriterHost } from './writer-host.ts';

/** Records the index writer applies a transaction. */
const BATCH_RECORDS = 2000;
/** Kept back for pages that the kernel has already accepted. */
const RESERVE_BYTES = 256 * 1024 * 1024;

/** Where an index lives, and what a new one starts with. */
export interface OpenIndexOptions {
  /** Holds `index.db` and `local.db`; created if absent (mode 0700). */
  directory: string;
  /** Holds the log's segments; created if absent (mode 0700). */
  logDirectory: string;
  /** Owner of the root directory of a new index. */
  uid?: number;
  gid?: number;
  /** Log space kept back for `commit(reserve = true)`: at least the kernel's dirty limit of the mount. */
  reserveBytes?: number;
  /** Bytes of the disk that the log's growth must leave free; asked before each new segment. */
  keepFreeBytes?: () => number;
  /** Size of segment files, at most SEGMENT_BYTES; smaller ones for tests. */
  segmentBytes?: number;
  clock?: Clock;
}

/**
 * Opens or creates an index. An `index.db` out of a checkpoint, without log and `local.db`, is
 * taken over as it is. Fails with a TuskError if the log or the databases cannot be read.
 */
export const openIndex = async (options: OpenIndexOptions): Promise<MetaIndex> => {
  const { directory, logDirectory, clock = systemClock } = options;
  for (const path of [directory, logDirectory]) makeDirectory(path);
  const writer = new WriterHost({
    ...{ directory, logDirectory, nowMs: clock.nowMs(), batchRecords: BATCH_RECORDS },
    ...{ uid: options.uid ?? 0, gid: options.gid ?? 0 },
  });
  const { end, durable, lastAnswer } = await writer.ready;
  const queries = new Queries(directory);
  const tails = new TailReader(directory);
  const log = new Log({
    ...{ directory: logDirectory, end },
    segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
    reserveBytes: options.reserveBytes ?? RESERVE_BYTES,
    ...(options.keepFreeBytes === undefined ? {} : { keepFreeBytes: options.keepFreeBytes }),
  });
  return new MetaIndex({ log, queries, tails, writer, clock, durable, lastAnswer });
};
