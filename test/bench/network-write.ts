/** Rows of the network bench that store: from a blob's bytes to certified on chain, as both clients do it. */
import { setTimeout } from 'node:timers/promises';
import { type NetworkRow, type NetworkSide, nodesCpuSeconds, PEER, type Stage } from './network.ts';
import type { Stored } from './network-side.ts';
import { median } from './rows.ts';

const MEBI = 2 ** 20;
/** Nodes hear of a deletion some time after the chain, and then take a moment. */
const REMOVED_MS = 2_000;

/** One storing, with the nodes' share of the processor. */
interface Run extends Stored {
  readonly nodesCpuSeconds: number;
}

const storeOnce = async (stage: Stage, side: NetworkSide, size: number, seed: number) => {
  const before = nodesCpuSeconds(stage);
  const { store } = await stage.probe.during(() => side.ask({ store: { size, seed } }));
  const run = { ...store!, nodesCpuSeconds: nodesCpuSeconds(stage) - before };
  // Each finds the nodes' disk and memory as the one before did.
  await side.ask({ remove: run.objectId });
  await setTimeout(REMOVED_MS);
  return run;
};

const line = (name: string, run: Run): string => {
  const figures = [
    `${run.seconds.toFixed(2)} s to certified`,
    ...(run.tailSeconds === undefined ? [] : [`${run.tailSeconds.toFixed(2)} s to the last node`]),
    `processor: client ${run.cpuSeconds.toFixed(2)} s, nodes ${run.nodesCpuSeconds.toFixed(2)} s`,
  ];
  return `  ${name}: ${figures.join(', ')}\n`;
};

let seed = 0;

const storeRow = (mib: number): NetworkRow => ({
  name: `store ${mib}MiB`,
  measure: async (stage, rounds) => {
    const size = mib * MEBI;
    const runs: Readonly<Record<string, { side: NetworkSide; taken: Run[] }>> = {
      tuskfs: { side: stage.tuskfs, taken: [] },
      [PEER]: { side: stage.official, taken: [] },
    };
    stage.progress(`store ${mib}MiB\n`);
    for (let round = 0; round < rounds; round++)
      for (const [name, { side, taken }] of Object.entries(runs)) {
        const run = await storeOnce(stage, side, size, ++seed);
        taken.push(run);
        stage.progress(line(name, run));
      }
    const middle = (name: string, of: (run: Run) => number) => median(runs[name]!.taken.map(of));
    const rate = (name: string) => size / 1e6 / middle(name, run => run.seconds);
    const cpu = (of: (run: Run) => number) => ({
      tuskfs: middle('tuskfs', of),
      [PEER]: middle(PEER, of),
    });
    return {
      ...{ unit: 'MB/s', tuskfs: rate('tuskfs'), peers: { [PEER]: rate(PEER) } },
      cpuSeconds: {
        client: cpu(run => run.cpuSeconds),
        nodes: cpu(run => run.nodesCpuSeconds),
      },
    };
  },
});

/** The rows. */
export const WRITE_ROWS: readonly NetworkRow[] = [storeRow(64), storeRow(1)];
