/**
 * Starting, asking and stopping a localnet from another process: the command line and tests. The
 * daemon is a child of its own session; it is ours if it answers on the directory's control socket,
 * or if pid and start time are the recorded ones.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../base/clock.ts';
import { type ErrorCode, TuskError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import { workerUrl } from '../base/worker.ts';
import type { DaemonReport } from './daemon.ts';
import { portOf } from './genesis.ts';
import {
  type NetworkFile,
  type NetworkParameters,
  type NetworkPaths,
  networkPaths,
  readNetwork,
  settle,
  type Tip,
  writeNetwork,
} from './parameters.ts';
import { HEAP_FLAGS, isFree, startTicksOf } from './process.ts';
import { callControl, notRunning } from './socket.ts';
import type { LocalnetStatus } from './status.ts';

const START_MS_MAX = 60_000;
/** A daemon that neither answers nor ends is waited for so long. */
const SETTLE_MS_MAX = 10_000;
const STOP_MS_MAX = 20_000;
/** Nodes in processes of their own outlive a killed daemon by an instant. */
const PORT_WAIT_MS = 2_000;

/** Status of the localnet in a directory; `not_found` if none runs. */
export const localnetStatus = (directory: string): Promise<LocalnetStatus> =>
  callControl(networkPaths(directory), 'status');

/** Makes nodes refuse connections until they are started again. */
export const stopNodes = (directory: string, nodes: readonly number[]): Promise<void> =>
  callControl(networkPaths(directory), 'stopNodes', { nodes });

/** Starts nodes that were stopped. */
export const startNodes = (directory: string, nodes: readonly number[]): Promise<void> =>
  callControl(networkPaths(directory), 'startNodes', { nodes });

/** Lets nodes misbehave in these ways (see `MODES`) and no others; none of them: they behave again. */
export const misbehave = (
  directory: string,
  nodes: readonly number[],
  modes: readonly string[],
): Promise<void> => callControl(networkPaths(directory), 'misbehave', { nodes, modes });

/** What the upload relay wants to be paid from now on, in MIST. */
export const setTip = (directory: string, tip: Tip): Promise<void> =>
  callControl(networkPaths(directory), 'setTip', tip);

/** Pid of the recorded daemon while it lives. */
const recordedPid = (paths: NetworkPaths): number | undefined => {
  if (!existsSync(paths.daemon)) return undefined;
  const text = readFileSync(paths.daemon, 'utf8');
  const { pid, startTicks } = JSON.parse(text) as { pid: number; startTicks: number };
  return startTicksOf(pid) === startTicks ? pid : undefined;
};

/**
 * Status of a daemon that runs, undefined if none does. One that is just starting or ending (its
 * process lives, but nobody answers) is waited for.
 */
const runningStatus = async (paths: NetworkPaths): Promise<LocalnetStatus | undefined> => {
  const deadlineMs = systemClock.monotonicMs() + SETTLE_MS_MAX;
  for (;;) {
    try {
      return await callControl<LocalnetStatus>(paths, 'status');
    } catch (error) {
      if (!(error instanceof TuskError)) throw error;
      const pid = recordedPid(paths);
      if (pid === undefined && error.code === 'not_found') return undefined;
      if (systemClock.monotonicMs() > deadlineMs) {
        throw new TuskError(
          'timeout',
          `the localnet of ${paths.root} (process ${pid ?? 'unknown'}) does not answer; see ${paths.log}`,
          { cause: error },
        );
      }
    }
    await systemClock.sleep(50);
  }
};

const becomesFree = async (port: number, waitMs: number): Promise<boolean> => {
  const deadlineMs = systemClock.monotonicMs() + waitMs;
  while (!(await isFree(port))) {
    if (systemClock.monotonicMs() >= deadlineMs) return false;
    await systemClock.sleep(50);
  }
  return true;
};

const checkPorts = async (network: NetworkFile, isNew: boolean): Promise<void> => {
  for (let index = -1; index <= network.nodes; index++) {
    const port = portOf(network, index);
    if (await becomesFree(port, isNew ? 0 : PORT_WAIT_MS)) continue;
    const user =
      index < 0 ? 'the ledger' : index < network.nodes ? `node ${index}` : 'the upload relay';
    const cure = isNew
      ? 'choose others with --port'
      : 'its ports are on the ledger and cannot change; make another localnet with --dir and --port';
    throw new TuskError(
      'busy',
      `port ${port} of 127.0.0.1 is taken, and ${user} of the localnet needs it. End what uses it, or ${cure}.`,
    );
  }
};

