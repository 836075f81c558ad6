/** What is said of a volume that was unmounted. */
import { expect, test } from 'vitest';
import { describeUmount } from '../../src/cli/sync.ts';

const report = {
  checkpoint: 3,
  pending: 'the network does not answer.',
  pendingBytes: 2048,
  isStuck: false,
  fault: '',
  warnings: [],
  wal: '0',
  sui: '0',
};

test('mounting again is advised only where it helps', () => {
  expect(describeUmount('docs', report)).toBe(
    'docs is unmounted. 2.0 KiB not yet on the network: the network does not answer. They are safe on this machine; mount the volume again to send them.',
  );
  const pending = "another machine has moved this volume's head. Use it on one machine at a time";
  expect(describeUmount('docs', { ...report, pending, isStuck: true })).toBe(
    `docs is unmounted. 2.0 KiB not yet on the network: ${pending}. They are safe on this machine.`,
  );
});
