/**
 * Renewal: packs that files use, and whose paid time runs out, are paid for longer, many in one
 * transaction. As a registration it is journalled before it is sent (`renewal.json`) and sent again as
 * it is until its fate is known; only then another is built. Until when each pack is paid is what the
 * chain says afterwards.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { isTransient, messageOf, TuskError } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import { replaceFile, syncDirectory } from '../base/files.ts';
import type { PackNo, SuiId } from '../base/ids.ts';
import type { SignedTx } from '../walrus/network.ts';
import type { IndexCopy, PackEnd } from './index-copy.ts';
import { reading } from './journal.ts';
import { checkAborted, isExpiry, patiently } from './patience.ts';
import type { SpentLedger } from './state.ts';
import type { FlushParts } from './types.ts';

/** Packs of one transaction, well below what Sui takes. */
const PACKS_A_TX = 50;

/** A pack and its Blob object. */
interface OwnedPack {
  readonly pack: PackNo;
  readonly objectId: SuiId;
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
  /** Hears why it waits ('' when it goes on). */
  readonly onWait: (reason: string) => void;
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

/** Until when packs are paid, as the chain says; entered in the index. */
const learnEnds = async (
  { parts, signal }: RenewalContext,
  packs: readonly OwnedPack[],
): Promise<PackEnd[]> => {
  const ids = packs.map(({ objectId }) => objectId);
  const objects = await parts.network.blobObjects(ids, signal);
  const ends = packs.flatMap(({ pack }, at): PackEnd[] => {
    const endEpoch = objects[at]?.endEpoch;
    return endEpoch === undefined ? [] : [{ pack, endEpoch }];
  });
  if (ends.length > 0) await parts.front.renewPacks(ends);
  return ends;
};

/**
 * Finishes what was signed and perhaps sent; the packs' ends then, none if it failed. While its fate
 * is not known nothing else of this wallet can be signed, so it is waited for.
 */
const settle = async (context: RenewalContext, { tx, packs }: Pending): Promise<PackEnd[]> => {
  const { parts, spent, signal, onWait } = context;
  const result = await patiently(parts, signal, onWait, () =>
    parts.network.submit(tx, signal),
  ).catch((error: unknown) => {
    if (isExpiry(error)) return undefined;
    throw error;
  });
  if (result !== undefined) spent.add(result, 0);
  failpoint('renewal.sent');
  const ends = result?.ok ? await learnEnds(context, packs) : [];
  failpoint('renewal.entered');
  rmSync(pathOf(context), { force: true });
  syncDirectory(parts.directories.journal);
  if (!result?.ok) {
    const why = result?.error ?? 'the transaction expired';
    throw new TuskError(result?.code ?? 'tx_failed', `packs were not renewed: ${why}`);
  }
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

/** Does `work`; what fails is logged: renewing keeps nothing else from the network, and the next flush tries again. The error, if there was one. */
const leniently = async (
  { parts, signal }: RenewalContext,
  work: () => Promise<void>,
): Promise<unknown> => {
  try {
    await work();
    return undefined;
  } catch (error) {
    checkAborted(signal);
    parts.logger.warn({ error: messageOf(error) }, 'what runs out could not be renewed');
    return error;
  }
};

/** Finishes a renewal that an earlier flush left, if that can be done now. */
export const resumeRenewal = (context: RenewalContext): Promise<unknown> =>
  leniently(context, () => resume(context));

/** Pays until `end` for packs of the index copy that are not paid until `lasting`, as far as wallet and limits allow; the copy learns their ends. Why not all could be renewed; empty if they were. */
export const renewPacks = async (
  context: RenewalContext,
  copy: IndexCopy,
  { epoch, lasting, end }: { epoch: number; lasting: number; end: number },
): Promise<string> => {
  const { parts, signal } = context;
  const { walMaxPerPack: walMaxEach } = parts.limits;
  const renew = async (packs: readonly OwnedPack[]): Promise<void> => {
    const blobObjectIds = packs.map(({ objectId }) => objectId);
    const request = { blobObjectIds, endEpoch: end, walMaxEach };
    const tx = await parts.network.signExtend(request, signal);
    if (tx !== undefined) {
      replaceFile(pathOf(context), JSON.stringify({ tx, packs } satisfies Pending));
      failpoint('renewal.signed');
    }
    // What is paid already need only be learnt.
    copy.renew(
      await (tx === undefined ? learnEnds(context, packs) : settle(context, { tx, packs })),
    );
  };
  const due = duePacks(copy.db, epoch, lasting);
  let failure = '';
  for (let at = 0; at < due.length; at += PACKS_A_TX) {
    // One that could not be finished holds the wallet's coins, and is not written over.
    if (existsSync(pathOf(context))) return failure || 'the last renewal could not be finished yet';
    const error = await leniently(context, () => renew(due.slice(at, at + PACKS_A_TX)));
    if (error === undefined) continue;
    failure = messageOf(error);
    // What is too dear, or refused, says nothing of other packs.
    if (isTransient(error)) break;
  }
  return failure;
};