const launch = (paths: NetworkPaths, tethered: boolean): Promise<LocalnetStatus> =>
  new Promise((resolve, reject) => {
    const logFd = openSync(paths.log, 'a', 0o600);
    const entry = fileURLToPath(workerUrl(import.meta.url, './daemon'));
    const child = spawn(
      process.execPath,
      [...HEAP_FLAGS, entry, paths.root, ...(tethered ? ['--tethered'] : [])],
      {
        detached: true,
        stdio: ['ignore', logFd, logFd, 'ipc'],
        // Many slivers are synced to disk at a time.
        env: { UV_THREADPOOL_SIZE: '16', ...process.env },
      },
    );
    closeSync(logFd);
    const settleWith = (act: () => void) => {
      clearTimeout(timer);
      child.removeAllListeners();
      if (!tethered && child.connected) child.disconnect();
      child.channel?.unref();
      child.unref();
      act();
    };
    const failed = (code: ErrorCode, why: string) =>
      settleWith(() => reject(new TuskError(code, `the localnet did not start: ${why}`)));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      failed('timeout', `it was not usable within ${START_MS_MAX / 1000} s; see ${paths.log}`);
    }, START_MS_MAX);
    child.once('error', error => failed('io', error.message));
    child.once('exit', code => failed('io', `its process ended with ${code}; see ${paths.log}`));
    child.once('message', message => {
      const report = message as DaemonReport;
      if ('status' in report) settleWith(() => resolve(report.status));
      else failed(report.code, report.message);
    });
  });

/** Starts the localnet of a directory, or finds it running; returns when it is usable. */
export const runLocalnet = async (
  directory: string,
  asked: Partial<NetworkParameters>,
  tethered = false,
): Promise<{ status: LocalnetStatus; started: boolean }> => {
  const paths = networkPaths(directory);
  const saved = readNetwork(paths);
  const network = settle(paths, saved, asked);
  const running = await runningStatus(paths);
  if (running !== undefined) return { status: running, started: false };
  await checkPorts(network, saved === undefined);
  writeNetwork(paths, network);
  return { status: await launch(paths, tethered), started: true };
};

/** Ends the localnet of a directory and waits for it; `not_found` if none runs. Returns its pid. */
export const stopLocalnet = async (directory: string): Promise<number> => {
  const paths = networkPaths(directory);
  const answers = await callControl<LocalnetStatus>(paths, 'status').catch(() => undefined);
  const pid = answers?.pid ?? recordedPid(paths);
  if (pid === undefined) throw notRunning(paths);
  const startTicks = startTicksOf(pid);
  process.kill(pid, 'SIGTERM');
  const deadlineMs = systemClock.monotonicMs() + STOP_MS_MAX;
  while (startTicks !== undefined && startTicksOf(pid) === startTicks) {
    if (systemClock.monotonicMs() > deadlineMs) {
      throw new TuskError(
        'timeout',
        `the localnet (process ${pid}) did not end within ${STOP_MS_MAX / 1000} s; see ${paths.log}`,
      );
    }
    await systemClock.sleep(20);
  }
  return pid;
};

/** Calls the ledger's administration; answers and errors are its own. */
export const callLedger = async <T>(rpcUrl: string, path: string, body: unknown): Promise<T> => {
  const response = await fetch(`${rpcUrl}/localnet/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const json = (await response.json()) as { error?: { code: ErrorCode; message: string } };
  if (json.error !== undefined) throw new TuskError(json.error.code, json.error.message);
  return json as T;
};

/** Coins from the faucet; amounts in FROST and MIST as decimal strings. */
export const faucet = (
  rpcUrl: string,
  address: string,
): Promise<{ digest: string; wal: string; sui: string }> =>
  callLedger(rpcUrl, 'faucet', { address });

/** New prices at once, in FROST a unit. */
export const setPrices = (rpcUrl: string, storage: bigint, write: bigint): Promise<void> =>
  callLedger(rpcUrl, 'price', { storage: String(storage), write: String(write) });

/** Stakes of nodes in FROST, by index, from the next epoch on: shards follow them. */
export const setStakes = (
  rpcUrl: string,
  stakes: readonly { node: number; frost: string }[],
): Promise<void> => callLedger(rpcUrl, 'stake', { stakes });

/** Ends the current epoch `by` times; returns the new one. */
export const advanceEpoch = (rpcUrl: string, by = 1): Promise<{ epoch: number }> =>
  callLedger(rpcUrl, 'epoch/advance', { by });

/** Lowest of `count` free ports in a row, from a range that the system gives to nobody by itself. */
export const freePorts = async (count: number): Promise<number> => {
  for (;;) {
    const base = 12_000 + systemRandom.below(18_000 - count);
    const all = await Promise.all(Array.from({ length: count }, (_, i) => isFree(base + i)));
    if (all.every(Boolean)) return base;
  }
};
