/**
 * Choosing coins, and knowing which of them are current. Readers may lag behind execution, so
 * what the effects of our own transactions said is remembered here: a listing that shows an older
 * state is not believed but read again.
 */
import { GrpcTypes as Grpc, type GrpcTypes } from '@mysten/sui/grpc';
import { normalizeStructTag, normalizeSuiAddress } from '@mysten/sui/utils';
import { TuskError } from '../../base/errors.ts';
import type { SuiId } from '../../base/ids.ts';
import { type Parts, pause } from '../retry.ts';
import type { SuiRpc } from './rpc.ts';

/** Type of SUI. */
export const SUI_TYPE = '0x2::sui::SUI';
/** Most coins of one kind in one transaction (Sui takes 256 as gas). */
const COINS_MAX = 200;
const LAG_TRIES = 60;
const LAG_MS = 250;
const MASK = ['object_id', 'version', 'digest', 'owner', 'object_type', 'balance'];

/** Exact state of an owned object, as a transaction names it. */
export interface ObjectRef {
  readonly objectId: SuiId;
  readonly version: string;
  readonly digest: string;
}

/** A coin and what it holds. */
export interface Coin extends ObjectRef {
  readonly balance: bigint;
}

/** Reference to an object as it was read. */
export const refOf = (object: GrpcTypes.Object): ObjectRef => ({
  objectId: object.objectId!,
  version: String(object.version),
  digest: object.digest!,
});

/** Does an object's type text name this type, whatever way it is written? */
export const sameType = (text: string | undefined, type: string): boolean =>
  text !== undefined && normalizeStructTag(text) === normalizeStructTag(type);

/** Owned objects as our own transactions left them. */
export class KnownObjects {
  /** Newest version seen in effects; undefined: gone. */
  readonly #versions = new Map<SuiId, bigint | undefined>();
  readonly #owner: SuiId;

  constructor(owner: SuiId) {
    this.#owner = owner;
  }

  /** Remembers what a final transaction did; answers the owned objects that it wrote. */
  note(effects: GrpcTypes.TransactionEffects): { id: SuiId; version: bigint }[] {
    const written: { id: SuiId; version: bigint }[] = [];
    for (const change of effects.changedObjects) {
      const id = change.objectId;
      if (id === undefined) continue;
      const mine =
        change.outputState === Grpc.ChangedObject_OutputObjectState.OBJECT_WRITE &&
        change.outputOwner?.kind === Grpc.Owner_OwnerKind.ADDRESS &&
        change.outputOwner.address !== undefined &&
        normalizeSuiAddress(change.outputOwner.address) === this.#owner;
      if (mine) {
        const version = change.outputVersion ?? effects.lamportVersion ?? 0n;
        this.#versions.set(id, version);
        written.push({ id, version });
      } else if (this.#versions.has(id)) {
        this.#versions.set(id, undefined);
      }
    }
    return written;
  }

