/** Until when the volume is paid, as `status` says it, and what people must be warned of. */
import { formatBytes, formatTime } from '../base/figures.ts';
import { type FilesPaid, fewEpochs, type Paid } from '../flush/paid.ts';
import type { EpochTime } from '../walrus/network.ts';
import type { Amount, PaidReport } from './report.ts';

const amountOf = (parts: readonly FilesPaid[]): Amount => ({
  files: parts.reduce((files, part) => files + part.files, 0),
  bytes: parts.reduce((bytes, part) => bytes + part.bytes, 0),
});

/** `12 files (3.2 MiB) and the checkpoint itself`. */
const named = ({ files, bytes }: Amount, checkpoint: boolean): string =>
  [
    ...(files === 0 ? [] : [`${files} ${files === 1 ? 'file' : 'files'} (${formatBytes(bytes)})`]),
    ...(checkpoint ? ['the checkpoint itself'] : []),
  ].join(' and ');

/** What is said of a checkpoint's paid time, as the chain's time stands (undefined: not known), and of why the last flush did not renew it. */
export const paidReport = (
  paid: Paid | undefined,
  time: EpochTime | undefined,
  epochsAhead: number,
  notRenewed = '',
): PaidReport => {
  const { checkpoint = null, files = [] } = paid ?? {};
  const epoch = time?.epoch ?? 0;
  const over = (end: number): boolean => end <= epoch;
  const past = files.filter(({ endEpoch }) => over(endEpoch));
  const ends = [
    ...files.map(({ endEpoch }) => endEpoch),
    ...(checkpoint === null ? [] : [checkpoint]),
  ];
  const end = Math.min(...ends.filter(each => !over(each)));
  const endEpoch = end === Number.POSITIVE_INFINITY ? null : end;
  const epochsLeft = endEpoch === null || time === undefined ? null : endEpoch - epoch;
  const hasDates = time !== undefined && time.epochMs > 0 && time.epochStartMs > 0;
  const report: PaidReport = {
    endEpoch,
    epochsLeft,
    endMs: epochsLeft !== null && hasDates ? time.epochStartMs + epochsLeft * time.epochMs : null,
    ending: amountOf(files.filter(part => part.endEpoch === endEpoch)),
    expired: amountOf(past),
    checkpointEndEpoch: checkpoint,
    warnings: [],
  };
  const lost = named(report.expired, checkpoint !== null && over(checkpoint));
  if (lost !== '') {
    const last = Math.max(...ends.filter(over)) - 1;
    report.warnings.push(
      `EXPIRED: ${lost}, paid until the end of epoch ${last} at most, and it is epoch ${epoch}: storage nodes need not hold them any more. What can still be read is saved by writing it anew (a copy of the file will do) and \`tuskfs sync\``,
    );
  }
  if (epochsLeft !== null && epochsLeft < fewEpochs(epochsAhead)) {
    const until = report.endMs === null ? '' : `, until ${formatTime(report.endMs)}`;
    const next =
      notRenewed === ''
        ? 'The next flush of a drive mounted for writing renews that, if wallet and limits allow'
        : `It could not be renewed: ${notRenewed}`;
    report.warnings.push(
      `paid time runs out: ${named(report.ending, checkpoint === endEpoch)}, paid until the end of epoch ${endEpoch! - 1} (${epochsLeft === 1 ? 'the running one' : `${epochsLeft} of ${epochsAhead} left`}${until}). ${next}`,
    );
  }
  return report;
};
