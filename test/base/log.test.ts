import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../src/base/log.ts', import.meta.url));

/** Logs one line of each level in a process of its own, which is ended if it hangs. */
const logged = (path: string) =>
  promisify(execFile)(
    process.execPath,
    [
      ...['--input-type=module', '-e'],
      `const { log, logToFile } = await import(${JSON.stringify(source)});
      logToFile(${JSON.stringify(path)});
      for (const level of ['info', 'error', 'fatal']) log('room')[level]({ n: 1 }, 'said');
      console.log('went on');`,
    ],
    { timeout: 20_000 },
  );

test('every line is in the file at once', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tuskfs-log-'));
  try {
    const path = join(directory, 'log');
    await logged(path);
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    expect(lines.map(line => JSON.parse(line))).toMatchObject(
      [30, 50, 60].map(level => ({ level, room: 'room', n: 1, msg: 'said' })),
    );
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a disk that takes no line keeps nobody waiting', async () => {
  const { stdout } = await logged('/dev/full');
  expect(stdout).toBe('went on\n');
});
