/**
 * A self-signed X.509 certificate for a P-256 key, just as much of it as TLS needs (RFC 5280, DER):
 * version 3, one name, ECDSA with SHA-256, subject alternative names. Clients trust the key that
 * the ledger publishes, not the certificate's issuer.
 */
import { createPublicKey, type KeyObject, sign } from 'node:crypto';

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8 = 0x0c;
const GENERALIZED_TIME = 0x18;

const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));
const ECDSA_WITH_SHA256 = tlv(SEQUENCE, oid('2a8648ce3d040302'));
const COMMON_NAME = oid('550403');
const SUBJECT_ALT_NAME = oid('551d11');

/** The 33 bytes (SEC 1, compressed) of a P-256 key, as a storage pool publishes it. */
export const compressedPoint = (key: KeyObject): Buffer => {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const x = spki.subarray(-64, -32);
  return Buffer.concat([Buffer.from([2 + (spki.at(-1)! & 1)]), x]);
};

/** PEM certificate of `privateKey` for 127.0.0.1 and the server name that Walrus derives from the key. */
export const selfSigned = (privateKey: KeyObject, serial: Uint8Array): string => {
  const point = compressedPoint(privateKey);
  const host = `${point.subarray(0, 4).toString('hex')}.network.walrus.alt`;
  const name = tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, COMMON_NAME, tlv(UTF8, Buffer.from(host)))));
  const time = (text: string) => tlv(GENERALIZED_TIME, Buffer.from(text));
  const names = tlv(SEQUENCE, tlv(0x82, Buffer.from(host)), tlv(0x87, Buffer.from([127, 0, 0, 1])));
  const body = tlv(
    SEQUENCE,
    tlv(0xa0, tlv(INTEGER, Buffer.from([2]))),
    // A leading 1 keeps the serial number positive and without needless zeros.
    tlv(INTEGER, Buffer.from([1]), serial),
    ECDSA_WITH_SHA256,
    name,
    tlv(SEQUENCE, time('20200101000000Z'), time('99991231235959Z')),
    name,
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    tlv(0xa3, tlv(SEQUENCE, tlv(SEQUENCE, SUBJECT_ALT_NAME, tlv(OCTET_STRING, names)))),
  );
  const signature = sign('sha256', body, privateKey);
  const der = tlv(SEQUENCE, body, ECDSA_WITH_SHA256, tlv(BIT_STRING, Buffer.from([0]), signature));
  const lines = der.toString('base64').match(/.{1,64}/g)!;
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
};
