/**
 * Type names, package and object ids of one localnet, made once at genesis. As on mainnet the
 * package was upgraded: types carry the original package id, calls go to the current one.
 * Type strings are canonical here: full addresses, no spaces (`normalizeStructTag`).
 */
import type { BcsType } from '@mysten/sui/bcs';
import { normalizeStructTag, normalizeSuiAddress, parseStructTag } from '@mysten/sui/utils';
import type { SuiId } from '../../base/ids.ts';
import * as layouts from './layouts.ts';

/** Ids that genesis fixes. */
export interface NetworkIds {
  /** base58 of 32 bytes */
  readonly chainId: string;
  readonly originalPackage: SuiId;
  readonly currentPackage: SuiId;
  readonly walPackage: SuiId;
  readonly systemObject: SuiId;
  readonly stakingObject: SuiId;
}

/** Canonical type of SUI. */
export const SUI_TYPE = normalizeStructTag('0x2::sui::SUI');
const COIN = `${normalizeSuiAddress('0x2')}::coin::Coin`;

/** Canonical `Coin<T>`. */
export const coinOf = (coinType: string): string => `${COIN}<${coinType}>`;
/** T of a canonical `Coin<T>`; undefined for other types. */
export const coinTypeOf = (type: string): string | undefined =>
  type.startsWith(`${COIN}<`) ? type.slice(COIN.length + 1, -1) : undefined;

const optionOf = (type: string) => `${normalizeSuiAddress('0x1')}::option::Option<${type}>`;
/** Canonical `std::string::String`. */
export const STRING = `${normalizeSuiAddress('0x1')}::string::String`;

/** Canonical type names of one network. */
export interface TypeNames {
  readonly wal: string;
  readonly walCoin: string;
  readonly suiCoin: string;
  readonly system: string;
  readonly staking: string;
  readonly systemField: string;
  readonly stakingField: string;
  readonly pool: string;
  readonly blob: string;
  readonly storage: string;
  readonly metadata: string;
  readonly metadataField: string;
  readonly optionString: string;
  readonly optionMetadata: string;
}

/** All type names of a network. */
export const typeNames = (ids: NetworkIds): TypeNames => {
  const own = (name: string) => normalizeStructTag(`${ids.originalPackage}::${name}`);
  const field = (name: string, value: string) =>
    normalizeStructTag(`0x2::dynamic_field::Field<${name},${value}>`);
  const wal = normalizeStructTag(`${ids.walPackage}::wal::WAL`);
  const metadata = own('metadata::Metadata');
  return {
    wal,
    walCoin: coinOf(wal),
    suiCoin: coinOf(SUI_TYPE),
    system: own('system::System'),
    staking: own('staking::Staking'),
    systemField: field('u64', own('system_state_inner::SystemStateInnerV1')),
    stakingField: field('u64', own('staking_inner::StakingInnerV1')),
    pool: own('staking_pool::StakingPool'),
    blob: own('blob::Blob'),
    storage: own('storage_resource::Storage'),
    metadata,
    metadataField: field('vector<u8>', metadata),
    optionString: optionOf(STRING),
    optionMetadata: optionOf(metadata),
  };
};

/** Layout of an object that transactions may hold; undefined for types they may not. */
export const layoutOf = (
  names: TypeNames,
  type: string,
): BcsType<{ id: string }, never> | undefined => {
  const layout =
    coinTypeOf(type) !== undefined
      ? layouts.Coin
      : type === names.blob
        ? layouts.Blob
        : type === names.storage
          ? layouts.Storage
          : type === names.system || type === names.staking
            ? layouts.Versioned
            : type === names.pool
              ? layouts.StakingPool
              : undefined;
  return layout as BcsType<{ id: string }, never> | undefined;
};

/** Does a value of this type obey the rules of objects (key, no drop)? */
export const isObjectType = (names: TypeNames, type: string): boolean =>
  layoutOf(names, type) !== undefined;

/** May `TransferObjects` move an object of this type (key and store)? */
export const isTransferable = (names: TypeNames, type: string): boolean =>
  type === names.blob || type === names.storage || coinTypeOf(type) !== undefined;

/** Canonical form of a type that a caller wrote; undefined when it is no struct type. */
export const canonicalType = (text: string): string | undefined => {
  try {
    parseStructTag(text);
    return normalizeStructTag(text);
  } catch {
    return undefined;
  }
};
