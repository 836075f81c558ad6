/**
 * The storage nodes of a running localnet, in this process or in one process each. Either way a
 * stopped node refuses connections and a started one has read the ledger's events.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TuskError } from '../base/errors.ts';
import { log } from '../base/log.ts';
import { workerUrl } from '../base/worker.ts';
import { nodeConfig } from './genesis.ts';
import { Follower } from './node/follow.ts';
import type { Misbehaviour } from './node/misbehave.ts';
import { StorageNode } from './node/node.ts';
import type { NetworkFile, NetworkPaths } from './parameters.ts';
import { HEAP_FLAGS } from './process.ts';

/** Starts and stops nodes by their index. */
export interface Members {
  isUp(index: number): boolean;
  /** Its own process; undefined while it has none. */
  pid(index: number): number | undefined;
  start(index: number): Promise<void>;
  stop(index: number): Promise<void>;
  /** A node that is down misbehaves so when it starts. */
  misbehave(index: number, misbehaviour: Misbehaviour): void;
  close(): Promise<void>;
}

/** All nodes in this process, with one common follower of the ledger. */
export const membersHere = async (
  paths: NetworkPaths,
  network: NetworkFile,
  rpcUrl: string,
): Promise<Members> => {
  const follower = await Follower.start(rpcUrl, network.delayMs);
  const nodes = Array.from(
    { length: network.nodes },
    (_, index) => new StorageNode(nodeConfig(paths, network, index), follower.registry, follower),
  );
  return {
    isUp: index => nodes[index]!.up,
    pid: () => undefined,
    start: index => nodes[index]!.start(),
    stop: index => nodes[index]!.stop(),
    misbehave: (index, misbehaviour) => nodes[index]!.misbehave(misbehaviour),
    close: async () => {
      await Promise.all(nodes.map(node => node.stop()));
      await follower.stop();
    },
  };
};

/** What a node's process is told. */
export interface NodeOrder {
  readonly misbehaves: readonly string[];
}

/** What a node's process reports. */
export type NodeReport = { readonly ready: true } | { readonly failure: string };

const launch = (paths: NetworkPaths, rpcUrl: string, index: number): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    const entry = fileURLToPath(workerUrl(import.meta.url, './node/main'));
    const child = fork(entry, [paths.root, rpcUrl, String(index)], { execArgv: HEAP_FLAGS });
    const failed = (why: string) =>
      reject(new TuskError('io', `storage node ${index} did not start: ${why}`));
    child.once('error', error => failed(error.message));
    child.once('exit', code => failed(`its process ended with ${code}; see ${paths.log}`));
    child.once('message', report => {
      const message = report as NodeReport;
      if ('failure' in message) failed(message.failure);
      else resolve(child);
    });
  });

const ended = (child: ChildProcess): Promise<void> =>
  new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/** One process a node; they end with this one. */
export const membersApart = (paths: NetworkPaths, rpcUrl: string): Members => {
  const children = new Map<number, ChildProcess>();
  const stop = async (index: number) => {
    const child = children.get(index);
    if (child === undefined) return;
    children.delete(index);
    child.kill('SIGTERM');
    await ended(child);
  };
  return {
    isUp: index => children.has(index),
    pid: index => children.get(index)?.pid,
    start: async index => {
      if (children.has(index)) return;
      const child = await launch(paths, rpcUrl, index);
      children.set(index, child);
      child.once('exit', code => {
        if (children.get(index) !== child) return;
        children.delete(index);
        log('localnet').error({ node: index, code }, 'storage node ended by itself');
      });
    },
    stop,
    misbehave: (index, { texts }) =>
      children.get(index)?.send({ misbehaves: texts } satisfies NodeOrder),
    close: async () => {
      await Promise.all([...children.keys()].map(stop));
    },
  };
};
