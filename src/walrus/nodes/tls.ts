/**
 * Who a storage node is over https: the holder of the P-256 key in its pool's
 * `network_public_key`, whatever its certificate says. Certificates are self-signed, sessions are
 * never resumed, and the key is compared after the handshake, before any byte is sent.
 */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';
import { TuskError } from '../../base/errors.ts';
import type { StorageNode } from '../network.ts';

const COORDINATE_BYTES = 32;

/** Compressed form (33 bytes) of a P-256 key given as 33, 64 or 65 bytes; undefined if it is none. */
export const compressP256 = (key: Uint8Array): Buffer | undefined => {
  if (key.length === 33 && (key[0] === 2 || key[0] === 3)) return Buffer.from(key);
  const point = key.length === 65 && key[0] === 4 ? key.subarray(1) : key;
  if (point.length !== 2 * COORDINATE_BYTES) return undefined;
  const parity = 2 + (point[point.length - 1]! & 1);
  return Buffer.concat([Buffer.of(parity), point.subarray(0, COORDINATE_BYTES)]);
};

/** The P-256 key of a certificate, compressed; undefined if it carries another kind of key. */
export const certificateKey = (certificate: X509Certificate): Buffer | undefined => {
  const { kty, crv, x, y } = certificate.publicKey.export({ format: 'jwk' });
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined) return undefined;
  return compressP256(Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]));
};

const wrongKey = (node: StorageNode): TuskError =>
  new TuskError(
    'identity_mismatch',
    `storage node ${node.name} at ${node.address} does not hold the network key that the chain names for it; nothing was sent to it`,
    { details: { node: node.name } },
  );

/** A connector for undici that lets only the holder of the node's key through. */
export const pinnedConnector = (node: StorageNode, timeoutMs: number): buildConnector.connector => {
  const connect = buildConnector({
    rejectUnauthorized: false,
    maxCachedSessions: 0,
    timeout: timeoutMs,
  });
  const wanted = compressP256(node.networkPublicKey);
  return (options, callback) =>
    connect(options, (error, socket) => {
      if (error !== null) return callback(error, null);
      const certificate = (socket as TLSSocket).getPeerX509Certificate?.();
      const key = certificate === undefined ? undefined : certificateKey(certificate);
      if (wanted !== undefined && key?.equals(wanted) === true) {
        return callback(null, socket);
      }
      socket.destroy();
      callback(wrongKey(node), null);
    });
};
