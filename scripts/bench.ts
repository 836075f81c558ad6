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

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    row: { type: 'string', multiple: true, default: [] },
    peer: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
  },
});
if (positionals[0] === 'readme' && positionals.length > 1) {
  writeReadme(positionals.slice(1));
  process.exit(0);
}
const bench = BENCHES[positionals[0] ?? ''];
const rounds = Number(values.rounds);
if (bench === undefined || positionals.length !== 1 || !Number.isInteger(rounds) || rounds < 1) {
  console.error(
    'usage: npm run bench -- NAME [--rounds N] [--row ROW]... [--peer NAME]... [--json]',
  );
  console.error('       npm run bench -- readme FILE...   (saved by --json, for README.md)');
  console.error(`benches: ${Object.keys(BENCHES).join(' ')}`);
  process.exit(2);
}
const rows = await bench(
  ...([rounds, values.row, (text: string) => process.stderr.write(text), values.peer] as const),
);
console.log(values.json ? JSON.stringify(rows) : table(rows));
