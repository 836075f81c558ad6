/**
 * Writes what the mount bench measured into README.md, between two markers: figures of rows as
 * saved by `--json`, never typed by hand.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BenchRow, figure } from './rows.ts';

const README = fileURLToPath(new URL('../../README.md', import.meta.url));
const BEGIN = '<!-- npm run bench -- mount -->';
const END = '<!-- end of the bench -->';

/** Reads saved rows and replaces the table; a row that several files have is taken from the last one. */
export const writeReadme = (files: readonly string[]): void => {
  const rows = new Map<string, BenchRow>();
  for (const file of files)
    for (const row of JSON.parse(readFileSync(file, 'utf8')) as BenchRow[])
      if (row.bench === 'mount') rows.set(row.row, row);
  if (rows.size === 0) throw new Error('the files hold no rows of the mount bench');
  const text = readFileSync(README, 'utf8');
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${README} lacks the lines ${BEGIN} and ${END}`);
  const table = markdown([...rows.values()]);
  writeFileSync(README, `${text.slice(0, from)}${BEGIN}\n\n${table}\n${text.slice(to)}`);
};

/** A table: our figure, each peer's and the ratio to it, requests of the kernel a call. */
const markdown = (rows: readonly BenchRow[]): string => {
  const peers = [...new Set(rows.flatMap(row => Object.keys(row.peers)))];
  const lines = rows.map(row => [
    `${row.row}, ${row.unit}`,
    figure(row.tuskfs),
    ...peers.map(peer => {
      const other = row.peers[peer];
      return other === undefined ? '–' : `${figure(other)} (${(row.tuskfs / other).toFixed(2)}×)`;
    }),
    requestsOf(row),
  ]);
  const head = ['row', 'tuskfs', ...peers, 'requests a call'];
  const widths = head.map((title, i) =>
    Math.max(...[title, ...lines.map(l => l[i]!)].map(t => t.length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) =>
    i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return `${[line(head), line(rule), ...lines.map(line)].join('\n')}\n`;
};

const requestsOf = ({ requests = {} }: BenchRow): string => {
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0);
  return all < 0.05 ? '0' : all.toPrecision(2);
};
