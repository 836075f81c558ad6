/**
 * Local facts about the chain that must not be lost: the highest head, and what every final
 * transaction cost (each digest counted once).
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TuskError } from '../base/errors.ts';
import { replaceFile } from '../base/files.ts';
import type { TxResult } from '../walrus/network.ts';
import { appendSynced, reading, readLines } from './journal.ts';
import type { Head, Spent } from './types.ts';

const HEAD = 'head.json';
const SPENT = 'spent.jsonl';

/** The highest head that this machine has seen; undefined before the first checkpoint. */
export const loadHead = (journal: string): Head | undefined => {
  const path = join(journal, HEAD);
  if (!existsSync(path)) return undefined;
  const advice =
    'Nothing more is flushed until it is put back from a backup: it says which checkpoint the next one follows';
  return reading(path, advice, () => JSON.parse(readFileSync(path, 'utf8')) as Head);
};

/** Keeps a head; its sequence never goes down. */
export const saveHead = (journal: string, head: Head): void => {
  const known = loadHead(journal);
  if (known !== undefined && known.sequence > head.sequence)
    throw new TuskError(
      'conflicting_head',
      `checkpoint ${head.sequence} is older than checkpoint ${known.sequence}, which this machine has seen: an old state is refused`,
    );
  replaceFile(join(journal, HEAD), JSON.stringify(head));
};

/** Before the first transaction. */
export const NOTHING_SPENT: Spent = { wal: 0n, sui: 0n, packs: 0, encodedBytes: 0 };

/** A final transaction, as a line of `spent.jsonl`. */
interface SpentEntry {
  digest: string;
  wal: string;
  sui: string;
  encodedBytes: number;
}

/** Sums of everything paid. */
export class SpentLedger {
  readonly #journal: string;
  readonly #seen = new Set<string>();
  #spent = NOTHING_SPENT;

  constructor(journal: string) {
    this.#journal = journal;
    const advice = 'Restore it; or move it away: costs are summed from now on only';
    readLines<SpentEntry>(join(journal, SPENT), advice, entry => this.#count(entry));
  }

  /** Sums so far. */
  get spent(): Spent {
    return this.#spent;
  }

  /** Enters a final transaction; `encodedBytes` if it registered a pack. */
  add(result: TxResult, encodedBytes: number): void {
    if (this.#seen.has(result.digest)) return;
    const entry: SpentEntry = {
      digest: result.digest,
      wal: result.walSpent.toString(),
      sui: result.suiSpent.toString(),
      encodedBytes,
    };
    appendSynced(this.#journal, SPENT, `${JSON.stringify(entry)}\n`);
    this.#count(entry);
  }

  #count(entry: SpentEntry): void {
    const { wal, sui, packs, encodedBytes } = this.#spent;
    this.#spent = {
      wal: wal + BigInt(entry.wal),
      sui: sui + BigInt(entry.sui),
      packs: packs + (entry.encodedBytes > 0 ? 1 : 0),
      encodedBytes: encodedBytes + entry.encodedBytes,
    };
    this.#seen.add(entry.digest);
  }
}

/** What this volume has cost so far, read by somebody who does not flush. */
export const loadSpent = (journal: string): Spent => new SpentLedger(journal).spent;
