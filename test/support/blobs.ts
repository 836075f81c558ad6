/** Blobs for tests of the network: bytes, their encoding on disk, and the whole way to certified. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blobIdFromBytes, type SuiId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/random.ts';
import { native } from '../../src/native.ts';
import type { CertifyRequest, EncodedFile, Network } from '../../src/walrus/network.ts';

/** `size` bytes that differ by seed. */
export const bytesOf = (seed: number, size: number): Buffer => {
  const out = Buffer.alloc(size);
  const block = seededRandom(seed).bytes(4096);
  for (let at = 0; at < size; at += 4096) {
    block.writeUInt32LE(at, 0);
    block.copy(out, at, 0, Math.min(4096, size - at));
  }
  return out;
};

/** Encodes bytes into files of `directory`. */
export const encode = async (
  directory: string,
  bytes: Buffer,
  nShards = 100,
): Promise<EncodedFile> => {
  const name = `${process.hrtime.bigint()}`;
  const path = join(directory, `${name}.blob`);
  const sliversPath = join(directory, `${name}.slivers`);
  writeFileSync(path, bytes);
  const blob = await native.encodeFile(path, nShards, sliversPath);
  const { rootHash, size, metadata } = blob;
  return { blobId: blobIdFromBytes(blob.blobId), rootHash, size, nShards, metadata, sliversPath };
};

/** What a registration asks for, with room for any price. */
export const registerRequest = (file: EncodedFile, attributes: Record<string, string> = {}) => ({
  blobId: file.blobId,
  rootHash: file.rootHash,
  size: file.size,
  epochsAhead: 2,
  deletable: true,
  attributes,
  walMax: 10n ** 15n,
});

/** Registers a blob and answers its Blob object. */
export const register = async (
  network: Network,
  file: EncodedFile,
  attributes?: Record<string, string>,
): Promise<SuiId> => {
  const tx = await network.signRegister(registerRequest(file, attributes));
  const result = await network.submit(tx);
  if (!result.ok || result.blobObjectId === undefined) throw new Error(result.error);
  return result.blobObjectId;
};

/** Registers, stores and certifies; resolves when the tail has ended. */
export const publish = async (
  network: Network,
  file: EncodedFile,
  head?: NonNullable<CertifyRequest['head']>,
) => {
  const objectId = await register(network, file);
  const signal = AbortSignal.timeout(60_000);
  const run = network.store(file, { objectId, deletable: true }, { signal, tailMs: 30_000 });
  const certificate = await run.certificate;
  const tx = await network.signCertify({
    blobObjectId: objectId,
    certificate,
    ...(head && { head }),
  });
  const certified = await network.submit(tx);
  if (!certified.ok) throw new Error(certified.error);
  return { objectId, certificate, certified, tail: await run.tail() };
};
