/** What is said of the paid time of a volume. */
import { expect, test } from 'vitest';
import { paidReport } from '../../src/daemon/paid.ts';

const DAY_MS = 86_400_000;
const at = (epoch: number) => ({ epoch, epochMs: 14 * DAY_MS, epochStartMs: Date.UTC(2026, 0, 1) });
const paid = {
  checkpoint: 9,
  files: [
    { endEpoch: 6, files: 2, bytes: 3000 },
    { endEpoch: 9, files: 40, bytes: 50_000 },
  ],
};

test('the first end counts, in epochs and as a date', () => {
  expect(paidReport(paid, at(3), 5)).toEqual({
    endEpoch: 6,
    epochsLeft: 3,
    endMs: Date.UTC(2026, 1, 12),
    ending: { files: 2, bytes: 3000 },
    expired: { files: 0, bytes: 0 },
    checkpointEndEpoch: 9,
    warnings: [],
  });
});

test('fewer than half of the epochs that a flush pays are few, and so is the last one', () => {
  const warned = (epoch: number, epochsAhead: number) =>
    paidReport({ checkpoint: 20, files: paid.files }, at(epoch), epochsAhead).warnings;
  expect(warned(4, 5)).toHaveLength(1);
  expect(warned(4, 5)[0]).toMatch(
    /^paid time runs out: 2 files \(2\.9 KiB\), paid until the end of epoch 5 \(2 of 5 left, until 2026-01-29 00:00 UTC\)/,
  );
  expect(warned(4, 4)).toHaveLength(0);
  expect(warned(5, 1)[0]).toMatch(/the running one/);
});

test('why the last flush did not renew it is said', () => {
  const [warning] = paidReport(paid, at(8), 5, 'the wallet is empty').warnings.slice(-1);
  expect(warning).toMatch(
    /^paid time runs out: .*\. It could not be renewed: the wallet is empty$/,
  );
});

test('what is over is said apart from what ends next', () => {
  const report = paidReport(paid, at(8), 5);
  expect(report).toMatchObject({
    endEpoch: 9,
    ending: { files: 40 },
    expired: { files: 2, bytes: 3000 },
  });
  expect(report.warnings).toHaveLength(2);
  expect(report.warnings[0]).toMatch(
    /^EXPIRED: 2 files .* until the end of epoch 5 at most, and it is epoch 8/,
  );
  expect(report.warnings[1]).toMatch(/40 files .* and the checkpoint itself/);
  expect(paidReport(paid, at(9), 5)).toMatchObject({ endEpoch: null, expired: { files: 42 } });
  expect(paidReport(paid, at(9), 5).warnings).toHaveLength(1);
});

test('a checkpoint without content ends too', () => {
  const { warnings, endEpoch } = paidReport({ checkpoint: 6, files: [] }, at(5), 5);
  expect(endEpoch).toBe(6);
  expect(warnings[0]).toMatch(/runs out: the checkpoint itself/);
});

test('what is not known is not said', () => {
  expect(paidReport(undefined, at(5), 5)).toMatchObject({ endEpoch: null, warnings: [] });
  expect(paidReport(paid, undefined, 5)).toMatchObject({
    endEpoch: 6,
    epochsLeft: null,
    endMs: null,
    warnings: [],
  });
  expect(paidReport(paid, { epoch: 3, epochMs: 0, epochStartMs: 5 }, 5).endMs).toBeNull();
});
