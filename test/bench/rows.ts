/** Rows of every bench, and how they are shown. */

/** One figure of ours beside the same of others; more per second is better, so ratios are ours / theirs. */
export interface BenchRow {
  readonly bench: string;
  readonly row: string;
  readonly unit: string;
  readonly tuskfs: number;
  readonly peers: Readonly<Record<string, number>>;
  /** Milliseconds until everything that the row wrote was durable, for each. */
  readonly localMs?: Readonly<Record<string, number>>;
  /** What the kernel asked tuskfs for, a call of the program's, by operation. */
  readonly requests?: Readonly<Record<string, number>>;
  /** Processor time of a call in seconds, for each: of the client, and of the nodes meanwhile. */
  readonly cpuSeconds?: Readonly<Record<'client' | 'nodes', Readonly<Record<string, number>>>>;
}

/** The middle one, or the mean of the two in the middle. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

/** A figure for people. */
export const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

const perCall = (requests: Readonly<Record<string, number>>): string =>
  Object.entries(requests)
    .filter(([, count]) => count >= 0.05)
    .sort(([, a], [, b]) => b - a)
    .map(([operation, count]) => `${operation} ${count.toPrecision(2)}`)
    .join(', ');

/** The rows as a table of text: figures, ratios to each peer, requests. */
export const table = (rows: readonly BenchRow[]): string => {
  const peers = [...new Set(rows.flatMap(row => Object.keys(row.peers)))];
  const head = ['row', 'unit', 'tuskfs', ...peers.flatMap(peer => [peer, 'ratio']), 'requests'];
  const lines = rows.map(row => [
    row.row,
    row.unit,
    figure(row.tuskfs),
    ...peers.flatMap(peer => {
      const other = row.peers[peer];
      return other === undefined ? ['', ''] : [figure(other), (row.tuskfs / other).toFixed(2)];
    }),
    perCall(row.requests ?? {}),
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...lines.map(line => line[i]!.length)),
  );
  const last = head.length - 1;
  return [head, ...lines]
    .map(line =>
      line
        .map((cell, i) =>
          i < 2 || i === last ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
};
