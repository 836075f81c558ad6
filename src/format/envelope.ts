/**
 * The envelope: the volume key wrapped twice, once under passphrase and wallet together, once
 * under the recovery key. It is public (every checkpoint carries it); guessing the passphrase
 * needs the wallet's secret too. Layout: FORMAT.md, section Envelope.
 */
import { argon2, createCipheriv, createDecipheriv, createHash, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { TuskError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { derive, ID_BYTES, KEY_BYTES } from './keys.ts';
import { begin, check, damaged, decoding, expect } from './structure.ts';

const MAGIC = 'tuskfsEV';
const VERSION = 1;
const WHAT = 'the envelope of the volume';
const CHECK_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Bytes of an envelope of version 1. */
export const ENVELOPE_BYTES = 296;

/** Parameters of Argon2id. */
export interface Argon {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

/** What new envelopes use. */
export const ARGON_DEFAULT: Argon = { memoryKiB: 256 * 1024, passes: 4, lanes: 4 };
/** The least that readers accept. */
export const ARGON_FLOOR: Argon = { memoryKiB: 64 * 1024, passes: 1, lanes: 1 };
const ARGON_CEILING: Argon = { memoryKiB: 4 * 1024 * 1024, passes: 64, lanes: 64 };

/** Passphrase and wallet secret (32 bytes, of `walletSecretOf`). */
export interface PassphraseUnlock {
  readonly passphrase: string;
  readonly walletSecret: Buffer;
}
/** Either way into an envelope. */
export type Unlock = PassphraseUnlock | { readonly recoveryKey: Buffer };

/** What an envelope holds. */
export interface OpenedEnvelope {
  readonly volumeId: Buffer;
  readonly volumeKey: Buffer;
}

interface Wrap {
  readonly salt: Buffer;
  readonly check: Buffer;
  readonly nonce: Buffer;
  readonly sealed: Buffer;
}

interface Parsed {
  readonly volumeId: Buffer;
  readonly argon: Argon;
  readonly passphrase: Wrap;
  readonly recovery: Wrap;
  /** Does the checksum over everything hold? */
  readonly intact: boolean;
}

/** What the wallet signs (as a personal message, deterministically) so that its secret follows. */
export const walletSecretMessage = (volumeId: Buffer): Buffer =>
  Buffer.from(
    `tuskfs 1 wallet secret\nWhoever has this signature and the passphrase can open volume ${volumeId.toString('hex')}.\nSign it for tuskfs only.`,
    'utf8',
  );

/** The wallet secret from the signature over `walletSecretMessage`. */
export const walletSecretOf = (signature: Uint8Array, volumeId: Buffer): Buffer =>
  derive(signature, volumeId, 'tuskfs 1 wallet secret');

const checkArgon = (argon: Argon): void => {
  for (const name of ['memoryKiB', 'passes', 'lanes'] as const)
    check(
      argon[name] >= ARGON_FLOOR[name] && argon[name] <= ARGON_CEILING[name],
      WHAT,
      `Argon2 parameter ${name} = ${argon[name]} is outside ${ARGON_FLOOR[name]}…${ARGON_CEILING[name]}`,
    );
};

const passphraseKey = async (
  unlock: PassphraseUnlock,
  volumeId: Buffer,
  salt: Buffer,
  argon: Argon,
): Promise<Buffer> => {
  const stretched = await promisify(argon2)('argon2id', {
    message: Buffer.from(unlock.passphrase.normalize('NFKC'), 'utf8'),
    nonce: salt,
    parallelism: argon.lanes,
    tagLength: KEY_BYTES,
    memory: argon.memoryKiB,
    passes: argon.passes,
  });
  return derive(
    Buffer.concat([stretched, unlock.walletSecret]),
    volumeId,
    'tuskfs 1 passphrase wrap',
  );
};

const recoveryWrapKey = (recoveryKey: Buffer, volumeId: Buffer, salt: Buffer): Buffer =>
  derive(Buffer.concat([recoveryKey, salt]), volumeId, 'tuskfs 1 recovery wrap');

const keyCheck = (key: Buffer, volumeId: Buffer): Buffer =>
  derive(key, volumeId, 'tuskfs 1 key check').subarray(0, CHECK_BYTES);

const cipherKey = (key: Buffer, volumeId: Buffer): Buffer =>
  derive(key, volumeId, 'tuskfs 1 key wrap');

const wrapAad = (volumeId: Buffer): Buffer =>
  Buffer.concat([Buffer.from('tuskfs 1 wrap', 'latin1'), volumeId]);

const wrap = (
  key: Buffer,
  salt: Buffer,
  volumeId: Buffer,
  volumeKey: Buffer,
  random: Random,
): Wrap => {
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', cipherKey(key, volumeId), nonce);
  cipher.setAAD(wrapAad(volumeId));
  const sealed = Buffer.concat([cipher.update(volumeKey), cipher.final(), cipher.getAuthTag()]);
  return { salt, check: keyCheck(key, volumeId), nonce, sealed };
};

const unwrap = (key: Buffer, from: Wrap, envelope: Parsed, refusal: () => TuskError): Buffer => {
  if (!timingSafeEqual(keyCheck(key, envelope.volumeId), from.check))
    throw envelope.intact ? refusal() : damaged(WHAT, 'its checksum does not match');
  try {
    const decipher = createDecipheriv(
      'aes-256-gcm',
      cipherKey(key, envelope.volumeId),
      from.nonce,
      { authTagLength: TAG_BYTES },
    );
    decipher.setAAD(wrapAad(envelope.volumeId));
    decipher.setAuthTag(from.sealed.subarray(KEY_BYTES));
    return Buffer.concat([decipher.update(from.sealed.subarray(0, KEY_BYTES)), decipher.final()]);
  } catch (cause) {
    throw damaged(WHAT, 'the key check holds but the wrapped key does not open', cause);
  }
};

const putWrap = (writer: ByteWriter, from: Wrap): void => {
  writer.raw(from.salt).raw(from.check).raw(from.nonce).raw(from.sealed);
};

const takeWrap = (reader: ByteReader): Wrap => ({
  salt: reader.raw(KEY_BYTES),
  check: reader.raw(CHECK_BYTES),
  nonce: reader.raw(NONCE_BYTES),
  sealed: reader.raw(KEY_BYTES + TAG_BYTES),
});

const encode = (envelope: Omit<Parsed, 'intact'>): Buffer => {
  const writer = begin(MAGIC, VERSION, ENVELOPE_BYTES).u16(0).u32(ENVELOPE_BYTES);
  writer.raw(envelope.volumeId);
  writer.u32(envelope.argon.memoryKiB).u32(envelope.argon.passes).u32(envelope.argon.lanes).u32(0);
  putWrap(writer, envelope.passphrase);
  putWrap(writer, envelope.recovery);
  writer.raw(createHash('sha256').update(writer.done()).digest());
  return writer.copy();
};

const decode = (bytes: Buffer): Parsed =>
  decoding(WHAT, () => {
    const reader = new ByteReader(bytes);
    expect(reader, WHAT, MAGIC, VERSION);
    check(reader.u16() === 0, WHAT, 'unknown flags');
    check(reader.u32() === ENVELOPE_BYTES && bytes.length >= ENVELOPE_BYTES, WHAT, 'wrong length');
    const volumeId = Buffer.from(reader.raw(ID_BYTES));
    const argon = { memoryKiB: reader.u32(), passes: reader.u32(), lanes: reader.u32() };
    check(reader.u32() === 0, WHAT, 'unknown flags');
    const [passphrase, recovery] = [takeWrap(reader), takeWrap(reader)];
    const digest = createHash('sha256').update(bytes.subarray(0, reader.at)).digest();
    const intact = digest.equals(reader.raw(digest.length));
    return { volumeId, argon, passphrase, recovery, intact };
  });

/** A new envelope. Takes as long as Argon2 does (about a second), off the event loop. */
export const createEnvelope = async (parts: {
  volumeId: Buffer;
  volumeKey: Buffer;
  passphrase: string;
  walletSecret: Buffer;
  /** 32 random bytes; show them to the owner by `formatRecoveryKey`. */
  recoveryKey: Buffer;
  argon: Argon;
  random: Random;
}): Promise<Buffer> => {
  const { volumeId, volumeKey, argon, random } = parts;
  checkArgon(argon);
  const [saltA, saltB] = [random.bytes(KEY_BYTES), random.bytes(KEY_BYTES)];
  const keyA = await passphraseKey(parts, volumeId, saltA, argon);
  const keyB = recoveryWrapKey(parts.recoveryKey, volumeId, saltB);
  return encode({
    volumeId,
    argon,
    passphrase: wrap(keyA, saltA, volumeId, volumeKey, random),
    recovery: wrap(keyB, saltB, volumeId, volumeKey, random),
  });
};

/** The volume id that an envelope names in plain: needed to ask the wallet for its secret. */
export const envelopeVolumeId = (bytes: Buffer): Buffer => decode(bytes).volumeId;

/** Opens an envelope: `wrong_passphrase`, `wrong_key`, `damaged` or `newer_format` if that fails. */
export const openEnvelope = async (bytes: Buffer, unlock: Unlock): Promise<OpenedEnvelope> => {
  const envelope = decode(bytes);
  const { volumeId, argon, recovery, passphrase } = envelope;
  if ('recoveryKey' in unlock) {
    const key = recoveryWrapKey(unlock.recoveryKey, volumeId, recovery.salt);
    const refusal = () =>
      new TuskError(
        'wrong_key',
        'this recovery key belongs to another volume; nothing was changed',
      );
    return { volumeId, volumeKey: unwrap(key, recovery, envelope, refusal) };
  }
  checkArgon(argon);
  const key = await passphraseKey(unlock, volumeId, passphrase.salt, argon);
  const refusal = () =>
    new TuskError(
      'wrong_passphrase',
      'the passphrase is wrong, or the wallet is not the one that created the volume; nothing was changed',
    );
  return { volumeId, volumeKey: unwrap(key, passphrase, envelope, refusal) };
};

/** The same volume under a new passphrase; the recovery key stays. Does not revoke copies of the old envelope. */
export const rewrapEnvelope = async (
  bytes: Buffer,
  opened: OpenedEnvelope,
  to: PassphraseUnlock & { argon: Argon; random: Random },
): Promise<Buffer> => {
  const { recovery, volumeId } = decode(bytes);
  checkArgon(to.argon);
  const salt = to.random.bytes(KEY_BYTES);
  const key = await passphraseKey(to, volumeId, salt, to.argon);
  const passphrase = wrap(key, salt, volumeId, opened.volumeKey, to.random);
  return encode({ volumeId, argon: to.argon, passphrase, recovery });
};
