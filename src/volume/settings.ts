/**
 * The settings file: which networks and volumes this user has. It holds no secret; wallets lie
 * beside it. It is replaced as one step, by one process at a time, and never written when it
 * could not be read.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, systemCode, TuskError } from '../base/errors.ts';
import { makeDirectory, replaceFile } from '../base/files.ts';
import { exclusively } from './lock.ts';
import { configDirectory } from './paths.ts';

const VERSION = 1;

const networkSettings = z.object({
  rpcUrls: z.array(z.url()).min(1),
  systemObjectId: z.string().startsWith('0x'),
  stakingPoolId: z.string().startsWith('0x'),
  nodeScheme: z.enum(['http', 'https']),
  /** Aggregators to read from where nodes cannot be reached, in that order. */
  aggregatorUrls: z.array(z.url()).optional(),
  /** Upload relay that takes each pack once, instead of the nodes taking its slivers. */
  relayUrl: z.url().optional(),
  /** Most MIST that the relay's tip for one pack may be, as a decimal string; without it no tip is paid. */
  relayTipMaxMist: z.string().regex(/^\d+$/).optional(),
  /** Where test coins come from (localnet only). */
  faucetUrl: z.url().optional(),
  /** How long staged files wait for company before a flush. */
  lingerMs: z.number().int().nonnegative(),
});

const volumeSettings = z.object({
  network: z.string(),
  volumeId: z.string(),
  stateDirectory: z.string(),
  walletFile: z.string(),
  address: z.string().startsWith('0x'),
  /** Epochs that a flush pays ahead. */
  epochsAhead: z.number().int().min(1).max(53),
  /** Most FROST that one pack may cost, as a decimal string. */
  walMaxPerPack: z.string().regex(/^\d+$/),
  /** Most bytes of packs kept locally though the network holds them. */
  cacheBytesMax: z.number().int().positive(),
});

const settings = z.object({
  version: z.literal(VERSION),
  networks: z.record(z.string(), networkSettings),
  volumes: z.record(z.string(), volumeSettings),
});

/** How to reach a network. */
export type NetworkSettings = z.infer<typeof networkSettings>;
/** A volume of this user on this machine. */
export type VolumeSettings = z.infer<typeof volumeSettings>;
/** The whole settings file. */
export type Settings = z.infer<typeof settings>;

/** Path of the settings file. */
export const settingsPath = (): string => join(configDirectory(), 'settings.json');

const damaged = (path: string, reason: string, cause?: unknown): TuskError =>
  new TuskError(
    'damaged',
    `the settings file ${path} cannot be read: ${reason}. Nothing was changed; volumes and wallets are not affected. Repair it or its permissions, or move it away and enter the networks and volumes again.`,
    { cause },
  );

/** Entries without a prototype: a volume may have any name, `constructor` too. */
const byName = <T>(entries: Record<string, T>): Record<string, T> =>
  Object.assign(Object.create(null), entries);

/** The settings as they are now; empty ones when there is no file yet. */
export const loadSettings = (path = settingsPath()): Settings => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      return { version: VERSION, networks: byName({}), volumes: byName({}) };
    throw damaged(path, messageOf(error), error);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(path, messageOf(error), error);
  }
  const version = (json as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > VERSION) {
    throw new TuskError(
      'newer_format',
      `the settings file ${path} has version ${version}; this tuskfs knows up to ${VERSION}. Use a newer tuskfs.`,
    );
  }
  const parsed = settings.safeParse(json);
  if (!parsed.success) throw damaged(path, z.prettifyError(parsed.error), parsed.error);
  const { version: known, networks, volumes } = parsed.data;
  return { version: known, networks: byName(networks), volumes: byName(volumes) };
};

const update = async (change: (current: Settings) => void): Promise<void> => {
  makeDirectory(configDirectory());
  await exclusively(join(configDirectory(), 'settings.lock'), () => {
    const path = settingsPath();
    const current = loadSettings(path);
    change(current);
    // Whoever wrote what cannot be read again would take every volume away with it.
    const { error } = settings.safeParse(current);
    if (error !== undefined)
      throw new TuskError('usage', `${z.prettifyError(error)}. Nothing was changed.`);
    replaceFile(path, `${JSON.stringify(current, null, 2)}\n`);
  });
};

/** Enters a network under a name, replacing one of the same name. */
export const saveNetwork = (name: string, network: NetworkSettings): Promise<void> =>
  update(current => {
    current.networks[name] = network;
  });

/** Enters a new volume; refuses a name that is taken. */
export const addVolume = (name: string, volume: VolumeSettings): Promise<void> =>
  update(current => {
    if (current.volumes[name] !== undefined) throw nameTaken(name);
    current.volumes[name] = volume;
  });

/** The error for a volume name that exists already. */
export const nameTaken = (name: string): TuskError =>
  new TuskError(
    'already_exists',
    `there is a volume named ${name} already. Nothing was changed; choose another name.`,
  );

/** A network by name. */
export const networkNamed = (all: Settings, name: string): NetworkSettings => {
  const found = all.networks[name];
  if (found !== undefined) return found;
  const known = Object.keys(all.networks).join(', ') || 'none';
  const hint = name === 'localnet' ? ' Start it with `tuskfs localnet start`.' : '';
  throw new TuskError('not_found', `no network named ${name} (known: ${known}).${hint}`);
};

/** A volume by name. */
export const volumeNamed = (all: Settings, name: string): VolumeSettings => {
  const found = all.volumes[name];
  if (found !== undefined) return found;
  const known = Object.keys(all.volumes).join(', ') || 'none';
  throw new TuskError(
    'not_found',
    `no volume named ${name} (known: ${known}). Make one with \`tuskfs create ${name}\`.`,
  );
};
