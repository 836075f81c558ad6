/**
 * The objects that a transaction names, checked as Sui's validators check them before they sign:
 * owned objects belong to the sender and are given in their current version, shared ones with
 * the version they were shared at, nothing twice, gas coins worth the budget.
 */
import { normalizeSuiAddress } from '@mysten/sui/utils';
import { GRPC, invalid, Rejection } from './errors.ts';
import type { Packages } from './move/packages.ts';
import { balanceOf, type StoredObject } from './objects.ts';
import type { View } from './store.ts';
import { type ObjectRef, refOf, type Transaction } from './transaction.ts';
import type { TypeNames } from './types.ts';

/** Objects of a transaction, as they are before it. */
export interface Inputs {
  /** Objects among the inputs, by id; gas coins are not among them. */
  readonly objects: ReadonlyMap<string, StoredObject>;
  readonly gas: readonly StoredObject[];
  /** Versions that this transaction uses up: owned inputs and gas. */
  readonly owned: readonly StoredObject[];
}

/** Refuses a reference that is not the object's current version. */
const ownedObject = (view: View, ref: ObjectRef, sender: string): StoredObject => {
  const object = view.object(ref.objectId);
  if (object === undefined)
    throw new Rejection(
      GRPC.notFound,
      `Could not find the referenced object ${ref.objectId} at version ${ref.version}`,
    );
  if (object.version !== ref.version)
    throw invalid(
      `Transaction needs to be rebuilt because object ${ref.objectId} version ${ref.version} is unavailable for consumption, current version: ${object.version}`,
    );
  if (object.digest !== ref.digest)
    throw invalid(
      `Invalid object digest for object ${ref.objectId} version ${ref.version}: expected ${object.digest}, got ${ref.digest}`,
    );
  if (object.owner.kind !== 'address')
    throw invalid(`object ${ref.objectId} is not owned by an address but ${object.owner.kind}`);
  if (object.owner.address !== sender)
    throw invalid(
      `Transaction was not signed by the correct sender: object ${ref.objectId} is owned by account address ${object.owner.address}, but given owner/signer address is ${sender}`,
    );
  return object;
};

const sharedObject = (view: View, id: string, initialVersion: number): StoredObject => {
  const object = view.object(id);
  if (object === undefined)
    throw new Rejection(GRPC.notFound, `Could not find the referenced shared object ${id}`);
  if (object.owner.kind !== 'shared' || object.owner.initialVersion !== initialVersion)
    throw invalid(`object ${id} is not shared since version ${initialVersion}`);
  return object;
};

/** Gas coins of a payment; refuses anything but SUI coins of the sender worth the budget. */
const gasCoins = (view: View, names: TypeNames, tx: Transaction): StoredObject[] => {
  const coins = tx.gas.payment.map(ref => {
    const coin = ownedObject(view, ref, tx.sender);
    if (coin.type !== names.suiCoin)
      throw invalid(`Invalid gas object ${ref.objectId}: ${coin.type} is no SUI coin`);
    return coin;
  });
  const worth = coins.reduce((sum, coin) => sum + (balanceOf(coin) ?? 0n), 0n);
  if (coins.length > 0 && worth < tx.gas.budget)
    throw invalid(
      `Balance of gas object ${worth} is lower than the needed amount: ${tx.gas.budget}`,
    );
  return coins;
};

/** Loads and checks everything that a transaction names. */
export const loadInputs = (
  view: View,
  names: TypeNames,
  packages: Packages,
  tx: Transaction,
): Inputs => {
  const objects = new Map<string, StoredObject>();
  const owned: StoredObject[] = [];
  for (const input of tx.inputs) {
    if (input.$kind !== 'Object') continue;
    const { Object: object } = input;
    if (object.$kind === 'Receiving')
      throw invalid('receiving objects are not supported by this ledger');
    const found =
      object.$kind === 'SharedObject'
        ? sharedObject(
            view,
            object.SharedObject.objectId,
            Number(object.SharedObject.initialSharedVersion),
          )
        : ownedObject(view, refOf(object.ImmOrOwnedObject), tx.sender);
    if (objects.has(found.id)) throw invalid(`object ${found.id} is an input twice`);
    objects.set(found.id, found);
    if (object.$kind === 'ImmOrOwnedObject') owned.push(found);
  }
  const gas = gasCoins(view, names, tx);
  const seen = new Set(objects.keys());
  for (const coin of gas) {
    if (seen.has(coin.id)) throw invalid(`object ${coin.id} is an input twice`);
    seen.add(coin.id);
  }
  for (const command of tx.commands)
    if (command.$kind === 'MoveCall')
      packages.checkPackage(normalizeSuiAddress(command.MoveCall.package));
  return { objects, gas, owned: [...owned, ...gas] };
};
