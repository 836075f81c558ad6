import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openIndex } from '../../src/meta/open.ts';

/** Nice values of this process' threads, by thread. */
const niceValues = (): Map<string, number> =>
  new Map(
    readdirSync('/proc/self/task').map(task => {
      const stat = readFileSync(`/proc/self/task/${task}/stat`, 'latin1');
      return [task, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])];
    }),
  );

it('the index writer is in the background, the front is not', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tuskfs-background-'));
  const before = niceValues();
  const index = await openIndex({ directory, logDirectory: join(directory, 'log') });
  try {
    const after = niceValues();
    const own = before.get(String(process.pid))!;
    expect(after.get(String(process.pid))).toBe(own);
    const names = [...after.keys()].filter(task => !before.has(task));
    const writers = names.filter(
      task => readFileSync(`/proc/self/task/${task}/comm`, 'latin1').trim() === 'tuskfs-index',
    );
    expect(writers.map(task => after.get(task))).toEqual([Math.max(own, 10)]);
  } finally {
    await index.close();
    rmSync(directory, { recursive: true });
  }
});
