/**
 * `npm run bench -- NAME [--rounds N] [--row ROW]… [--peer NAME]… [--json]`: measures this
 * checkout against its peers. With `--json` an array of rows is all that stdout gets; prose goes to stderr.
 * `npm run bench -- readme FILE…` writes saved rows of the mount bench into README.md.
 */
import { parseArgs } from 'node:util';
import { benchCodec } from '../test/bench/codec.ts';
import { benchFlush } from '../test/bench/flush.ts';
import { benchMount } from '../test/bench/mount.ts';
import { benchNetwork } from '../test/bench/network.ts';
import { writeReadme } from '../test/bench/readme.ts';
import { type BenchRow, table } from '../test/bench/rows.ts';
import { benchScale } from '../test/bench/scale.ts';

type Bench = (
  rounds: number,
  only: readonly string[],
  progress: (text: string) => void,
  peers: readonly string[],
) => Promise<BenchRow[]>;

const BENCHES: Readonly<Record<string, Bench>> = {
  codec: benchCodec,
  flush: benchFlush,
  mount: benchMount,
  network: benchNetwork,
  scale: benchScale,
};

const USAGE = `usage: npm run bench -- NAME [--rounds N] [--row ROW]... [--peer NAME]... [--json]
       npm run bench -- readme FILE...   (saved by --json, for README.md)
benches: ${Object.keys(BENCHES).join(' ')}`;

const refuse = (why?: string): never => {
  if (why !== undefined) console.error(why);
  console.error(USAGE);
  process.exit(2);
};

const read = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: 'string', default: '3' },
        row: { type: 'string', multiple: true, default: [] },
        peer: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
};

const { values, positionals } = read();
if (positionals[0] === 'readme' && positionals.length > 1) {
  writeReadme(positionals.slice(1));
  process.exit(0);
}
const bench = BENCHES[positionals[0] ?? ''] ?? refuse();
const rounds = Number(values.rounds);
if (positionals.length !== 1 || !Number.isInteger(rounds) || rounds < 1) refuse();
const rows = await bench(
  ...([rounds, values.row, (text: string) => process.stderr.write(text), values.peer] as const),
);
console.log(values.json ? JSON.stringify(rows) : table(rows));
