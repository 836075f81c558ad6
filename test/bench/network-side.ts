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
}

/** The answer to `open`, or to an operation. */
export interface Answer {
  /** The wallet, which the parent funds. */
  readonly address?: string;
  readonly store?: Stored;
}

/** What came of storing. */
export interface Stored {
  readonly blobId: string;
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
}

/** Processor time of this process so far, in seconds. */
export const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const [, , side, work] = process.argv as [string, string, string, string];
let client: Client | undefined;

const answer = async ({ open, store }: Question): Promise<Answer> => {
  if (open !== undefined) {
    client = await (side === 'tuskfs' ? ours : official)(open, work);
    return { address: client.address };
  }
  if (store !== undefined) return { store: await client!.store(store.size, store.seed) };
  throw new Error('the parent asked nothing');
};

process.on('message', async (question: Question) => {
  process.send!(await answer(question));
});
