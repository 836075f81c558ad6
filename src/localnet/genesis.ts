/** The nodes of a localnet as genesis describes them and as each of them runs. */
import type { GenesisNode } from './feed.ts';
import { nodeKeys } from './node/keys.ts';
import type { NodeConfig } from './node/node.ts';
import { dealtShards, weightedShards } from './node/shards.ts';
import type { NetworkFile, NetworkParameters, NetworkPaths } from './parameters.ts';

/** Port of node `index`. */
export const portOf = (network: NetworkParameters, index: number): number =>
  network.port + 1 + index;

/** Shards of node `index` at genesis. */
const shardsOf = ({ nodes, shards, weights }: NetworkParameters, index: number): number[] =>
  weights === undefined ? dealtShards(index, nodes, shards) : weightedShards(index, weights);

/** Port of the upload relay and the aggregator: behind those of the nodes. */
export const gatewayPort = (network: NetworkParameters): number => portOf(network, network.nodes);

/** Node `index` as it runs; makes its keys at the first call. */
export const nodeConfig = (
  paths: NetworkPaths,
  network: NetworkFile,
  index: number,
): NodeConfig => {
  const directory = paths.node(index);
  const keys = nodeKeys(directory, network.tls);
  return {
    name: `node-${index}`,
    port: portOf(network, index),
    directory,
    misbehaves: network.misbehaving[index] ?? [],
    identity: {
      index,
      nShards: network.shards,
      blsSecret: keys.blsSecret,
      blsPublic: keys.blsPublic48,
    },
    ...(keys.tls === undefined ? {} : { tls: keys.tls }),
  };
};

/** All nodes as the ledger's genesis takes them. */
export const genesisNodes = (paths: NetworkPaths, network: NetworkParameters): GenesisNode[] =>
  Array.from({ length: network.nodes }, (_, index) => {
    const keys = nodeKeys(paths.node(index), network.tls);
    return {
      index,
      nodeId: keys.nodeId,
      name: `node-${index}`,
      address: `127.0.0.1:${portOf(network, index)}`,
      publicKey: keys.blsPublic96.toString('hex'),
      networkPublicKey: keys.tls?.publicKey.toString('hex') ?? '',
      shards: shardsOf(network, index),
    };
  });
