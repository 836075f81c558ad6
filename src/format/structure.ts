/**
 * What all structures have in common: eight bytes of magic, a version, and readers that turn
 * whatever is wrong with foreign bytes into one `TuskError`.
 */
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { TuskError } from '../base/errors.ts';

/** `damaged` with the structure's name and what is wrong. */
export const damaged = (what: string, why: string, cause?: unknown): TuskError =>
  new TuskError('damaged', `${what} is damaged: ${why}`, { cause });

/** Runs a decoder over foreign bytes; a read beyond their end becomes `damaged`. */
export const decoding = <T>(what: string, decode: () => T): T => {
  try {
    return decode();
  } catch (error) {
    if (error instanceof RangeError) throw damaged(what, error.message, error);
    throw error;
  }
};

/** Starts a structure: 8 bytes of magic, version as u16. */
export const begin = (magic: string, version: number, capacity: number): ByteWriter =>
  new ByteWriter(capacity).raw(Buffer.from(magic, 'latin1')).u16(version);

/** Checks magic and version; `damaged` for other bytes, `newer_format` for a later version. */
export const expect = (reader: ByteReader, what: string, magic: string, newest: number): number => {
  if (reader.raw(8).toString('latin1') !== magic)
    throw damaged(what, 'its first bytes are not ours');
  const version = reader.u16();
  if (version === 0) throw damaged(what, 'version 0');
  if (version > newest)
    throw new TuskError(
      'newer_format',
      `${what} has format version ${version}; this tuskfs reads up to ${newest}. Nothing was changed; use a newer tuskfs`,
      { details: { version, newest } },
    );
  return version;
};

/** Fails as `damaged` unless `holds`. */
export const check = (holds: boolean, what: string, why: string): void => {
  if (!holds) throw damaged(what, why);
};
