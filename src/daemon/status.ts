/** The answers of `status`, put together from front and back. */
import { within } from '../base/abort.ts';
import { messageOf } from '../base/errors.ts';
import { loadHead, loadSpent, NOTHING_SPENT } from '../flush/state.ts';
import type { Front } from './front.ts';
import type { BackStatus } from './methods.ts';
import type { Amount, FlushReport, StatusReport } from './report.ts';

/** A network that does not answer must not make `status` hang. */
const BACK_TIMEOUT_MS = 2000;

const UNKNOWN: BackStatus = {
  ...{ time: null, nodes: [], balance: null, networkError: '' },
  limits: null,
};

const backStatus = async (front: Front): Promise<BackStatus> => {
  try {
    return await within(undefined, BACK_TIMEOUT_MS, signal =>
      front.back.call('status', null, signal),
    );
  } catch (error) {
    return { ...UNKNOWN, networkError: messageOf(error) };
  }
};

/** Why the running flush does not go on, or why the last one failed; empty if all is well. */
export const reasonOf = (front: Front): string =>
  front.pipeline.now?.pending || front.flushes.lastError;

/** Bytes that are not checkpointed yet. */
export const pendingBytes = ({ durability }: StatusReport): number =>
  durability.received.bytes + durability.local.bytes + durability.certified.bytes;

const flushReport = (front: Front): FlushReport => {
  const { now, rate } = front.pipeline;
  const running = front.flushes.isRunning;
  const left = now === undefined ? 0 : now.bytesTotal - now.bytesDone;
  return {
    state: running ? (now?.state ?? 'idle') : 'idle',
    bytesDone: now?.bytesDone ?? 0,
    bytesTotal: now?.bytesTotal ?? 0,
    rate: running ? rate : 0,
    leftMs: running && rate > 0 ? (left / rate) * 1000 : null,
    packsPending: now?.packsPending ?? 0,
    pending: reasonOf(front),
  };
};

/** Everything that `tuskfs status` shows. */
export const statusReport = async (front: Front): Promise<StatusReport> => {
  const back = await backStatus(front);
  const { config, handover, index, paths } = front;
  const totals = index.totals();
  let damage = '';
  const known = <T>(load: (journal: string) => T): T | undefined => {
    try {
      return load(paths.journal);
    } catch (error) {
      damage ||= messageOf(error);
      return undefined;
    }
  };
  const head = known(loadHead);
  const spent = known(loadSpent) ?? NOTHING_SPENT;
  const staged: Amount = { files: totals.stagedFiles, bytes: totals.stagedBytes };
  const none: Amount = { files: 0, bytes: 0 };
  const certified = front.pipeline.uncheckpointed();
  const checkpointed: Amount = {
    files: Math.max(0, totals.inodes - staged.files - certified.files),
    bytes: Math.max(0, totals.contentBytes - staged.bytes - certified.bytes),
  };
  return {
    volume: config.name,
    network: config.networkName,
    mountPoint: await front.mount.place(),
    pid: process.pid,
    keeper: process.connected ? handover.keeper : null,
    restarts: handover.restarts,
    lastEnd: handover.lastEnd,
    readOnly: config.readOnly,
    fault: front.fault,
    damage,
    durability: {
      received: index.isSynced() ? none : staged,
      local: index.isSynced() ? staged : none,
      certified,
      checkpointed,
    },
    oldestStagedMs: totals.oldestStagedMs === 0 ? 0 : Date.now() - totals.oldestStagedMs,
    flush: flushReport(front),
    checkpoint: head?.sequence ?? 0,
    epoch: back.time?.epoch ?? null,
    paid: front.paidWatch.heard(back.time),
    nodes: back.nodes.map(({ name, address, shards, state, lastError }) => ({
      name,
      address,
      shards,
      state,
      lastError,
    })),
    wallet: {
      address: config.volume.address,
      wal: back.balance === null ? null : back.balance.wal.toString(),
      sui: back.balance === null ? null : back.balance.sui.toString(),
    },
    cost: {
      wal: spent.wal.toString(),
      sui: spent.sui.toString(),
      packs: spent.packs,
      encodedBytes: spent.encodedBytes,
    },
    cache: { bytes: front.content.bytes() },
    networkError: back.networkError,
    limits: back.limits,
  };
};
