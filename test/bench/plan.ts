/** The rows of the mount bench, in the order in which they run: some work on what others left. */

/** One row. */
export interface RowPlan {
  readonly row: string;
  readonly unit: string;
  /** Files, operations or MiB: what `native/bench` is told. A real tree is counted instead. */
  readonly count: number;
  /** Rows that must have run before in the same directory. */
  readonly needs: readonly string[];
  /** The row is a program of the system at work on a real tree or checkout. */
  readonly program?: 'untar' | 'rm-rf' | 'clone' | 'status';
}

const FILES = 3000;
const LARGE_MIB = 512;
const CALLS = 10_000;

const names = (row: string, ...needs: string[]): RowPlan => ({
  ...{ row, unit: 'calls/s', count: FILES, needs },
});
const large = (row: string, unit: string, count: number): RowPlan => ({
  ...{ row, unit, count, needs: ['sequential-write'] },
});

/** All rows. */
export const PLAN: readonly RowPlan[] = [
  { ...names('create'), unit: 'files/s' },
  { ...names('create-write'), unit: 'files/s' },
  names('stat', 'create-write'),
  names('missing', 'create-write'),
  { ...names('readdir', 'create-write'), unit: 'entries/s' },
  { ...names('open-read', 'create-write'), unit: 'files/s' },
  names('rename', 'create-write'),
  names('unlink', 'rename'),
  { ...large('sequential-write', 'MB/s', LARGE_MIB), needs: [] },
  large('sequential-read', 'MB/s', LARGE_MIB),
  large('sequential-read-warm', 'MB/s', LARGE_MIB),
  large('random-read', 'calls/s', CALLS),
  large('random-write', 'calls/s', CALLS),
  { row: 'fsync-write', unit: 'calls/s', count: 500, needs: [] },
  { row: 'save', unit: 'saves/s', count: 300, needs: [] },
  { row: 'untar', unit: 'files/s', count: 0, needs: [], program: 'untar' },
  { row: 'rm-rf', unit: 'files/s', count: 0, needs: ['untar'], program: 'rm-rf' },
  { row: 'git-clone', unit: 'files/s', count: 0, needs: [], program: 'clone' },
  { row: 'git-status', unit: 'files/s', count: 0, needs: ['git-clone'], program: 'status' },
];

/** The rows named (all, if none is) and those that they need, in order. */
export const chosen = (only: readonly string[]): readonly RowPlan[] => {
  if (only.length === 0) return PLAN;
  const wanted = new Set(only);
  for (const name of only)
    if (!PLAN.some(({ row }) => row === name)) throw new RangeError(`there is no row ${name}`);
  for (const { row, needs } of PLAN.toReversed())
    if (wanted.has(row)) for (const need of needs) wanted.add(need);
  return PLAN.filter(({ row }) => wanted.has(row));
};
