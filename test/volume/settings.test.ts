/** The settings file: what could not be read again is never written. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { addVolume, loadSettings } from '../../src/volume/settings.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tuskfs-settings-'));
  vi.stubEnv('TUSKFS_CONFIG_DIR', root);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

test('a volume that makes no sense is refused, and takes no other with it', async () => {
  const good = {
    ...{ network: 'localnet', volumeId: '00', stateDirectory: '/state', walletFile: '/key' },
    ...{ address: '0x1', epochsAhead: 5, walMaxPerPack: '1', cacheBytesMax: 1 },
  };
  await addVolume('constructor', good);
  await expect(addVolume('bad', { ...good, cacheBytesMax: 0 })).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining('volumes.bad.cacheBytesMax'),
  });
  expect(Object.keys(loadSettings().volumes)).toEqual(['constructor']);
});
