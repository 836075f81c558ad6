/**
 * `npm run bench -- NAME [--rounds N] [--row ROW]… [--peer NAME]… [--json]`: measures this
 * checkout against its peers. With `--json` an array of rows is all that stdout gets; prose goes to stderr.
 */
import { parseArgs } from 'node:util';
import { benchCodec } from '../test/bench/codec.ts';
import { benchMount } from '../test/bench/mount.ts';
import { benchNetwork } from '../test/bench/network.ts';
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
  mount: benchMount,
  network: benchNetwork,
  scale: benchScale,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    row: { type: 'string', multiple: true, default: [] },
    peer: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
  },
});
const bench = BENCHES[positionals[0] ?? ''];
const rounds = Number(values.rounds);
if (bench === undefined || positionals.length !== 1 || !Number.isInteger(rounds) || rounds < 1) {
  console.error(
    'usage: npm run bench -- NAME [--rounds N] [--row ROW]... [--peer NAME]... [--json]',
  );
  console.error(`benches: ${Object.keys(BENCHES).join(' ')}`);
  process.exit(2);
}
const rows = await bench(
  ...([rounds, values.row, (text: string) => process.stderr.write(text), values.peer] as const),
);
console.log(values.json ? JSON.stringify(rows) : table(rows));
