/**
 * The recovery key as people write it down: 32 random bytes and 3 of checksum in Crockford's
 * base32, 14 groups of 4. Reading forgives case, spaces and dashes, O for 0, I and L for 1.
 */
import { createHash } from 'node:crypto';
import { TuskError } from '../base/errors.ts';
import { KEY_BYTES } from './keys.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CHECK_BYTES = 3;
const CHARS = ((KEY_BYTES + CHECK_BYTES) * 8) / 5;

const checksum = (key: Uint8Array): Buffer =>
  createHash('sha256')
    .update('tuskfs 1 recovery key')
    .update(key)
    .digest()
    .subarray(0, CHECK_BYTES);

/** Text of a recovery key of 32 bytes. */
export const formatRecoveryKey = (key: Buffer): string => {
  let bits = BigInt(`0x${Buffer.concat([key, checksum(key)]).toString('hex')}`);
  let text = '';
  for (let i = 0; i < CHARS; i++) {
    text = ALPHABET[Number(bits & 31n)]! + text;
    bits >>= 5n;
  }
  return text.match(/.{4}/g)!.join('-');
};

/** The 32 bytes; `wrong_key` says whether length, a letter or the checksum is wrong. */
export const parseRecoveryKey = (text: string): Buffer => {
  const wrong = (why: string) =>
    new TuskError(
      'wrong_key',
      `this is no recovery key: ${why}. Compare it with what was written down`,
    );
  const plain = text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
  if (plain.length !== CHARS) throw wrong(`it has ${plain.length} characters, not ${CHARS}`);
  let bits = 0n;
  for (const char of plain) {
    const value = ALPHABET.indexOf(char);
    if (value < 0) throw wrong(`“${char}” does not occur in one`);
    bits = (bits << 5n) | BigInt(value);
  }
  const bytes = Buffer.from(bits.toString(16).padStart((KEY_BYTES + CHECK_BYTES) * 2, '0'), 'hex');
  const key = bytes.subarray(0, KEY_BYTES);
  if (!checksum(key).equals(bytes.subarray(KEY_BYTES))) throw wrong('its checksum does not match');
  return Buffer.from(key);
};
