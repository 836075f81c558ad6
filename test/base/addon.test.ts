import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { explained } from '../../src/base/addon.ts';
import { TuskError } from '../../src/base/errors.ts';

test('an error that nobody expected says what to run where the addon is older than a source', () => {
  const native = mkdtempSync(join(tmpdir(), 'tuskfs-addon-'));
  const file = (name: string, atS: number) => {
    const path = join(native, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
    utimesSync(path, atS, atS);
  };
  const thrown = new TypeError('native.newest is not a function');
  try {
    file('addon/src/log/segment.rs', 1000);
    file('codec/src/lib.rs', 1000);
    file('tuskfs.node', 2000);
    expect(explained(thrown, native)).toBe(thrown.message);
    file('addon/src/log/segment.rs', 3000);
    expect(explained(thrown, native)).toMatch(/^native\.newest is .*older.*`npm run native`/);
    expect(explained(new TuskError('busy', 'taken'), native)).toBe('taken');
  } finally {
    rmSync(native, { recursive: true });
  }
});
