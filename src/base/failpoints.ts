/**
 * Named points where a test may make the process die (SIGKILL) or fail. Off unless
 * `TUSKFS_FAILPOINTS` names them: `name` dies at the first pass, `name:3` at the third,
 * `name=error` throws, `name=uncaught` ends the thread by an error that nobody catches. A crash test
 * that planned a point which never fired must fail, so the point is written to
 * `TUSKFS_FAILPOINT_FILE` before it acts. A point that stands there has struck already: a daemon that
 * takes over from one that died of it does not die of it again.
 */
import { appendFileSync, readFileSync } from 'node:fs';

interface Plan {
  passesLeft: number;
  act: Act;
}

const ACTS = ['kill', 'error', 'uncaught'] as const;
type Act = (typeof ACTS)[number];

const file = process.env.TUSKFS_FAILPOINT_FILE;

/** Points that have struck, in this process or one before. */
const struck = (): string[] => {
  if (file === undefined) return [];
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
};

const plans = new Map<string, Plan>();
for (const item of (process.env.TUSKFS_FAILPOINTS ?? '').split(',').filter(Boolean)) {
  const [spec, act] = item.split('=') as [string, string | undefined];
  const [name, count] = spec.split(':') as [string, string | undefined];
  plans.set(name, { passesLeft: Number(count ?? 1), act: ACTS.find(one => one === act) ?? 'kill' });
}

if (plans.size > 0) for (const name of struck()) plans.delete(name);

/** A place where a planned fault strikes; costs one map lookup only when faults are planned. */
export const failpoint = (name: string): void => {
  if (plans.size === 0) return;
  const plan = plans.get(name);
  if (plan === undefined || --plan.passesLeft > 0) return;
  plans.delete(name);
  if (file !== undefined) appendFileSync(file, `${name}\n`);
  const error = new Error(`failpoint ${name}`);
  if (plan.act === 'error') throw error;
  if (plan.act === 'uncaught')
    setImmediate(() => {
      throw error;
    });
  else process.kill(process.pid, 'SIGKILL');
};
