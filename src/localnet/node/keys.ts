/**
 * Keys of one storage node, made at its first start and kept in its directory: `bls.seed` (hex, 32
 * bytes) signs confirmations; with TLS `tls.key.pem` and `tls.cert.pem` are who it is on the network.
 */
import { createHash, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../../base/files.ts';
import type { SuiId } from '../../base/ids.ts';
import { systemRandom } from '../../base/random.ts';
import { native } from '../../native.ts';
import { compressedPoint, selfSigned } from './certificate.ts';

/** All keys of a node. */
export interface NodeKeys {
  readonly nodeId: SuiId;
  readonly blsSecret: Buffer;
  /** 48 bytes compressed. */
  readonly blsPublic48: Buffer;
  /** 96 bytes uncompressed, as the ledger has it. */
  readonly blsPublic96: Buffer;
  readonly tls?: {
    readonly key: string;
    readonly cert: string;
    /** 33 bytes. */
    readonly publicKey: Buffer;
  };
}

const readOrMake = (path: string, make: () => string): string => {
  if (!existsSync(path)) replaceFile(path, make());
  return readFileSync(path, 'utf8');
};

const tlsKeys = (directory: string): NonNullable<NodeKeys['tls']> => {
  const key = readOrMake(join(directory, 'tls.key.pem'), () =>
    generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString(),
  );
  const privateKey = createPrivateKey(key);
  const cert = readOrMake(join(directory, 'tls.cert.pem'), () =>
    selfSigned(privateKey, systemRandom.bytes(16)),
  );
  return { key, cert, publicKey: compressedPoint(privateKey) };
};

/** The node's keys; made if the directory has none. */
export const nodeKeys = (directory: string, tls: boolean): NodeKeys => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const seed = readOrMake(join(directory, 'bls.seed'), () =>
    systemRandom.bytes(32).toString('hex'),
  );
  const { secret, public48, public96 } = native.blsKey(Buffer.from(seed, 'hex'));
  return {
    nodeId: `0x${createHash('sha256').update('tuskfs localnet node').update(public96).digest('hex')}`,
    blsSecret: secret,
    blsPublic48: public48,
    blsPublic96: public96,
    ...(tls ? { tls: tlsKeys(directory) } : {}),
  };
};
