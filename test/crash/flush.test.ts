/**
 * The process dies at every step of the journal, then another one takes over: nothing is lost,
 * nothing is paid twice, no salt occurs twice.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { decodeHeader, PACK_HEAD_BYTES } from '../../src/format/pack.ts';
import { FLUSH_POINTS } from '../support/flush-points.ts';
import { MemoryNetwork } from '../support/memory-network.ts';

const child = fileURLToPath(new URL('../support/flush-child.ts', import.meta.url));

/** One process that opens the volume, writes (once), flushes, waits for tails and checks every file. */
const run = (root: string, failpoint: string) => {
  const fired = join(root, 'fired');
  const { status, signal, stderr } = spawnSync(process.execPath, [child, root], {
    env: { ...process.env, TUSKFS_FAILPOINTS: failpoint, TUSKFS_FAILPOINT_FILE: fired },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, signal, stderr, fired: existsSync(fired) };
};

describe.each(['', ':2'])('killed at pass%s', pass => {
  test.each(FLUSH_POINTS)('%s', { timeout: 120_000 }, async point => {
    const root = mkdtempSync(join(tmpdir(), 'tuskfs-flush-crash-'));
    try {
      const first = run(root, `flush.${point}${pass}`);
      expect(first).toMatchObject({ signal: 'SIGKILL', fired: true });
      const second = run(root, '');
      expect(second, second.stderr).toMatchObject({ status: 0 });

      const network = new MemoryNetwork(join(root, 'network'));
      const objects = [...network.objects().values()];
      expect(new Set(objects.map(({ blobId }) => blobId)).size).toBe(objects.length);
      expect(objects.every(({ certifiedEpoch }) => certifiedEpoch !== undefined)).toBe(true);
      const salts = objects.map(({ blobId }) =>
        decodeHeader(network.blob(blobId).subarray(0, PACK_HEAD_BYTES)).salt.toString('hex'),
      );
      expect(new Set(salts).size).toBe(salts.length);
      for (const name of ['outbox', 'scratch']) expect(readdirSync(join(root, name))).toEqual([]);
      const spent = readFileSync(join(root, 'journal', 'spent.jsonl'), 'utf8')
        .trim()
        .split('\n');
      expect(spent).toHaveLength(network.entries().length);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
