/** Objects as the ledger stores them: owner, version, digest, and their form on the wire. */
import { bcs } from '@mysten/sui/bcs';
import { GrpcTypes } from '@mysten/sui/grpc';
import { digestOf } from './hash.ts';
import { Coin } from './layouts.ts';
import { coinTypeOf, isTransferable, SUI_TYPE, type TypeNames } from './types.ts';

/** Who may use an object. */
export type Owner =
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'object'; readonly parent: string }
  | { readonly kind: 'shared'; readonly initialVersion: number };

/** What a transaction leaves behind of an object, before it gets its version. */
export interface ObjectValue {
  readonly id: string;
  readonly type: string;
  readonly owner: Owner;
  readonly contents: Uint8Array;
}

/** One version of an object. */
export interface StoredObject extends ObjectValue {
  readonly version: number;
  /** base58 */
  readonly digest: string;
  readonly previousTransaction: string;
  /** MIST that come back (but for 1 %) when the object is deleted or rewritten. */
  readonly storageRebate: bigint;
}

const moveType = (type: string) => {
  const coinType = coinTypeOf(type);
  if (coinType === SUI_TYPE) return { GasCoin: true as const };
  if (coinType !== undefined) return { Coin: coinType };
  const tag = bcs.TypeTag.parse(bcs.TypeTag.serialize(type).toBytes());
  return { Other: structTagOf(tag) };
};

/** The struct tag inside a type tag, by way of its BCS (the variant's number is one byte). */
const structTagOf = (type: string) =>
  bcs.StructTag.parse(bcs.TypeTag.serialize(type).toBytes().subarray(1));

/** Bytes of an object that storage is paid for, counted as Sui counts them. */
export const meteredBytes = (object: ObjectValue): number =>
  80 +
  9 +
  bcs.MoveObjectType.serialize(moveType(object.type)).toBytes().length +
  object.contents.length;

const bcsOwner = (owner: Owner) =>
  owner.kind === 'address'
    ? { AddressOwner: owner.address }
    : owner.kind === 'object'
      ? { ObjectOwner: owner.parent }
      : { Shared: { initialSharedVersion: owner.initialVersion } };

/** Seals a value as a version: BCS of Sui's Object and its digest. */
export const sealObject = (
  names: TypeNames,
  value: ObjectValue,
  version: number,
  previousTransaction: string,
  storageRebate: bigint,
): StoredObject => {
  const bytes = bcs.Object.serialize({
    data: {
      Move: {
        type: moveType(value.type),
        hasPublicTransfer: isTransferable(names, value.type),
        version,
        contents: value.contents,
      },
    },
    owner: bcsOwner(value.owner),
    previousTransaction,
    storageRebate,
  }).toBytes();
  return {
    ...value,
    version,
    digest: digestOf('Object', bytes),
    previousTransaction,
    storageRebate,
  };
};

/** Balance of a coin object; undefined for other objects. */
export const balanceOf = (object: ObjectValue): bigint | undefined =>
  coinTypeOf(object.type) === undefined ? undefined : Coin.parse(object.contents).balance;

const OwnerKind = GrpcTypes.Owner_OwnerKind;

/** Owner on the wire. */
export const ownerToProto = (owner: Owner): GrpcTypes.Owner =>
  owner.kind === 'address'
    ? { kind: OwnerKind.ADDRESS, address: owner.address }
    : owner.kind === 'object'
      ? { kind: OwnerKind.OBJECT, address: owner.parent }
      : { kind: OwnerKind.SHARED, version: BigInt(owner.initialVersion) };

/** Object on the wire; read masks are ignored, everything is sent. */
export const objectToProto = (names: TypeNames, object: StoredObject): GrpcTypes.Object => {
  const balance = balanceOf(object);
  return {
    objectId: object.id,
    version: BigInt(object.version),
    digest: object.digest,
    owner: ownerToProto(object.owner),
    objectType: object.type,
    hasPublicTransfer: isTransferable(names, object.type),
    contents: { name: object.type, value: object.contents },
    previousTransaction: object.previousTransaction,
    storageRebate: object.storageRebate,
    ...(balance === undefined ? {} : { balance }),
  };
};
