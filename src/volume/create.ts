/** A volume's birth: keys, wallet, envelope, state directory, settings entry. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemCode, TuskError } from '../base/errors.ts';
import { makeDirectory, replaceFile, syncDirectory } from '../base/files.ts';
import { type Random, systemRandom } from '../base/random.ts';
import { ARGON_DEFAULT, ARGON_FLOOR, type Argon, createEnvelope } from '../format/envelope.ts';
import { ID_BYTES, KEY_BYTES } from '../format/keys.ts';
import { formatRecoveryKey } from '../format/recovery.ts';
import { saveWallet, Wallet } from '../walrus/wallet.ts';
import { fund } from './faucet.ts';
import { walletSecret } from './open.ts';
import { configDirectory, stateDirectory, volumePaths } from './paths.ts';
import { addVolume, loadSettings, nameTaken, networkNamed } from './settings.ts';

/** What a person chooses for a new volume. */
export interface CreateOptions {
  readonly name: string;
  readonly network: string;
  readonly passphrase: string;
  /** Epochs that a flush pays ahead. */
  readonly epochsAhead: number;
  /** Most FROST that one pack may cost. */
  readonly walMaxPerPack: bigint;
  readonly cacheBytesMax: number;
}

/** What a person must know of a new volume. */
export interface CreatedVolume {
  readonly name: string;
  readonly network: string;
  readonly volumeId: string;
  readonly address: string;
  /** Opens the volume without wallet and passphrase; shown once. */
  readonly recoveryKey: string;
}

/** Names that are safe as file names everywhere. */
const checkName = (name: string): void => {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return;
  throw new TuskError(
    'usage',
    `${JSON.stringify(name)} cannot be the name of a volume: use 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first.`,
  );
};

/** Cost of the passphrase's stretching: `TUSKFS_ARGON_MIB` lowers it for tests, never below the floor of the format. */
const argonParameters = (): Argon => {
  const mebibytes = Number(process.env.TUSKFS_ARGON_MIB ?? 0);
  if (!(mebibytes > 0)) return ARGON_DEFAULT;
  return { ...ARGON_FLOOR, memoryKiB: Math.max(ARGON_FLOOR.memoryKiB, mebibytes * 1024) };
};

const leftOver = (name: string, path: string): TuskError =>
  new TuskError(
    'already_exists',
    `${path} of an earlier volume named ${name}, or of one that is just being made, is there. Nothing was changed; choose another name or move it away.`,
  );

/** Makes the state directory: of all who want the name at once, one can. */
const claim = (name: string, root: string): void => {
  makeDirectory(dirname(root));
  try {
    mkdirSync(root, { mode: 0o700 });
  } catch (error) {
    throw systemCode(error) === 'EEXIST' ? leftOver(name, root) : error;
  }
  syncDirectory(dirname(root));
};

/** A new wallet in its file: of all who want the name at once, one can. */
const newWallet = (name: string, path: string): Wallet => {
  makeDirectory(dirname(path));
  const wallet = Wallet.generate();
  try {
    saveWallet(path, wallet);
  } catch (error) {
    throw systemCode(error) === 'EEXIST' ? leftOver(name, path) : error;
  }
  return wallet;
};

/** Makes a volume on this machine: nothing is paid until its first flush. */
export const createVolume = async (
  options: CreateOptions,
  random: Random = systemRandom,
): Promise<CreatedVolume> => {
  const { name } = options;
  checkName(name);
  const settings = loadSettings();
  if (settings.volumes[name] !== undefined) throw nameTaken(name);
  const network = networkNamed(settings, options.network);
  const root = join(stateDirectory(), 'volumes', name);
  const walletFile = join(configDirectory(), 'wallets', `${name}.key`);
  if (existsSync(walletFile)) throw leftOver(name, walletFile);
  claim(name, root);
  let wallet: Wallet | undefined;
  try {
    wallet = newWallet(name, walletFile);
    await fund(options.network, network, wallet.address);
    const volumeId = random.bytes(ID_BYTES);
    const recoveryKey = random.bytes(KEY_BYTES);
    const envelope = await createEnvelope({
      volumeId,
      volumeKey: random.bytes(KEY_BYTES),
      passphrase: options.passphrase,
      walletSecret: await walletSecret(wallet, volumeId),
      recoveryKey,
      argon: argonParameters(),
      random,
    });
    replaceFile(volumePaths(root).envelope, envelope);
    await addVolume(name, {
      network: options.network,
      volumeId: volumeId.toString('hex'),
      stateDirectory: root,
      walletFile,
      address: wallet.address,
      epochsAhead: options.epochsAhead,
      walMaxPerPack: options.walMaxPerPack.toString(),
      cacheBytesMax: options.cacheBytesMax,
    });
    return {
      name,
      network: options.network,
      volumeId: volumeId.toString('hex'),
      address: wallet.address,
      recoveryKey: formatRecoveryKey(recoveryKey),
    };
  } catch (error) {
    // Nothing was stored under these keys yet, so a half-made volume is taken back whole.
    rmSync(root, { recursive: true, force: true });
    if (wallet !== undefined) rmSync(walletFile, { force: true });
    throw error;
  }
};
