/** Contracts `walrus::blob` and `walrus::metadata`: burning a blob, and its attributes. */
import { abort } from '../errors.ts';
import type { BlobData, MetadataData } from '../layouts.ts';
import { STRING } from '../types.ts';
import { FRAMEWORK } from './coin.ts';
import type { MoveContext, Network } from './context.ts';
import { declarer, type MoveFunction } from './function.ts';

const emptyMetadata = (): MetadataData => ({ metadata: { contents: [] } });

const put = (metadata: MetadataData, key: string, value: string): void => {
  const { contents } = metadata.metadata;
  const at = contents.findIndex(entry => entry.key === key);
  // As the contract does: an updated pair moves to the end.
  if (at >= 0) contents.splice(at, 1);
  contents.push({ key, value });
};

const take = (metadata: MetadataData, key: string): string | undefined => {
  const { contents } = metadata.metadata;
  const at = contents.findIndex(entry => entry.key === key);
  return at < 0 ? undefined : contents.splice(at, 1)[0]!.value;
};

const takeOrAbort = (metadata: MetadataData, key: string): string => {
  const value = take(metadata, key);
  if (value === undefined) throw abort(FRAMEWORK, 'vec_map', 'get_idx', 1, 'EKeyDoesNotExist');
  return value;
};

const string = (data: string) => ({ type: STRING, data });

/** Functions of module `metadata`. */
export const metadataFunctions = ({ names }: Network): Record<string, MoveFunction> => {
  const declare = declarer(names);
  return {
    'metadata::new': declare('', 'Metadata', () => ({
      type: names.metadata,
      data: emptyMetadata(),
    })),
    'metadata::insert_or_update': declare(
      '&mut Metadata, String, String',
      '',
      (_context, metadata: MetadataData, key: string, value: string) => {
        put(metadata, key, value);
        return undefined;
      },
    ),
    'metadata::remove': declare(
      '&mut Metadata, &String',
      'String, String',
      (_context, metadata: MetadataData, key: string) => [
        string(key),
        string(takeOrAbort(metadata, key)),
      ],
    ),
    'metadata::remove_if_exists': declare(
      '&mut Metadata, &String',
      'Option<String>',
      (_context, metadata: MetadataData, key: string) => ({
        type: names.optionString,
        data: take(metadata, key),
      }),
    ),
  };
};

/** Functions of module `blob`. */
export const blobFunctions = ({ ids, names }: Network): Record<string, MoveFunction> => {
  const declare = declarer(names);
  const fail = (fn: string, code: number, name: string) =>
    abort(ids.currentPackage, 'blob', fn, code, name);
  const existing = (context: MoveContext, blob: BlobData, fn: string): MetadataData => {
    const metadata = context.metadata(blob.id);
    if (metadata === undefined) throw fail(fn, 8, 'EMissingMetadata');
    return metadata;
  };
  return {
    'blob::burn': declare('Blob', '', (context, blob: BlobData) => {
      context.setMetadata(blob.id, undefined);
      context.destroy(blob.id);
      context.destroyInside(names.storage, blob.storage);
      return undefined;
    }),
    'blob::add_metadata': declare(
      '&mut Blob, Metadata',
      '',
      (context, blob: BlobData, metadata: MetadataData) => {
        if (context.metadata(blob.id) !== undefined)
          throw fail('add_metadata', 7, 'EDuplicateMetadata');
        context.setMetadata(blob.id, metadata);
        return undefined;
      },
    ),
    'blob::add_or_replace_metadata': declare(
      '&mut Blob, Metadata',
      'Option<Metadata>',
      (context, blob: BlobData, metadata: MetadataData) => {
        const old = context.metadata(blob.id);
        context.setMetadata(blob.id, metadata);
        return { type: names.optionMetadata, data: old };
      },
    ),
    'blob::take_metadata': declare('&mut Blob', 'Metadata', (context, blob: BlobData) => {
      const data = existing(context, blob, 'take_metadata');
      context.setMetadata(blob.id, undefined);
      return { type: names.metadata, data };
    }),
    'blob::insert_or_update_metadata_pair': declare(
      '&mut Blob, String, String',
      '',
      (context, blob: BlobData, key: string, value: string) => {
        const metadata = context.metadata(blob.id) ?? emptyMetadata();
        put(metadata, key, value);
        context.setMetadata(blob.id, metadata);
        return undefined;
      },
    ),
    'blob::remove_metadata_pair': declare(
      '&mut Blob, &String',
      'String, String',
      (context, blob: BlobData, key: string) => [
        string(key),
        string(takeOrAbort(existing(context, blob, 'metadata'), key)),
      ],
    ),
    'blob::remove_metadata_pair_if_exists': declare(
      '&mut Blob, &String',
      'Option<String>',
      (context, blob: BlobData, key: string) => {
        const metadata = context.metadata(blob.id);
        return { type: names.optionString, data: metadata && take(metadata, key) };
      },
    ),
  };
};
