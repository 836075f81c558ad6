/** Contract `walrus::system`: storage, registration, certification, extension, deletion. */
import { blobIdFromBytes } from '../../../base/ids.ts';
import { abort } from '../errors.ts';
import {
  type BlobData,
  type CoinData,
  type StorageData,
  type SystemState,
  u256,
  type VersionedData,
} from '../layouts.ts';
import { payStorage, payWrite, useCapacity } from './accounting.ts';
import { certifiedBlob } from './certificate.ts';
import type { MoveContext, MoveValue, Network } from './context.ts';
import { deriveBlobId, encodedLength, fitsSymbol, RS2 } from './encoding.ts';
import { declarer, type MoveFunction } from './function.ts';
import { fusePeriods } from './storage.ts';

const INNER = 'system_state_inner';

/** What the storage nodes learn of a blob. */
export const blobFacts = (state: SystemState, blob: BlobData) => ({
  blobId: blobIdFromBytes(u256.serialize(blob.blob_id).toBytes()),
  objectId: blob.id,
  size: Number(blob.size),
  deletable: blob.deletable,
  endEpoch: blob.storage.end_epoch,
  epoch: state.committee.epoch,
});

/** Functions of module `system`, called through the current package. */
export const systemFunctions = (network: Network): Record<string, MoveFunction> => {
  const { ids, names } = network;
  const declare = declarer(names);
  const fail = (module: string, fn: string, code: number, name: string) =>
    abort(ids.currentPackage, module, fn, code, name);

  const reserve = (
    context: MoveContext,
    amount: bigint,
    start: number,
    end: number,
    payment: CoinData,
    fn: string,
  ): MoveValue => {
    const state = context.systemState();
    const { epoch } = state.committee;
    const from = Math.max(start, epoch) - epoch;
    const to = end - epoch;
    if (to <= from || to > state.future_accounting.length)
      throw fail(INNER, fn, 2, 'EInvalidEpochsAhead');
    payStorage(state, amount, from, to, payment);
    if (amount === 0n)
      throw fail(INNER, 'reserve_space_without_payment', 11, 'EInvalidResourceSize');
    if (!useCapacity(state, amount, from, to))
      throw fail(INNER, 'reserve_space_without_payment', 1, 'EStorageExceeded');
    return context.emerge<StorageData>(names.storage, {
      id: context.freshId(),
      start_epoch: epoch + from,
      end_epoch: end,
      storage_size: amount,
    });
  };

  const register = (
    context: MoveContext,
    _system: VersionedData,
    storage: StorageData,
    blobId: bigint,
    rootHash: bigint,
    size: bigint,
    encodingType: number,
    deletable: boolean,
    payment: CoinData,
  ): MoveValue => {
    const state = context.systemState();
    const { epoch, n_shards } = state.committee;
    if (epoch < storage.start_epoch || epoch >= storage.end_epoch)
      throw fail('blob', 'new', 2, 'EResourceBounds');
    if (encodingType !== RS2)
      throw fail('encoding', 'encoded_blob_length', 0, 'EInvalidEncodingType');
    if (!fitsSymbol(size, n_shards)) throw fail('redstuff', 'symbol_size', 0, 'cast to u16');
    const encoded = encodedLength(size, n_shards);
    if (encoded > storage.storage_size) throw fail('blob', 'new', 3, 'EResourceSize');
    if (deriveBlobId(rootHash, encodingType, size) !== blobId)
      throw fail('blob', 'new', 6, 'EInvalidBlobId');
    payWrite(state, encoded, payment);
    const blob: BlobData = {
      id: context.freshId(),
      registered_epoch: epoch,
      blob_id: blobId,
      size,
      encoding_type: encodingType,
      certified_epoch: null,
      storage,
      deletable,
    };
    context.wrap(storage.id);
    context.events.push({ kind: 'registered', ...blobFacts(state, blob) });
    return context.emerge(names.blob, blob);
  };

  const certify = (
    context: MoveContext,
    _system: VersionedData,
    blob: BlobData,
    signature: Uint8Array,
    bitmap: Uint8Array,
    message: Uint8Array,
  ): undefined => {
    const state = context.systemState();
    const { epoch } = state.committee;
    const certified = certifiedBlob(state.committee, signature, bitmap, message, fail);
    const refuse = (code: number, name: string) =>
      fail('blob', 'certify_with_certified_msg', code, name);
    if (certified.blobId !== blob.blob_id) throw refuse(6, 'EInvalidBlobId');
    if (blob.certified_epoch !== null) throw refuse(5, 'EAlreadyCertified');
    if (epoch >= blob.storage.end_epoch) throw refuse(2, 'EResourceBounds');
    if (blob.deletable !== (certified.objectId !== undefined))
      throw refuse(9, 'EInvalidBlobPersistenceType');
    if (blob.deletable && certified.objectId !== blob.id) throw refuse(10, 'EInvalidBlobObject');
    blob.certified_epoch = epoch;
    context.events.push({ kind: 'certified', ...blobFacts(state, blob) });
  };

  const assertAlive = (state: SystemState, blob: BlobData): void => {
    const refuse = (code: number, name: string) =>
      fail('blob', 'assert_certified_not_expired', code, name);
    if (blob.certified_epoch === null) throw refuse(0, 'ENotCertified');
    if (state.committee.epoch >= blob.storage.end_epoch) throw refuse(2, 'EResourceBounds');
  };

  const extend = (
    context: MoveContext,
    _system: VersionedData,
    blob: BlobData,
    epochs: number,
    payment: CoinData,
  ): undefined => {
    const state = context.systemState();
    assertAlive(state, blob);
    const { storage } = blob;
    const from = storage.end_epoch - state.committee.epoch;
    const to = from + epochs;
    if (epochs === 0 || to > state.future_accounting.length)
      throw fail(INNER, 'extend_blob', 2, 'EInvalidEpochsAhead');
    payStorage(state, storage.storage_size, from, to, payment);
    if (!useCapacity(state, storage.storage_size, from, to))
      throw fail(INNER, 'extend_blob', 1, 'EStorageExceeded');
    storage.end_epoch += epochs;
    context.events.push({ kind: 'extended', ...blobFacts(state, blob) });
  };

  const extendWith = (
    context: MoveContext,
    _system: VersionedData,
    blob: BlobData,
    extension: StorageData,
  ): undefined => {
    const state = context.systemState();
    assertAlive(state, blob);
    if (extension.end_epoch <= blob.storage.end_epoch)
      throw fail('blob', 'extend_with_resource', 2, 'EResourceBounds');
    fusePeriods(context, ids.currentPackage, blob.storage, extension);
    context.events.push({ kind: 'extended', ...blobFacts(state, blob) });
  };

  const remove = (context: MoveContext, _system: VersionedData, blob: BlobData): MoveValue => {
    const state = context.systemState();
    context.setMetadata(blob.id, undefined);
    if (!blob.deletable) throw fail('blob', 'delete', 1, 'EBlobNotDeletable');
    if (blob.storage.end_epoch <= state.committee.epoch)
      throw fail('blob', 'delete', 2, 'EResourceBounds');
    const { blobId, objectId, epoch } = blobFacts(state, blob);
    context.events.push({ kind: 'deleted', blobId, objectId, epoch });
    context.destroy(blob.id);
    return context.emerge(names.storage, blob.storage);
  };

  return {
    'system::reserve_space': declare(
      '&mut System, u64, u32, &mut Coin<WAL>',
      'Storage',
      (context, _system: VersionedData, amount: bigint, epochs: number, payment: CoinData) => {
        const { epoch } = context.systemState().committee;
        return reserve(context, amount, epoch, epoch + epochs, payment, 'reserve_space');
      },
    ),
    'system::reserve_space_for_epochs': declare(
      '&mut System, u64, u32, u32, &mut Coin<WAL>',
      'Storage',
      (context, _s: VersionedData, amount: bigint, from: number, to: number, payment: CoinData) =>
        reserve(context, amount, from, to, payment, 'reserve_space_for_epochs'),
    ),
    'system::register_blob': declare(
      '&mut System, Storage, u256, u256, u64, u8, bool, &mut Coin<WAL>',
      'Blob',
      register,
      300,
    ),
    'system::certify_blob': declare(
      '&System, &mut Blob, vector<u8>, vector<u8>, vector<u8>',
      '',
      certify,
      2000,
    ),
    'system::extend_blob': declare('&mut System, &mut Blob, u32, &mut Coin<WAL>', '', extend, 300),
    'system::extend_blob_with_resource': declare('&System, &mut Blob, Storage', '', extendWith),
    'system::delete_blob': declare('&System, Blob', 'Storage', remove),
  };
};
