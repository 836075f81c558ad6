/** A localnet for the time of a program or test: it ends with the process that started it. */
import {
  advanceEpoch,
  faucet,
  freePorts,
  localnetStatus,
  misbehave,
  runLocalnet,
  setPrices,
  setStakes,
  setTip,
  startNodes,
  stopLocalnet,
  stopNodes,
} from './control.ts';
import { type NetworkParameters, networkPaths, readNetwork, type Tip } from './parameters.ts';
import type { LocalnetStatus } from './status.ts';

/** A running localnet in the hands of its starter. */
export interface LocalnetHandle extends LocalnetStatus {
  status(): Promise<LocalnetStatus>;
  stopNode(...indices: number[]): Promise<void>;
  startNode(...indices: number[]): Promise<void>;
  /** Lets a node misbehave (`slow=2000`, `wrong-bytes`, …: `MODES` in node/misbehave.ts) from now on; no modes: it behaves again. */
  misbehave(node: number | readonly number[], ...modes: string[]): Promise<void>;
  /** FROST a unit. */
  setPrice(storage: bigint, write: bigint): Promise<void>;
  /** What the upload relay wants to be paid. */
  setTip(tip: Tip): Promise<void>;
  /** Stakes of nodes in whole WAL, by index, from the next epoch on: shards follow them. At first 1,000 WAL a shard. */
  setStakes(stakes: Readonly<Record<number, number>>): Promise<void>;
  /** Returns the new epoch. */
  advanceEpoch(by?: number): Promise<number>;
  /** 1,000 WAL and 100 SUI. */
  faucet(address: string): Promise<void>;
  /** Directory of a node; the layout of its files is described in node/store.ts. */
  nodeDirectory(index: number): string;
  close(): Promise<void>;
}

/** Starts a localnet in `directory` on free ports (a directory that was used before keeps its own). */
export const startLocalnet = async (
  options: { directory: string } & Partial<NetworkParameters>,
): Promise<LocalnetHandle> => {
  const { directory, ...asked } = options;
  const paths = networkPaths(directory);
  if (asked.port === undefined && readNetwork(paths) === undefined) {
    asked.port = await freePorts((asked.nodes ?? 13) + 2);
  }
  const { status } = await runLocalnet(directory, asked, true);
  return {
    ...status,
    status: () => localnetStatus(directory),
    stopNode: (...indices) => stopNodes(directory, indices),
    startNode: (...indices) => startNodes(directory, indices),
    misbehave: (node, ...modes) => misbehave(directory, [node].flat(), modes),
    setPrice: (storage, write) => setPrices(status.rpcUrl, storage, write),
    setStakes: stakes =>
      setStakes(
        status.rpcUrl,
        Object.entries(stakes).map(([node, wal]) => ({
          node: Number(node),
          frost: `${wal}000000000`,
        })),
      ),
    setTip: tip => setTip(directory, tip),
    advanceEpoch: async by => (await advanceEpoch(status.rpcUrl, by)).epoch,
    faucet: async address => void (await faucet(status.rpcUrl, address)),
    nodeDirectory: index => paths.node(index),
    close: async () => void (await stopLocalnet(directory)),
  };
};
