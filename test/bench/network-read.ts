/**
 * Rows of the network bench that read, each time with a client that was just made and knows no more
 * than the committee. Both clients verify what they read. The SDK cannot read a part of a blob: for
 * a range it reads the whole.
 */
import { seededRandom } from '../../src/base/random.ts';
import { type NetworkRow, type NetworkSide, PEER, type Stage } from './network.ts';
import type { ReadAnswer } from './network-side.ts';
import { median } from './rows.ts';

const MEBI = 2 ** 20;
const SIZE = 64 * MEBI;
const SEED = 64_000;
/** Reads in which slowness may be learnt, and those that count behind them. */
const LEARNING = 20;
const COUNTED = 200;
const SLOW = 'slow=2000';

let stored: string | undefined;

/** The blob that all rows read; stored once. */
const blobOf = async ({ tuskfs, progress }: Stage) => {
  if (stored === undefined) progress('storing what is read\n');
  stored ??= (await tuskfs.ask({ store: { size: SIZE, seed: SEED } })).store!.blobId;
  return { blobId: stored, size: SIZE, seed: SEED };
};

const randomRanges = (seed: number, count: number): [number, number][] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const at = random.below(SIZE - MEBI);
    return [at, at + MEBI];
  });
};

const line = (name: string, { seconds, cpuSeconds }: ReadAnswer): string =>
  `  ${name}: ${seconds[0]!.toFixed(3)} s, processor ${cpuSeconds.toFixed(2)} s\n`;

/** Both clients read the whole blob, or a range of 1 MiB, in turn. */
const compare = async (stage: Stage, rounds: number, ranged: boolean) => {
  const blob = await blobOf(stage);
  const sides: Readonly<Record<string, { side: NetworkSide; taken: ReadAnswer[] }>> = {
    tuskfs: { side: stage.tuskfs, taken: [] },
    [PEER]: { side: stage.official, taken: [] },
  };
  for (let round = 0; round < rounds; round++) {
    const ranges = ranged ? { ranges: randomRanges(round, 1) } : {};
    for (const [name, { side, taken }] of Object.entries(sides)) {
      const { read } = await side.ask({ read: { ...blob, ...ranges } });
      taken.push(read!);
      stage.progress(line(name, read!));
    }
  }
  const rate = (name: string) =>
    (ranged ? MEBI : SIZE) / 1e6 / median(sides[name]!.taken.map(({ seconds }) => seconds[0]!));
  return { unit: 'MB/s', tuskfs: rate('tuskfs'), peers: { [PEER]: rate(PEER) } };
};

const compareRow = (name: string, ranged: boolean): NetworkRow => ({
  name,
  measure: (stage, rounds) => {
    stage.progress(`${name}\n`);
    return compare(stage, rounds, ranged);
  },
});

const lossRow: NetworkRow = {
  name: 'read 64MiB, f shards gone',
  measure: async (stage, rounds) => {
    stage.progress(`${lossRow.name}\n`);
    await blobOf(stage);
    const { localnet } = stage;
    const most = Math.floor((localnet.nShards - 1) / 3);
    const gone: number[] = [];
    let shards = 0;
    // Every third node, so that no part of the blob is spared.
    for (let i = 0; i < localnet.nodes.length; i += 3) {
      if (shards + localnet.nodes[i]!.shards.length > most) break;
      shards += localnet.nodes[i]!.shards.length;
      gone.push(i);
    }
    stage.progress(`  ${gone.length} nodes of ${shards} shards are stopped\n`);
    await localnet.stopNode(...gone);
    try {
      return await compare(stage, rounds, false);
    } finally {
      await localnet.startNode(...gone);
    }
  },
};

/** Reads a second at the 99th percentile of many cold reads by one client. */
const slowRow: NetworkRow = {
  name: 'read 1MiB at p99, one node slow',
  measure: async (stage, rounds) => {
    stage.progress(`${slowRow.name}\n`);
    const blob = await blobOf(stage);
    const p99 = async (round: number): Promise<number> => {
      const ranges = randomRanges(round, LEARNING + COUNTED);
      const { read } = await stage.tuskfs.ask({ read: { ...blob, ranges } });
      const sorted = read!.seconds.slice(LEARNING).sort((a, b) => a - b);
      return sorted[Math.ceil(COUNTED * 0.99) - 1]!;
    };
    const [undisturbed, disturbed]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      undisturbed.push(await p99(round));
      const slow = (7 * round) % stage.localnet.nodes.length;
      await stage.localnet.misbehave(slow, SLOW);
      try {
        disturbed.push(await p99(round));
      } finally {
        await stage.localnet.misbehave(slow);
      }
      const ms = (list: number[]) => (list.at(-1)! * 1000).toFixed(0);
      stage.progress(`  p99 ${ms(undisturbed)} ms, with a slow node ${ms(disturbed)} ms\n`);
    }
    return {
      unit: 'reads/s',
      tuskfs: 1 / median(disturbed),
      peers: { 'tuskfs undisturbed': 1 / median(undisturbed) },
    };
  },
};

/** In the order in which they run. */
export const READ_ROWS: readonly NetworkRow[] = [
  compareRow('read 64MiB', false),
  compareRow('read 1MiB of 64MiB', true),
  lossRow,
  slowRow,
];
