/** Facts about processes, from /proc: a pid alone says little, for pids are used again. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** When a process started, in clock ticks since boot; undefined if there is none. With the pid it names a process for ever (until reboot). */
export const startTicksOf = (pid: number): number | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold anything; field 22 of all is the 20th behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
};

/** Is the port of 127.0.0.1 free to listen on? */
export const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
