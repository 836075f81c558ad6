/**
 * The back thread: everything that talks to the network, spends money or takes long. It owns the
 * signer, the flush pipeline and the fetching of slivers; the front reaches it through the bridge,
 * and bytes go through files.
 */
import { open } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { deadline } from '../base/abort.ts';
import { systemClock } from '../base/clock.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import { PACK_BYTES_MAX } from '../base/limits.ts';
import { log, logToFile } from '../base/log.ts';
import { systemRandom } from '../base/random.ts';
import { formatRatePlan, parseRatePlan } from '../base/rate.ts';
import type { SliverRequest } from '../content/types.ts';
import { Flusher } from '../flush/flusher.ts';
import type { FlushFront } from '../flush/types.ts';
import { volumeKeys } from '../format/keys.ts';
import { enterBackground } from '../log/background.ts';
import { stagedPlace } from '../log/place.ts';
import { slotOf } from '../log/record.ts';
import { native } from '../native.ts';
import { volumePaths } from '../volume/paths.ts';
import { loadSettings } from '../volume/settings.ts';
import { unlessExpired } from '../walrus/expired.ts';
import { RealNetwork } from '../walrus/real-network.ts';
import { walletInFile } from '../walrus/wallet-file.ts';
import { Bridge } from './bridge.ts';
import type { RateTexts } from './config.ts';
import type { BackMethods, BackSettings, BackStatus, FrontMethods } from './methods.ts';

/** How long an upload goes on behind its certificate. */
const TAIL_MS = 10 * 60_000;

const { config, envelope } = workerData as BackSettings;
const paths = volumePaths(config.volume.stateDirectory);
logToFile(paths.daemonLog);
enterBackground('tuskfs-back');

const network = new RealNetwork(
  { name: config.networkName, ...config.network },
  walletInFile(config.volume.walletFile, config.volume.address),
);

/** Sets the limits that are given; all of them as they are now. */
const limit = ({ upload, download }: Partial<RateTexts>): RateTexts => {
  const { limits } = network;
  if (upload !== undefined) limits.upload.plan = parseRatePlan(upload);
  if (download !== undefined) limits.download.plan = parseRatePlan(download);
  return {
    upload: formatRatePlan(limits.upload.plan),
    download: formatRatePlan(limits.download.plan),
  };
};
limit(config.limits);

/** Brings slivers into the cache file, each to its own place, as they come. At the deadline the read itself says which blob and shards are missing. */
const fetchSlivers = async (request: SliverRequest, signal: AbortSignal): Promise<null> => {
  const { primaryBytes } = native.blobShape(request.size, request.nShards);
  const file = await open(request.cachePath, 'r+');
  const within = deadline(signal, request.timeoutMs);
  try {
    await network.readPrimaries(request, request.slivers, {
      verify: request.verify,
      signal: within.signal,
      onSliver: async (index, data) => {
        const at = index * primaryBytes;
        await file.write(data, 0, Math.min(data.length, request.size - at), at);
      },
    });
    return null;
  } catch (error) {
    throw await unlessExpired(network, request, error);
  } finally {
    within.done();
    await file.close();
  }
};

const status = async (signal: AbortSignal): Promise<BackStatus> => {
  const nodes = network.health();
  try {
    const [time, balance] = await Promise.all([
      network.prices(signal),
      network.balance(signal),
      network.committee({ signal }),
    ]);
    return { time, nodes: network.health(), balance, networkError: '', limits: limit({}) };
  } catch (error) {
    const networkError = messageOf(error);
    return { time: null, nodes, balance: null, networkError, limits: limit({}) };
  }
};

/** The owner's limit as the settings file says now; as the mount was told, where that cannot be read or has no such volume any more. */
const walMaxPerPack = (): bigint => {
  let now: string | undefined;
  try {
    now = loadSettings().volumes[config.name]?.walMaxPerPack;
  } catch (error) {
    log('daemon').warn({ error: messageOf(error) }, 'the limit of before goes on');
  }
  return BigInt(now ?? config.volume.walMaxPerPack);
};

const flushFront: FlushFront = {
  snapshot: async () => {
    const { id, directory, seq } = await front.call('snapshot', null);
    return { directory, seq, release: async () => void (await front.call('releaseSnapshot', id)) };
  },
  commitPack: commit => front.call('commitPack', commit),
  renewPacks: async ends => void (await front.call('renewPacks', ends)),
  stagedPlace: async addr => {
    await front.call('verifyStaged', slotOf(addr));
    return stagedPlace(paths.log, addr);
  },
  readFrame: (frame, signal) => front.call('readFrame', frame, signal),
};

const flusher = new Flusher({
  network,
  keys: volumeKeys(Buffer.from(config.volume.volumeId, 'hex'), Buffer.from(config.volumeKey)),
  envelope: Buffer.from(envelope),
  directories: paths,
  front: flushFront,
  clock: systemClock,
  random: systemRandom,
  limits: {
    epochsAhead: config.volume.epochsAhead,
    get walMaxPerPack() {
      return walMaxPerPack();
    },
    tailMs: TAIL_MS,
    packBytesMax: PACK_BYTES_MAX,
  },
  logger: log('flush'),
});

const methods: BackMethods = {
  flush: ({ epoch }, signal) =>
    flusher.run({ signal, epoch, onProgress: progress => void front.call('progress', progress) }),
  settle: async () => {
    await flusher.settled();
    return null;
  },
  fetch: (request, signal) => fetchSlivers(request, signal),
  status: (_, signal) => status(signal),
  time: (_, signal) => network.prices(signal),
  limit: texts => limit(texts),
  close: async () => {
    await flusher.close();
    await network.close();
    return null;
  },
};

const port = parentPort;
if (port === null) throw new TuskError('internal', 'the back runs as a worker only');
const front = new Bridge<FrontMethods>(port, methods);
