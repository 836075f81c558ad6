/** `tuskfs status [VOLUME|DIR]`: what is safe, what is under way, what it costs. */
import type { Command } from 'commander';
import { explained } from '../base/addon.ts';
import { formatBytes, formatCoin, formatDuration, formatTime } from '../base/figures.ts';
import { callDaemon } from '../daemon/control.ts';
import type { Amount, StatusReport } from '../daemon/report.ts';
import { loadSettings, type VolumeSettings } from '../volume/settings.ts';
import { Exit, print, say } from './command.ts';
import { findTarget, type Target, targetOf } from './target.ts';

const amount = (label: string, { files, bytes }: Amount): string =>
  `  ${label.padEnd(13)} ${String(files).padStart(9)} files ${formatBytes(bytes).padStart(11)}`;

const flushLine = ({ flush, oldestStagedMs }: StatusReport): string => {
  if (flush.pending !== '') return `flush: waiting: ${flush.pending}`;
  if (flush.state === 'idle') {
    return oldestStagedMs === 0
      ? 'flush: nothing to do'
      : `flush: lingers (oldest ${formatDuration(oldestStagedMs)})`;
  }
  const left = flush.leftMs === null ? '' : `, ${formatDuration(flush.leftMs)} left`;
  return `flush: ${flush.state}, ${formatBytes(flush.bytesDone)} of ${formatBytes(flush.bytesTotal)}, ${formatBytes(flush.rate)}/s${left}`;
};

/** Limits of traffic, where there are any. */
const limits = ({ limits: now }: StatusReport): string[] =>
  now === null || (now.upload === 'off' && now.download === 'off')
    ? []
    : [`limits: upload ${now.upload}, download ${now.download}`];

/** Until when what is checkpointed is paid, and what must not be overlooked. */
const paidLines = ({ paid }: StatusReport): string[] => {
  const { endEpoch, epochsLeft, endMs, ending } = paid;
  const left = epochsLeft === null ? '' : `, ${epochsLeft} epochs left`;
  const until = endMs === null ? '' : `, ${formatTime(endMs)}`;
  return [
    endEpoch === null
      ? 'paid: nothing that is known of'
      : `paid: until the end of epoch ${endEpoch - 1}${left}${until}; ${ending.files} files (${formatBytes(ending.bytes)}) end then`,
    ...paid.warnings.map(warning => `WARNING: ${warning}`),
  ];
};

const coin = (value: string | null): string => (value === null ? '?' : formatCoin(BigInt(value)));

/** What is broken; a daemon from before an upgrade may tell less. */
export const troubleLines = ({
  fault,
  damage = '',
}: Pick<StatusReport, 'fault' | 'damage'>): string[] => [
  ...(fault === '' ? [] : [`READ-ONLY: ${fault}`]),
  ...(damage === '' ? [] : [`DAMAGED: ${damage}`]),
];

/** How the mount is kept alive, where there is something to say. */
const keeperLines = ({ keeper, restarts, lastEnd }: StatusReport): string[] => [
  ...(restarts === 0
    ? []
    : [
        `daemon: started anew ${restarts === 1 ? 'once' : `${restarts} times`}, last after ${lastEnd}`,
      ]),
  ...(keeper === null ? ['keeper: gone; should the daemon die, the mount dies with it'] : []),
];

const describe = (report: StatusReport, { mountPoint }: Target): string => {
  const { durability, nodes, wallet, cost } = report;
  const troubled = nodes.filter(node => node.state === 'silent' || node.state === 'liar');
  return [
    `${report.volume} on ${report.network}, ${mountPoint === undefined ? `unmounted from ${report.mountPoint}, its daemon still works` : `mounted at ${mountPoint}`} (pid ${report.pid}${report.readOnly ? ', read-only' : ''})`,
    ...troubleLines(report),
    ...keeperLines(report),
    amount('received', durability.received),
    amount('local', durability.local),
    amount('certified', durability.certified),
    amount('checkpointed', durability.checkpointed),
    flushLine(report),
    `checkpoint: ${report.checkpoint === 0 ? 'none yet' : report.checkpoint}; epoch ${report.epoch ?? '?'}; cache ${formatBytes(report.cache.bytes)}`,
    ...paidLines(report),
    nodes.length === 0
      ? 'nodes: unknown'
      : `nodes: ${nodes.length - troubled.length} of ${nodes.length} in order`,
    ...troubled.map(
      node =>
        `  ${node.name} (${node.address}, ${node.shards} shards): ${node.state}: ${node.lastError}`,
    ),
    `wallet ${wallet.address}: ${coin(wallet.wal)} WAL, ${coin(wallet.sui)} SUI`,
    `cost so far: ${coin(cost.wal)} WAL, ${coin(cost.sui)} SUI for ${cost.packs} packs, ${formatBytes(cost.encodedBytes)} encoded`,
    ...limits(report),
    ...(report.networkError === '' ? [] : [`network: ${report.networkError}`]),
  ].join('\n');
};

const unmounted = (target: Target) => ({
  volume: target.name,
  network: target.settings.network,
  mountPoint: null,
  pid: null,
});

/** What a script finds of a volume whose daemon cannot be asked. */
const unasked = (name: string, { network }: VolumeSettings, error: unknown) => ({
  volume: name,
  network,
  mountPoint: null,
  pid: null,
  error: explained(error),
});

/** One volume, and what is to be said of it. */
type Answer =
  | { readonly target: Target; readonly report: StatusReport | ReturnType<typeof unmounted> }
  | { readonly failure: unknown; readonly report: ReturnType<typeof unasked> };

const ask = async (found: Promise<Target>): Promise<Answer> => {
  const target = await found;
  // A daemon may outlive its mount: while it sends the last files, or others keep files open.
  const report = target.isServed
    ? ((await callDaemon(target.paths.socket, 'status')) as StatusReport)
    : unmounted(target);
  return { target, report };
};

/** One daemon that cannot be asked hides nothing of the others. */
const askAll = (): Promise<Answer[]> =>
  Promise.all(
    Object.entries(loadSettings().volumes).map(([name, settings]) =>
      ask(targetOf(name, settings)).catch((failure: unknown) => ({
        failure,
        report: unasked(name, settings, failure),
      })),
    ),
  );

const textOf = (answer: Answer): string[] => {
  if ('failure' in answer) return [];
  const { report, target } = answer;
  return 'durability' in report
    ? [describe(report, target)]
    : [`${report.volume} on ${report.network}, not mounted`];
};

/** Adds the command. */
export const registerStatus = (program: Command): void => {
  program
    .command('status')
    .argument('[volume]', 'name of a volume, or where it is mounted; all when left out')
    .option('--json', 'print JSON')
    .description('show what is safe, what is under way and what it cost')
    .action(async (word: string | undefined, options: { json?: boolean }) => {
      const answers = word === undefined ? await askAll() : [await ask(findTarget(word))];
      const reports = answers.map(({ report }) => report);
      const texts = answers.flatMap(textOf);
      const json = options.json === true;
      if (json || texts.length > 0 || answers.length === 0)
        print(json, word === undefined ? reports : reports[0], () => texts.join('\n\n'));
      const failures = answers.flatMap(answer => ('failure' in answer ? [answer.failure] : []));
      for (const failure of failures.slice(1)) say(`tuskfs: ${explained(failure)}`);
      if (failures.length > 0) throw failures[0];
      if (reports.some(report => 'damage' in report && report.damage !== ''))
        process.exitCode = Exit.corrupt;
      else if (reports.some(report => 'paid' in report && report.paid.warnings.length > 0))
        process.exitCode = Exit.expiring;
    });
};
