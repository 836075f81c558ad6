/**
 * One client of the network bench, a process of its own: `tuskfs` or the official SDK. It opens
 * the network once, then does what the parent asks for; the clock runs here, around the work only.
 */
import { official } from './network-official.ts';
import { ours } from './network-ours.ts';

/** A network to open, in a form that goes between processes. */
export interface Opening {
  readonly rpcUrl: string;
  readonly packageConfig: { readonly systemObjectId: string; readonly stakingPoolId: string };
  readonly nodeScheme: 'http' | 'https';
}

/** What the parent asks. */
export interface Question {
  readonly open?: Opening;
  /** Store `size` bytes that follow from `seed`, from bytes to certified. */
  readonly store?: { readonly size: number; readonly seed: number };
  /** Delete what was stored, by its Blob object. */
  readonly remove?: string;
  /** Read with a client that knows nothing yet. */
  readonly read?: ReadQuestion;
}

/** A blob to be read, which `store` stored. */
export interface ReadQuestion {
  readonly blobId: string;
  readonly size: number;
  readonly seed: number;
  /** Ranges [from, to) to be read one after the other by one client; the whole blob without. */
  readonly ranges?: readonly (readonly [number, number])[];
}

/** Seconds of each read, and the processor time of this process. */
export interface ReadAnswer {
  readonly seconds: readonly number[];
  readonly cpuSeconds: number;
}

/** The answer to `open`, or to an operation. */
export interface Answer {
  /** The wallet, which the parent funds. */
  readonly address?: string;
  readonly store?: Stored;
  readonly read?: ReadAnswer;
}

/** What came of storing. */
export interface Stored {
  readonly blobId: string;
  readonly objectId: string;
  /** From the bytes to certified on chain. */
  readonly seconds: number;
  /** Processor time of this process meanwhile. */
  readonly cpuSeconds: number;
  /** Until every node had its slivers, where the client goes on behind the certificate. */
  readonly tailSeconds?: number;
}

/** What a client can do. */
export interface Client {
  readonly address: string;
  store(size: number, seed: number): Promise<Stored>;
  remove(objectId: string): Promise<void>;
  /** Reads with a client that was just made and knows no more than the committee. */
  read(question: ReadQuestion): Promise<ReadAnswer>;
}

/** Processor time of this process so far, in seconds. */
export const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Times reads one after the other; each must bring the bytes of its range. */
export const timedReads = async (
  ranges: readonly (readonly [number, number])[],
  expected: Buffer,
  read: (range: readonly [number, number]) => Promise<Uint8Array>,
): Promise<ReadAnswer> => {
  const seconds: number[] = [];
  const startCpu = cpuSeconds();
  for (const range of ranges) {
    const startMs = performance.now();
    const bytes = await read(range);
    seconds.push((performance.now() - startMs) / 1000);
    if (!expected.subarray(...range).equals(bytes)) throw new Error(`${side} read wrong bytes`);
  }
  return { seconds, cpuSeconds: cpuSeconds() - startCpu };
};

const [, , side, work] = process.argv as [string, string, string, string];
let client: Client | undefined;

const answer = async ({ open, store, remove, read }: Question): Promise<Answer> => {
  if (open !== undefined) {
    client = await (side === 'tuskfs' ? ours : official)(open, work);
    return { address: client.address };
  }
  if (store !== undefined) return { store: await client!.store(store.size, store.seed) };
  if (remove !== undefined) {
    await client!.remove(remove);
    return {};
  }
  if (read !== undefined) return { read: await client!.read(read) };
  throw new Error('the parent asked nothing');
};

process.on('message', async (question: Question) => {
  process.send!(await answer(question));
});
