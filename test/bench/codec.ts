/**
 * The codec bench: the same blobs through our addon and through Walrus' own WebAssembly encoder,
 * each in a child of its own, interleaved, medians of several rounds. Rates are MB (10⁶ bytes) of
 * the blob a second; those of `verify` count the bytes of the slivers. Ours reads and writes files
 * of the temporary directory, the peer works in memory. Before anything is timed both must name
 * the same blob ID, and each must have decoded its own slivers to the blob.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Answer, Operation, Question } from './codec-side.ts';
import { type BenchRow, median } from './rows.ts';
import { Side } from './side.ts';

type CodecSide = Side<Question, Answer>;

const MEBI = 2 ** 20;
const SHARDS = [100, 1000];
const SIZES_MIB = [1, 16, 64];
const PEER = 'walrus-wasm';

/** The first word of a row, in the order in which they run. */
const OPERATIONS: readonly Operation[] = [
  'metadata',
  'encode',
  'decode-worst',
  'decode-systematic',
  'verify',
];
/** What the peer offers. */
const OF_PEER: ReadonlySet<Operation> = new Set(OPERATIONS.slice(0, 4));

/** Runs all rows, or those named `only`, `rounds` times. */
export const benchCodec = async (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
): Promise<BenchRow[]> => {
  const rows: BenchRow[] = [];
  for (const shards of SHARDS)
    for (const mib of SIZES_MIB) {
      const name = (operation: Operation) => `${operation} ${mib}MiB ${shards} shards`;
      const wanted = OPERATIONS.filter(each => only.length === 0 || only.includes(name(each)));
      if (wanted.length === 0) continue;
      progress(`${mib} MiB over ${shards} shards\n`);
      const figures = await measure(mib * MEBI, shards, wanted, rounds);
      for (const operation of wanted) {
        const { ours, theirs } = figures.get(operation)!;
        rows.push({
          ...{ bench: 'codec', row: name(operation), unit: 'MB/s', tuskfs: median(ours) },
          peers: theirs.length > 0 ? { [PEER]: median(theirs) } : {},
        });
      }
    }
  return rows;
};

interface Figures {
  readonly ours: number[];
  readonly theirs: number[];
}

/** Rates of one blob, a figure each round. */
const measure = async (
  size: number,
  shards: number,
  operations: readonly Operation[],
  rounds: number,
): Promise<Map<Operation, Figures>> => {
  const figures = new Map(operations.map(each => [each, { ours: [], theirs: [] } as Figures]));
  const directory = await mkdtemp(join(tmpdir(), 'tuskfs-bench-'));
  const sides: CodecSide[] = [];
  try {
    for (const name of ['tuskfs', PEER]) sides.push(new Side('codec-side.ts', [name, directory]));
    const [ours, theirs] = sides as [CodecSide, CodecSide];
    const ids = [await prepare(ours, size, shards), await prepare(theirs, size, shards)];
    if (ids[0] !== ids[1]) throw new Error(`tuskfs and ${PEER} make different blobs of the same`);
    for (let round = 0; round < rounds; round++)
      for (const [operation, rates] of figures) {
        rates.ours.push(await rate(ours, operation));
        if (OF_PEER.has(operation)) rates.theirs.push(await rate(theirs, operation));
      }
  } finally {
    await Promise.all(sides.map(side => side.stop()));
    await rm(directory, { recursive: true, force: true });
  }
  return figures;
};

/** Makes the blob and its slivers; the blob ID. */
const prepare = async (side: CodecSide, size: number, shards: number): Promise<string> =>
  (await side.ask({ prepare: { size, shards } })).blobId!;

/** MB a second. */
const rate = async (side: CodecSide, operation: Operation): Promise<number> => {
  const { bytes, seconds } = (await side.ask({ operation })).took!;
  return bytes / 1e6 / seconds;
};
