/** `tuskfs blob-id FILE`: the official blob ID of a file's bytes, without storing anything. */
import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { messageOf, systemCode, TuskError } from '../base/errors.ts';
import { formatBytes } from '../base/figures.ts';
import { blobIdFromBytes } from '../base/ids.ts';
import { native } from '../native.ts';
import { print } from './command.ts';
import { wholeNumber } from './options.ts';

const sizeOf = (file: string): number => {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new TuskError('usage', `${file} is not a regular file`);
    return stat.size;
  } catch (cause) {
    if (cause instanceof TuskError) throw cause;
    const code = systemCode(cause) === 'ENOENT' ? 'not_found' : 'io';
    throw new TuskError(code, `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
};

/** Adds the command. */
export const registerBlobId = (program: Command): void => {
  program
    .command('blob-id')
    .argument('<file>', 'any file')
    .option('--shards <n>', 'shards of the network', wholeNumber(4, 1000), 1000)
    .option('--json', 'print JSON')
    .description("print a file's Walrus blob ID and encoded size")
    .action(async (file: string, options: { shards: number; json?: boolean }) => {
      const size = sizeOf(file);
      let encodedBytes: number;
      try {
        encodedBytes = native.blobShape(size, options.shards).encodedBytes;
      } catch (cause) {
        throw new TuskError(
          'usage',
          `${file} (${formatBytes(size)}) is too large for one blob at ${options.shards} shards: ${messageOf(cause)}`,
          { cause },
        );
      }
      const encoded = await native.fileMetadata(file, options.shards);
      const value = {
        blobId: blobIdFromBytes(encoded.blobId),
        size,
        encodedBytes,
        shards: options.shards,
      };
      print(options.json === true, value, () => `${value.blobId} ${encodedBytes}`);
    });
};
