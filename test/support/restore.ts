/**
 * Another machine that is given a volume's name, wallet, envelope and passphrase, and gets the tree
 * from the network: what it does not have is the first machine's state.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../../src/base/files.ts';
import { saveHead } from '../../src/flush/state.ts';
import { openEnvelope, walletSecretMessage, walletSecretOf } from '../../src/format/envelope.ts';
import { restoreIndex } from '../../src/volume/checkpoint.ts';
import { findHead, rangeReader } from '../../src/volume/find-head.ts';
import { volumePaths } from '../../src/volume/paths.ts';
import { loadSettings } from '../../src/volume/settings.ts';
import { RealNetwork } from '../../src/walrus/real-network.ts';
import { loadWallet } from '../../src/walrus/wallet.ts';
import { PASSPHRASE, Sandbox } from './sandbox.ts';

/** A machine that has what `volume` was on the network when its newest checkpoint was made. */
export const otherMachine = async (first: Sandbox, volume: string): Promise<Sandbox> => {
  const other = new Sandbox(`${volume}-restored`);
  const settings = loadSettings(first.path('config', 'settings.json'));
  const walletFile = other.path('wallet');
  cpSync(settings.volumes[volume]!.walletFile, walletFile);
  const wallet = loadWallet(walletFile);
  const network = new RealNetwork({ name: 'localnet', ...settings.networks.localnet! }, wallet);
  try {
    const { signal } = new AbortController();
    const volumeId = Buffer.from(settings.volumes[volume]!.volumeId, 'hex');
    const signature = await wallet.signPersonal(walletSecretMessage(volumeId));
    const secrets = { passphrase: PASSPHRASE, walletSecret: walletSecretOf(signature, volumeId) };
    const head = await findHead(network, envelope => openEnvelope(envelope, secrets), signal);
    const paths = volumePaths(other.state(volume));
    for (const path of [paths.index, paths.journal]) mkdirSync(path, { recursive: true });
    await restoreIndex(
      head.blob,
      head.keys,
      rangeReader(network, signal),
      join(paths.index, 'index.db'),
    );
    replaceFile(paths.envelope, head.envelope);
    const { sequence, timeMs } = head.manifest;
    const { blobId, objectId, size, nShards } = head.blob;
    saveHead(paths.journal, { sequence, blobId, objectId, size, nShards, timeMs, seq: -1 });
    mkdirSync(other.path('config'));
    settings.volumes = {
      [volume]: { ...settings.volumes[volume]!, stateDirectory: paths.root, walletFile },
    };
    writeFileSync(other.path('config', 'settings.json'), JSON.stringify(settings));
    return other;
  } finally {
    await network.close();
  }
};
