/** Contract `walrus::storage_resource`: splitting, joining and destroying storage. */
import { abort } from '../errors.ts';
import type { StorageData } from '../layouts.ts';
import type { MoveContext, Network } from './context.ts';
import { declarer, type MoveFunction } from './function.ts';

const refuse = (packageId: string, fn: string, code: number, name: string) =>
  abort(packageId, 'storage_resource', fn, code, name);

/** Joins storage of the same size that begins where `first` ends, or ends where it begins. */
export const fusePeriods = (
  context: MoveContext,
  packageId: string,
  first: StorageData,
  second: StorageData,
): undefined => {
  if (first.storage_size !== second.storage_size)
    throw refuse(packageId, 'fuse_periods', 2, 'EIncompatibleAmount');
  if (first.end_epoch === second.start_epoch) first.end_epoch = second.end_epoch;
  else if (first.start_epoch === second.end_epoch) first.start_epoch = second.start_epoch;
  else throw refuse(packageId, 'fuse_periods', 1, 'EIncompatibleEpochs');
  context.destroy(second.id);
};

/** Functions of module `storage_resource`. */
export const storageFunctions = ({ ids, names }: Network): Record<string, MoveFunction> => {
  const declare = declarer(names);
  const fail = (fn: string, code: number, name: string) =>
    refuse(ids.currentPackage, fn, code, name);
  const part = (context: MoveContext, data: Omit<StorageData, 'id'>) =>
    context.emerge<StorageData>(names.storage, { ...data, id: context.freshId() });
  const fuseAmount = (context: MoveContext, first: StorageData, second: StorageData): undefined => {
    if (first.start_epoch !== second.start_epoch || first.end_epoch !== second.end_epoch)
      throw fail('fuse_amount', 1, 'EIncompatibleEpochs');
    first.storage_size += second.storage_size;
    context.destroy(second.id);
  };
  const fusePeriod = (context: MoveContext, first: StorageData, second: StorageData): undefined =>
    fusePeriods(context, ids.currentPackage, first, second);
  return {
    'storage_resource::split_by_epoch': declare(
      '&mut Storage, u32',
      'Storage',
      (context, storage: StorageData, epoch: number) => {
        if (epoch <= storage.start_epoch || epoch >= storage.end_epoch)
          throw fail('split_by_epoch', 0, 'EInvalidEpoch');
        const rest = part(context, { ...storage, start_epoch: epoch });
        storage.end_epoch = epoch;
        return rest;
      },
    ),
    'storage_resource::split_by_size': declare(
      '&mut Storage, u64',
      'Storage',
      (context, storage: StorageData, size: bigint) => {
        if (storage.storage_size < size) throw fail('split_by_size', 2, 'EIncompatibleAmount');
        const rest = part(context, { ...storage, storage_size: storage.storage_size - size });
        storage.storage_size = size;
        return rest;
      },
    ),
    'storage_resource::fuse_periods': declare('&mut Storage, Storage', '', fusePeriod),
    'storage_resource::fuse_amount': declare('&mut Storage, Storage', '', fuseAmount),
    'storage_resource::fuse': declare(
      '&mut Storage, Storage',
      '',
      (context, first: StorageData, second: StorageData) =>
        first.start_epoch === second.start_epoch
          ? fuseAmount(context, first, second)
          : fusePeriod(context, first, second),
    ),
    'storage_resource::destroy': declare('Storage', '', (context, storage: StorageData) => {
      context.destroy(storage.id);
      return undefined;
    }),
  };
};
