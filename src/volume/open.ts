/** A volume's unlocking. */
import {
  type OpenedEnvelope,
  openEnvelope,
  walletSecretMessage,
  walletSecretOf,
} from '../format/envelope.ts';
import { loadWallet, type Wallet } from '../walrus/wallet.ts';
import { readEnvelope } from './envelope-file.ts';
import type { VolumeSettings } from './settings.ts';

/** What only the wallet can compute of a volume, for its envelope. */
export const walletSecret = async (wallet: Wallet, volumeId: Buffer): Promise<Buffer> =>
  walletSecretOf(await wallet.signPersonal(walletSecretMessage(volumeId)), volumeId);

/** Opens the envelope with passphrase and wallet. */
export const openVolume = async (
  name: string,
  volume: VolumeSettings,
  passphrase: string,
): Promise<OpenedEnvelope> => {
  const envelope = readEnvelope(name, volume);
  const secret = await walletSecret(
    loadWallet(volume.walletFile),
    Buffer.from(volume.volumeId, 'hex'),
  );
  return openEnvelope(envelope, { passphrase, walletSecret: secret });
};
