import { expect, test } from 'vitest';
import { troubleLines } from '../../src/cli/status.ts';

test('what is broken is said, and nothing of what an older daemon does not tell', () => {
  expect(troubleLines({ fault: 'a bad disk', damage: 'a bad file' })).toEqual([
    'READ-ONLY: a bad disk',
    'DAMAGED: a bad file',
  ]);
  expect(troubleLines({ fault: '', damage: '' })).toEqual([]);
  expect(troubleLines({ fault: '' })).toEqual([]);
});
