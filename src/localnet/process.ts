/** Processes of a localnet: how they are started, and facts about them from /proc (a pid alone says little, for pids are used again). */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/**
 * How Node.js is started where nodes run. Bodies come in pieces outside of the heap that are dead
 * at once. A small young generation gives them back before they are so many that the whole heap is
 * marked, again and again.
 */
export const HEAP_FLAGS = ['--max-semi-space-size=4'];

/** Fields of /proc/PID/stat behind the name, which may hold anything; undefined for no process or a zombie. */
const statOf = (pid: number): string[] | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields;
  } catch {
    return undefined;
  }
};

/** When a process started, in clock ticks since boot; undefined if there is none. With the pid it names a process for ever (until reboot). */
export const startTicksOf = (pid: number): number | undefined => {
  const ticks = statOf(pid)?.[19];
  return ticks === undefined ? undefined : Number(ticks);
};

/** Linux counts processor time in hundredths of a second, whatever its own clock. */
const TICK_MS = 10;

/** Processor time of all threads of a process since it started, in ms; 0 if there is none. */
export const cpuMsOf = (pid: number): number => {
  const fields = statOf(pid);
  return fields === undefined ? 0 : (Number(fields[11]) + Number(fields[12])) * TICK_MS;
};

/** Is the port of 127.0.0.1 free to listen on? */
export const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
