/** The answer to `GET /v1/health`, in the official JSON shape. */
import type { NodeService } from './service.ts';

/** Health of a node; with `detailed` the state of each shard too. `startedAtMs` counts as `performance.now()`. */
export const healthOf = (node: NodeService, startedAtMs: number, detailed: boolean): unknown => {
  const uptimeMs = Math.max(0, performance.now() - startedAtMs);
  const { shards } = node;
  const { blsPublic } = node.identity;
  return {
    uptime: { secs: Math.floor(uptimeMs / 1000), nanos: Math.floor((uptimeMs % 1000) * 1e6) },
    epoch: node.registry.epoch,
    publicKey: blsPublic.toString('base64'),
    nodeStatus: 'Active',
    eventProgress: {
      persisted: node.registry.applied,
      pending: node.registry.pending,
      highestFinishedEventIndex: node.registry.applied,
    },
    shardSummary: {
      owned: shards.length,
      ownedShardStatus: { unknown: 0, ready: shards.length, inTransfer: 0, inRecovery: 0 },
      readOnly: 0,
    },
    ...(detailed
      ? { shardDetail: { owned: shards.map(shard => ({ shard, status: 'ready' })), other: [] } }
      : {}),
  };
};
