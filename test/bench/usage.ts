/** What a process has used, as /proc tells it. */
import { readdirSync, readFileSync } from 'node:fs';

/** A number of one of the `status` files of /proc. */
const statusOf = (path: string, key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(readFileSync(path, 'latin1'))?.[1]);

const tasksOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map(task => `/proc/${pid}/task/${task}`);

/** Memory that it holds in 10⁶ bytes: all of it, mapped files included, the most of that ever, or what is its own alone. */
export const memoryMb = (pid: number, part: 'VmRSS' | 'VmHWM' | 'RssAnon' = 'VmRSS'): number =>
  (statusOf(`/proc/${pid}/status`, part) * 1024) / 1e6;

/** Processor time of its threads of now. */
export const cpuSeconds = (pid: number): number =>
  tasksOf(pid).reduce(
    (sum, task) => sum + Number(readFileSync(`${task}/schedstat`, 'latin1').split(' ')[0]) / 1e9,
    0,
  );

/** Times that its threads of now went to sleep. */
export const sleepsOf = (pid: number): number =>
  tasksOf(pid).reduce(
    (sum, task) => sum + statusOf(`${task}/status`, 'voluntary_ctxt_switches'),
    0,
  );
