/** The envelope opens by either way and tells a wrong passphrase from damage. */
import { beforeAll, expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { seededRandom, systemRandom } from '../../src/base/random.ts';
import {
  ARGON_DEFAULT,
  ARGON_FLOOR,
  createEnvelope,
  ENVELOPE_BYTES,
  envelopeVolumeId,
  openEnvelope,
  rewrapEnvelope,
  walletSecretMessage,
  walletSecretOf,
} from '../../src/format/envelope.ts';
import { goldenVolume } from './samples.ts';

const { volumeId, volumeKey, passphrase, walletSecret, recoveryKey } = goldenVolume;
let envelope: Buffer;
beforeAll(async () => {
  envelope = await createEnvelope({ ...goldenVolume, argon: ARGON_FLOOR, random: systemRandom });
});

test('opens by passphrase and wallet, and by the recovery key', async () => {
  expect(envelope.length).toBe(ENVELOPE_BYTES);
  expect(envelopeVolumeId(envelope)).toEqual(volumeId);
  const opened = { volumeId, volumeKey };
  expect(await openEnvelope(envelope, { passphrase, walletSecret })).toEqual(opened);
  expect(await openEnvelope(envelope, { recoveryKey })).toEqual(opened);
  const composed = { passphrase: passphrase.normalize('NFD'), walletSecret };
  expect(await openEnvelope(envelope, composed)).toEqual(opened);
});

test('wrong secrets are told from damage', async () => {
  const wrong = { code: 'wrong_passphrase' };
  await expect(openEnvelope(envelope, { passphrase: 'x', walletSecret })).rejects.toMatchObject(
    wrong,
  );
  await expect(
    openEnvelope(envelope, { passphrase, walletSecret: Buffer.alloc(32) }),
  ).rejects.toMatchObject(wrong);
  await expect(openEnvelope(envelope, { recoveryKey: Buffer.alloc(32) })).rejects.toMatchObject({
    code: 'wrong_key',
  });
  const random = seededRandom(1);
  for (let i = 0; i < 60; i++) {
    const bent = Buffer.from(envelope);
    bent[random.below(bent.length)]! ^= 1 << random.below(8);
    const opened = await openEnvelope(bent, { recoveryKey }).catch((error: unknown) => error);
    if (opened instanceof TuskError) expect(['damaged', 'newer_format']).toContain(opened.code);
    else expect(opened).toEqual({ volumeId, volumeKey });
  }
});

test('parameters outside the bounds are refused before any work', async () => {
  const weak = Buffer.from(envelope);
  weak.writeUInt32LE(1024, 32);
  await expect(openEnvelope(weak, { passphrase, walletSecret })).rejects.toThrow(/outside/);
  const huge = Buffer.from(envelope);
  huge.writeUInt32LE(5 * 1024 * 1024, 32);
  await expect(openEnvelope(huge, { passphrase, walletSecret })).rejects.toThrow(/outside/);
});

test('a new passphrase keeps key and recovery key; real parameters', async () => {
  const opened = await openEnvelope(envelope, { recoveryKey });
  const to = { passphrase: 'new', walletSecret, argon: ARGON_DEFAULT, random: systemRandom };
  const rewrapped = await rewrapEnvelope(envelope, opened, to);
  expect(await openEnvelope(rewrapped, to)).toEqual(opened);
  expect(await openEnvelope(rewrapped, { recoveryKey })).toEqual(opened);
  await expect(openEnvelope(rewrapped, { passphrase, walletSecret })).rejects.toMatchObject({
    code: 'wrong_passphrase',
  });
});

test('the wallet secret follows from volume and signature', () => {
  expect(walletSecretMessage(volumeId).toString()).toContain(volumeId.toString('hex'));
  expect(walletSecretOf(Buffer.alloc(64, 1), volumeId)).toHaveLength(32);
});
