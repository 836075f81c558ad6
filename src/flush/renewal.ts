/**
 * Renewal: packs that files use, and whose paid time runs out, are paid for longer, many in one
 * transaction. As a registration it is journalled before it is sent (`renewal.json`) and sent again as
 * it is until its fate is known; only then another is built. Until when each pack is paid is what the
 * chain says afterwards.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { messageOf, TuskError } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { replaceFile, syncDirectory } from '../base/files.ts';
import type { PackNo, SuiId } from '../base/ids.ts';
import type { SignedTx } from '../walrus/network.ts';
import { reading } from './journal.ts';
import { checkAborted, isExpiry } from './patience.ts';
import type { SpentLedger } from './state.ts';
import type { FlushParts } from './types.ts';

/** Packs of one transaction, well below what Sui takes. */
const PACKS_A_TX = 50;

/** A pack and its Blob object. */
interface OwnedPack {
  readonly pack: PackNo;
  readonly objectId: SuiId;
}

/** A pack with its end, as the chain has it. */
export interface PackEnd {
  readonly pack: PackNo;
  readonly endEpoch: number;
}

interface Pending {
  readonly tx: SignedTx;
  readonly packs: readonly OwnedPack[];
}

/** What renewing works with. */
export interface RenewalContext {
  readonly parts: FlushParts;
  readonly spent: SpentLedger;
  readonly signal: AbortSignal;
}

const pathOf = ({ parts }: RenewalContext): string =>
  join(parts.directories.journal, 'renewal.json');

/** Packs that files use and that are paid until after `epoch`, but not until `end`. */
const duePacks = (index: Database.Database, epoch: number, end: number): OwnedPack[] =>
  index
    .prepare(
      `SELECT p.id AS pack, p.object_id AS objectId FROM pack p
       WHERE p.end_epoch > ? AND p.end_epoch < ? AND p.blob_id IS NOT NULL AND p.id IN
         (SELECT f.pack FROM extent e CROSS JOIN frame f ON f.id = e.frame)
       ORDER BY p.end_epoch, p.id`,
    )
    .all(epoch, end) as OwnedPack[];

/** Finishes what was signed and perhaps sent; the packs' ends then, none if it failed. */
const settle = async (context: RenewalContext, { tx, packs }: Pending): Promise<PackEnd[]> => {
  const { parts, spent, signal } = context;
  const result = await parts.network.submit(tx, signal).catch((error: unknown) => {
    if (isExpiry(error)) return undefined;
    throw error;
  });
  if (result !== undefined) spent.add(result, 0);
  failpoint('renewal.sent');
  const ends: PackEnd[] = [];
  if (result?.ok)
    for (const { pack, objectId } of packs) {
      const object = await parts.network.blobObject(objectId, signal);
      if (object !== undefined) ends.push({ pack, endEpoch: object.endEpoch });
    }
  if (ends.length > 0) await parts.front.renewPacks(ends);
  failpoint('renewal.entered');
  rmSync(pathOf(context), { force: true });
  syncDirectory(parts.directories.journal);
  if (result?.ok === false)
    throw new TuskError(result.code ?? 'tx_failed', `packs were not renewed: ${result.error}`);
  parts.logger.info({ digest: tx.digest, packs: ends.length }, 'packs renewed');
  return ends;
};

/** Finishes a renewal that an earlier flush left; rejects while its fate is not known. */
const resume = async (context: RenewalContext): Promise<void> => {
  const path = pathOf(context);
  if (!existsSync(path)) return;
  const advice =
    'Restore it; or move it away: if it was executed, packs are paid for longer than this machine knows';
  const pending = reading(path, advice, () => JSON.parse(readFileSync(path, 'utf8')) as Pending);
  await settle(context, pending);
};

/** As `work`; what fails is logged and undefined: renewing keeps nothing else from the network, and the next flush tries again. */
const leniently = async <T>(
  { parts, signal }: RenewalContext,
  work: () => Promise<T>,
): Promise<T | undefined> => {
  try {
    return await work();
  } catch (error) {
    checkAborted(signal);
    parts.logger.warn({ error: messageOf(error) }, 'what runs out could not be renewed');
    return undefined;
  }
};

/** Finishes a renewal that an earlier flush left, if that can be done now. */
export const resumeRenewal = (context: RenewalContext): Promise<void> =>
  leniently(context, () => resume(context));

/** Pays until `end` for packs of the index copy that are not paid until `lasting`; the copy learns their ends. How many were renewed; undefined if that failed. */
export const renewPacks = (
  context: RenewalContext,
  index: Database.Database,
  { epoch, lasting, end }: { epoch: number; lasting: number; end: number },
): Promise<number | undefined> =>
  leniently(context, async () => {
    const { parts, signal } = context;
    const { walMaxPerPack: walMaxEach } = parts.limits;
    await resume(context);
    const due = duePacks(index, epoch, lasting);
    const learn = index.prepare('UPDATE pack SET end_epoch = ? WHERE id = ?');
    let renewed = 0;
    for (let at = 0; at < due.length; at += PACKS_A_TX) {
      const packs = due.slice(at, at + PACKS_A_TX);
      const blobObjectIds = packs.map(({ objectId }) => objectId);
      const request = { blobObjectIds, endEpoch: end, walMaxEach };
      const tx = await parts.network.signExtend(request, signal);
      if (tx === undefined) continue;
      replaceFile(pathOf(context), JSON.stringify({ tx, packs } satisfies Pending));
      failpoint('renewal.signed');
      for (const { pack, endEpoch } of await settle(context, { tx, packs })) {
        learn.run(endEpoch, pack);
        renewed++;
      }
    }
    return renewed;
  });
