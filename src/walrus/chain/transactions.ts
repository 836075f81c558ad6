/**
 * Our programmable transactions over Walrus' Move functions (MystenLabs/walrus, contracts/walrus:
 * system, blob). They name every object in full, so they are built without asking anybody, and
 * they take the price out of one coin that holds the quote and its margin: what Walrus does not
 * take flows back into the coin it was split from.
 */

import { bcs } from '@mysten/sui/bcs';
import { Inputs, Transaction, type TransactionObjectArgument } from '@mysten/sui/transactions';
import type { Frost, SuiId } from '../../base/ids.ts';
import { blobIdToBytes } from '../../base/ids.ts';
import type { CertifyRequest, RegisterRequest } from '../network.ts';
import type { TipPayment } from '../nodes/relay.ts';
import type { ObjectRef } from './coins.ts';
import type { SystemRefs } from './state.ts';

/** Walrus' number for the encoding RS2. */
const ENCODING_RS2 = 1;

const u256 = (littleEndian: Uint8Array): Uint8Array => new Uint8Array(littleEndian);
const byteVector = (bytes: Uint8Array): Uint8Array => bcs.byteVector().serialize(bytes).toBytes();

/** A transaction under construction. */
class Recipe {
  readonly tx = new Transaction();
  readonly #refs: SystemRefs;

  constructor(refs: SystemRefs) {
    this.#refs = refs;
  }

  system(mutable: boolean): TransactionObjectArgument {
    return this.tx.object(
      Inputs.SharedObjectRef({
        objectId: this.#refs.systemObject,
        initialSharedVersion: this.#refs.systemInitialVersion.toString(),
        mutable,
      }),
    );
  }

  owned(ref: ObjectRef): TransactionObjectArgument {
    return this.tx.object(Inputs.ObjectRef(ref));
  }

  call(
    module: 'system' | 'blob',
    name: string,
    args: Parameters<Transaction['moveCall']>[0]['arguments'],
  ) {
    return this.tx.moveCall({
      target: `${this.#refs.packageId}::${module}::${name}`,
      ...(args === undefined ? {} : { arguments: args }),
    });
  }

  attribute(blob: TransactionObjectArgument, key: string, value: string): void {
    const { pure } = this.tx;
    this.call('blob', 'insert_or_update_metadata_pair', [
      blob,
      pure.string(key),
      pure.string(value),
    ]);
  }

  /** Splits `amount` off the coins, lets `spend` use it, and puts the remainder back. */
  paying(
    coins: readonly ObjectRef[],
    amount: Frost,
    spend: (payment: TransactionObjectArgument) => void,
  ): void {
    const [first, ...rest] = coins.map(coin => this.owned(coin));
    if (rest.length > 0) this.tx.mergeCoins(first!, rest);
    const [payment] = this.tx.splitCoins(first!, [this.tx.pure.u64(amount)]);
    spend(payment!);
    this.tx.mergeCoins(first!, [payment!]);
  }
}

/** Reserve storage, register the blob, set its attributes, hand the Blob object to the owner; a relay's tip goes first. */
export const registerTx = (
  refs: SystemRefs,
  owner: SuiId,
  request: RegisterRequest,
  encodedBytes: number,
  coins: readonly ObjectRef[],
  amount: Frost,
  tip?: TipPayment,
): Transaction => {
  const recipe = new Recipe(refs);
  const { pure } = recipe.tx;
  if (tip !== undefined) {
    // The relay looks for it in the first input; no command uses it.
    pure(new Uint8Array(tip.binding));
    const [coin] = recipe.tx.splitCoins(recipe.tx.gas, [pure.u64(tip.amount)]);
    recipe.tx.transferObjects([coin!], pure.address(tip.address));
  }
  recipe.paying(coins, amount, payment => {
    const system = recipe.system(true);
    const storage = recipe.call('system', 'reserve_space', [
      system,
      pure.u64(encodedBytes),
      pure.u32(request.epochsAhead),
      payment,
    ]);
    const blob = recipe.call('system', 'register_blob', [
      system,
      storage,
      pure(u256(blobIdToBytes(request.blobId))),
      pure(u256(request.rootHash)),
      pure.u64(request.size),
      pure.u8(ENCODING_RS2),
      pure.bool(request.deletable),
      payment,
    ]);
    for (const [key, value] of Object.entries(request.attributes)) {
      recipe.attribute(blob, key, value);
    }
    recipe.tx.transferObjects([blob], pure.address(owner));
  });
  return recipe.tx;
};

/** Certify; with `head`, the head's mark moves from the previous Blob object to this one. */
export const certifyTx = (
  refs: SystemRefs,
  request: CertifyRequest,
  blobRef: ObjectRef,
  previousRef: ObjectRef | undefined,
): Transaction => {
  const recipe = new Recipe(refs);
  const { pure } = recipe.tx;
  const blob = recipe.owned(blobRef);
  const { certificate, head } = request;
  recipe.call('system', 'certify_blob', [
    recipe.system(false),
    blob,
    pure(byteVector(certificate.signature)),
    pure(byteVector(certificate.signersBitmap)),
    pure(byteVector(certificate.message)),
  ]);
  if (head !== undefined) {
    if (previousRef !== undefined) {
      const previous = recipe.owned(previousRef);
      recipe.call('blob', REMOVE_HEAD, [previous, pure.string(head.key)]);
    }
    recipe.attribute(blob, head.key, head.value);
  }
  return recipe.tx;
};

/** The call that only a writer who saw the last head survives. */
export const REMOVE_HEAD = 'remove_metadata_pair';

/** Delete a blob; its storage resource goes to the owner. */
export const deleteTx = (refs: SystemRefs, owner: SuiId, blobRef: ObjectRef): Transaction => {
  const recipe = new Recipe(refs);
  const storage = recipe.call('system', 'delete_blob', [
    recipe.system(false),
    recipe.owned(blobRef),
  ]);
  recipe.tx.transferObjects([storage], recipe.tx.pure.address(owner));
  return recipe.tx;
};

/** Pay for more epochs of certified blobs, out of one coin. */
export const extendTx = (
  refs: SystemRefs,
  extensions: readonly { readonly blob: ObjectRef; readonly epochs: number }[],
  coins: readonly ObjectRef[],
  amount: Frost,
): Transaction => {
  const recipe = new Recipe(refs);
  recipe.paying(coins, amount, payment => {
    const system = recipe.system(true);
    for (const { blob, epochs } of extensions)
      recipe.call('system', 'extend_blob', [
        system,
        recipe.owned(blob),
        recipe.tx.pure.u32(epochs),
        payment,
      ]);
  });
  return recipe.tx;
};
