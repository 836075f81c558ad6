/** Slivers where a node of localnet keeps them, for tests that look at them or damage them. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../src/base/errors.ts';
import { type Place, recordsOf } from '../../src/localnet/node/sliver-file.ts';

const pathOf = (nodeDirectory: string, blobId: string): string =>
  join(nodeDirectory, 'blobs', blobId, 'slivers');

/** Slivers that the node keeps of a blob, by `<pair>.<type>`. */
export const keptSlivers = (nodeDirectory: string, blobId: string): Map<string, Buffer> => {
  try {
    const path = pathOf(nodeDirectory, blobId);
    const { places } = recordsOf(path);
    const all = readFileSync(path);
    const cut = ({ at, bytes }: Place) => all.subarray(at, at + bytes);
    return new Map([...places].map(([name, place]) => [name, cut(place)]));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Map();
    throw error;
  }
};

/** Writes other bytes in place of a sliver's, as many. */
export const overwriteSliver = (
  nodeDirectory: string,
  blobId: string,
  name: string,
  bytes: Buffer,
): void => {
  const path = pathOf(nodeDirectory, blobId);
  const place = recordsOf(path).places.get(name)!;
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, place.bytes, place.at);
  closeSync(fd);
};
