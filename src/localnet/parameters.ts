/**
 * What one localnet is: its parameters and where its files lie. `network.json` in its directory is
 * the truth about both and is replaced as one step. What genesis put on the ledger (nodes, shards,
 * ports, TLS, length of an epoch) stays for the life of the directory.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { messageOf, TuskError } from '../base/errors.ts';
import { replaceFile } from '../base/files.ts';

const parameters = z.object({
  nodes: z.number().int().min(1).max(1000),
  shards: z.number().int().min(4).max(1000),
  /** Shards of each node, where they are not to be dealt evenly. */
  weights: z.array(z.number().int().min(1)).optional(),
  /** Port of the ledger; node i listens on the port i + 1 above it, relay and aggregator behind the last. */
  port: z.number().int().min(1).max(65_535),
  tls: z.boolean(),
  /** One process a node, instead of one for all. */
  processes: z.boolean(),
  /** Until nodes act on what happened on the ledger. */
  delayMs: z.number().int().nonnegative(),
  /** Length of an epoch; 0: epochs end only when told to. */
  epochMs: z.number().int().nonnegative(),
  /** Until reads of the ledger see a transaction. */
  readLagMs: z.number().int().nonnegative(),
});

/** Parameters of a localnet. */
export type NetworkParameters = z.infer<typeof parameters>;

/** Tip of the upload relay, in MIST: nothing, the same for all, or by KiB of the encoded blob. */
export const tipSchema = z.union([
  z.literal('none'),
  z.strictObject({ const: z.int().nonnegative() }),
  z.strictObject({ base: z.int().nonnegative(), perEncodedKib: z.int().nonnegative() }),
]);
/** Tip of the upload relay. */
export type Tip = z.infer<typeof tipSchema>;

const networkFile = parameters.extend({
  version: z.literal(1),
  /** Nodes that were told to stop and shall stay so. */
  stopped: z.array(z.number().int().nonnegative()),
  /** How nodes misbehave, by index. */
  misbehaving: z.record(z.string(), z.array(z.string())).default({}),
  /** What the upload relay wants to be paid. */
  tip: tipSchema.default('none'),
});

/** Contents of `network.json`. */
export type NetworkFile = z.infer<typeof networkFile>;

const DEFAULTS: NetworkParameters = {
  nodes: 13,
  shards: 100,
  port: 31_000,
  tls: false,
  processes: false,
  delayMs: 500,
  epochMs: 0,
  readLagMs: 0,
};

const FIXED = ['nodes', 'shards', 'weights', 'port', 'tls', 'epochMs'] as const;

/** The files of a localnet. */
export interface NetworkPaths {
  readonly root: string;
  readonly network: string;
  readonly daemon: string;
  readonly socket: string;
  readonly log: string;
  readonly ledger: string;
  readonly gateway: string;
  node(index: number): string;
}

/** Longest path of a Unix socket on Linux. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Names within a localnet's directory. */
export const networkPaths = (directory: string): NetworkPaths => {
  const root = resolve(directory);
  const socket = join(root, 'control.sock');
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
    throw new TuskError(
      'usage',
      `the path ${root} is too long for a control socket; choose a directory nearer to the root`,
    );
  }
  return {
    root,
    network: join(root, 'network.json'),
    daemon: join(root, 'daemon.json'),
    socket,
    log: join(root, 'localnet.log'),
    ledger: join(root, 'ledger'),
    gateway: join(root, 'gateway'),
    node: index => join(root, 'nodes', String(index)),
  };
};

/** The localnet that lies in a directory; undefined if there is none. */
export const readNetwork = (paths: NetworkPaths): NetworkFile | undefined => {
  if (!existsSync(paths.network)) return undefined;
  try {
    return networkFile.parse(JSON.parse(readFileSync(paths.network, 'utf8')));
  } catch (error) {
    throw new TuskError(
      'damaged',
      `${paths.network} cannot be read: ${messageOf(error)}. Nothing was changed; repair it, or use another directory.`,
      { cause: error },
    );
  }
};

/** Writes `network.json`, making the directory if need be. */
export const writeNetwork = (paths: NetworkPaths, network: NetworkFile): void => {
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  replaceFile(paths.network, `${JSON.stringify(network, null, 2)}\n`);
};

/** What to run, from what lies in the directory and what is asked for now. */
export const settle = (
  paths: NetworkPaths,
  saved: NetworkFile | undefined,
  asked: Partial<NetworkParameters>,
): NetworkFile => {
  for (const name of FIXED) {
    if (
      saved !== undefined &&
      asked[name] !== undefined &&
      String(asked[name]) !== String(saved[name])
    ) {
      throw new TuskError(
        'usage',
        `the localnet in ${paths.root} was made with ${name} = ${saved[name]}, which cannot change to ${asked[name]}. Nothing was changed; make another with --dir.`,
      );
    }
  }
  const network = {
    ...DEFAULTS,
    version: 1 as const,
    stopped: [],
    misbehaving: {},
    tip: 'none' as const,
    ...saved,
    ...asked,
  };
  if (network.nodes > network.shards) {
    throw new TuskError(
      'usage',
      `${network.nodes} nodes cannot share ${network.shards} shards: every node needs one`,
    );
  }
  const { weights } = network;
  const sum = weights?.reduce((all, weight) => all + weight, 0) ?? network.shards;
  if (sum !== network.shards || (weights?.length ?? network.nodes) !== network.nodes) {
    throw new TuskError(
      'usage',
      `the weights of ${weights?.length} nodes with ${sum} shards do not fit ${network.nodes} nodes with ${network.shards} shards`,
    );
  }
  if (network.port + network.nodes + 1 > 65_535) {
    throw new TuskError(
      'usage',
      `${network.nodes} nodes need ports above ${network.port}: too many`,
    );
  }
  return network;
};
