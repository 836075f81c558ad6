/** SEMANTICS.md and the tests that name its rules say the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const top = fileURLToPath(new URL('../..', import.meta.url));
const text = readFileSync(join(top, 'src/vfs/SEMANTICS.md'), 'utf8');
const rules = [...text.matchAll(/^- \*\*S-(\d+)\*\*/gm)].map(match => Number(match[1]));

/** Rules named by tests, in titles or in what stands above them. */
const named = (): Set<number> => {
  const found = new Set<number>();
  for (const name of readdirSync(join(top, 'test'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.test.ts') || name.endsWith('semantics.test.ts')) continue;
    const source = readFileSync(join(top, 'test', name), 'utf8');
    for (const [, number] of source.matchAll(/\bS-(\d+)\b/g)) found.add(Number(number));
  }
  return found;
};

test('each rule has a number of its own, and stands there in the text of others', () => {
  expect(new Set(rules).size).toBe(rules.length);
  for (const [, number] of text.matchAll(/S-(\d+)/g)) expect(rules).toContain(Number(number));
});

test('tests name rules that exist, and every rule has a test', () => {
  const numbers = [...named()].sort((a, b) => a - b);
  expect(numbers).toEqual([...rules].sort((a, b) => a - b));
});