  /** Is this state older than what our own transactions left? */
  isStale(object: GrpcTypes.Object): boolean {
    const id = object.objectId!;
    if (!this.#versions.has(id)) return false;
    const newest = this.#versions.get(id);
    return newest === undefined || object.version! < newest;
  }
}

/** All coins of one type, none of them in a state that our transactions have replaced. */
export const listCoins = async (
  rpc: SuiRpc,
  known: KnownObjects,
  owner: SuiId,
  coinType: string,
  parts: Parts,
  signal?: AbortSignal,
): Promise<Coin[]> => {
  for (let tries = 1; ; tries++) {
    const objects = await rpc.owned(owner, `0x2::coin::Coin<${coinType}>`, MASK, signal);
    if (!objects.some(object => known.isStale(object))) {
      return objects.map(object => ({ ...refOf(object), balance: object.balance ?? 0n }));
    }
    if (tries === LAG_TRIES) throw lagging();
    await pause(parts.clock, LAG_MS, signal);
  }
};

/** Owned objects by id in their newest state, in order; undefined where there is none. */
export const readOwned = async (
  rpc: SuiRpc,
  known: KnownObjects,
  ids: readonly SuiId[],
  mask: readonly string[],
  parts: Parts,
  signal?: AbortSignal,
): Promise<(GrpcTypes.Object | undefined)[]> => {
  for (let tries = 1; ; tries++) {
    const objects = await rpc.objects(ids, mask, signal);
    if (!objects.some(object => object !== undefined && known.isStale(object))) return objects;
    if (tries === LAG_TRIES) throw lagging();
    await pause(parts.clock, LAG_MS, signal);
  }
};

const lagging = (): TuskError =>
  new TuskError(
    'network',
    `Sui's readers lag more than ${(LAG_TRIES * LAG_MS) / 1000} s behind our last transaction; nothing was sent, try again later`,
  );

/** The coins that one transaction can take, largest first. */
const takable = (coins: readonly Coin[]): Coin[] =>
  coins
    .filter(coin => coin.balance > 0n)
    .sort((a, b) => (a.balance === b.balance ? 0 : a.balance < b.balance ? 1 : -1))
    .slice(0, COINS_MAX);

/** What one transaction can pay out of these coins. */
export const payable = (coins: readonly Coin[]): bigint =>
  takable(coins).reduce((sum, coin) => sum + coin.balance, 0n);

/** Largest coins first until they hold `amount`; rejects `unfunded` if all that a transaction can take do not. */
export const chooseCoins = (
  coins: readonly Coin[],
  amount: bigint,
  owner: SuiId,
  unit: 'WAL' | 'SUI',
): Coin[] => {
  const chosen: Coin[] = [];
  let sum = 0n;
  for (const coin of takable(coins)) {
    if (chosen.length > 0 && sum >= amount) break;
    chosen.push(coin);
    sum += coin.balance;
  }
  if (chosen.length > 0 && sum >= amount) return chosen;
  const total = coins.reduce((held, coin) => held + coin.balance, 0n);
  throw total < amount ? unfunded(owner, amount, sum, unit) : scattered(owner, amount, sum, unit);
};

/** 1 WAL and 1 SUI are 10⁹ of their smallest unit. */
const decimal = (amount: bigint): string => {
  const fraction = (amount % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  return `${amount / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`;
};

/** The error for a wallet that cannot pay a transaction's gas, of which more is known only once it can; `enough` always is. */
export const withoutGas = (owner: SuiId, present: bigint, enough: bigint): TuskError =>
  new TuskError(
    'unfunded',
    `the wallet ${owner} holds ${decimal(present)} SUI, too little for the gas of a transaction. Nothing was sent or lost; send SUI to that address (${decimal(enough)} SUI are always enough) and try again.`,
    { details: { address: owner, present, unit: 'SUI' } },
  );

/** The error for a wallet that holds too little. */
const unfunded = (owner: SuiId, needed: bigint, present: bigint, unit: 'WAL' | 'SUI'): TuskError =>
  new TuskError(
    'unfunded',
    `the wallet ${owner} holds ${decimal(present)} ${unit} and ${decimal(needed)} ${unit} are needed. Nothing was sent or lost; send ${unit} to that address and try again.`,
    { details: { address: owner, needed, present, unit } },
  );

/** The error for a wallet whose many coins hold enough, but not those that one transaction can take. */
const scattered = (owner: SuiId, needed: bigint, present: bigint, unit: 'WAL' | 'SUI'): TuskError =>
  new TuskError(
    'unfunded',
    `the ${COINS_MAX} largest ${unit} coins of the wallet ${owner} hold ${decimal(present)} ${unit} and ${decimal(needed)} ${unit} are needed; a transaction takes no more coins. Nothing was sent or lost; merge its coins, or send ${unit} in one piece to that address, and try again.`,
    { details: { address: owner, needed, present, unit } },
  );

/** The error for a cost above the owner's limit. */
export const overBudget = (what: string, cost: bigint, walMax: bigint): TuskError =>
  new TuskError(
    'over_budget',
    `${what} would cost ${decimal(cost)} WAL, above the limit of ${decimal(walMax)} WAL. Nothing was sent and staged files are safe; raise walMaxPerPack of the volume (in FROST, 10⁹ to a WAL) in the settings file, which is heeded while it is mounted, too, or wait for a lower price.`,
    { details: { cost, walMax } },
  );
