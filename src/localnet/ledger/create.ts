/**
 * The birth of a ledger: genesis written into an empty database, as its first commit. Also the
 * record that acts of the administrator, genesis among them, leave in place of a transaction.
 */
import { GrpcTypes } from '@mysten/sui/grpc';
import { normalizeSuiAddress } from '@mysten/sui/utils';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { GenesisNode } from '../feed.ts';
import { storageCost } from './gas.ts';
import { FIRST_SUI_EPOCH, type GenesisOptions, genesisObjects, newIds } from './genesis.ts';
import { digestOf } from './hash.ts';
import { sealObject } from './objects.ts';
import type { Store } from './store.ts';
import { typeNames } from './types.ts';
import { timestamp } from './wire.ts';

/** What a ledger needs from outside. */
export interface LedgerParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Reads see a transaction only so long after it was executed. */
  readonly readLagMs: number;
}

/** What genesis fixes beside objects and ids. */
export interface Settings {
  readonly nodes: readonly GenesisNode[];
  readonly registrationDelayMs: number;
}

/** Sender of what no wallet signed. */
export const NOBODY = normalizeSuiAddress('0x0');
/** Genesis is the first commit, and every read sees it. */
export const GENESIS_SEQ = 1;

/** What is remembered of an act of the administrator. */
export const systemTransaction = (digest: string, seq: number, atMs: number): Uint8Array =>
  GrpcTypes.ExecutedTransaction.toBinary({
    digest,
    signatures: [],
    effects: {
      version: 2,
      status: { success: true },
      transactionDigest: digest,
      dependencies: [],
      changedObjects: [],
      unchangedConsensusObjects: [],
      unchangedLoadedRuntimeObjects: [],
    },
    checkpoint: BigInt(seq),
    timestamp: timestamp(atMs),
    balanceChanges: [],
  });

/** Writes genesis into an empty database. */
export const createLedger = (store: Store, options: GenesisOptions, parts: LedgerParts): void => {
  const ids = newIds(parts.random);
  const nowMs = parts.clock.nowMs();
  const digest = digestOf('TransactionData', Buffer.from(ids.chainId));
  const settings: Settings = {
    nodes: options.nodes,
    registrationDelayMs: options.registrationDelayMs ?? 500,
  };
  const names = typeNames(ids);
  const written = genesisObjects(ids, options, parts.random, nowMs).map(value =>
    sealObject(names, value, 1, digest, storageCost(value)),
  );
  // Storage of system objects is paid by nobody: it starts as the fund's own.
  const fund = written.reduce((sum, object) => sum + object.storageRebate, 0n);
  const commit = {
    digest,
    sender: NOBODY,
    ok: true,
    written,
    removed: [],
    events: [],
    meta: {
      ids: JSON.stringify(ids),
      settings: JSON.stringify(settings),
      suiEpoch: String(FIRST_SUI_EPOCH),
      storageFund: String(fund),
      gasCollected: '0',
    },
    executed: (seq: number, atMs: number) => systemTransaction(digest, seq, atMs),
  };
  store.commit(commit, nowMs, 0);
};
