import { openSync, writeSync } from 'node:fs';
import pino from 'pino';

/** Structured logger of one room; messages are lower case, facts are fields. */
export type Logger = pino.Logger;

/**
 * One write a line, at once, so that a crash loses nothing. A line that cannot be written is lost:
 * nothing may wait for a disk that is full or broken, least of all whoever serves the mount.
 */
const linesTo = (fd: number): pino.DestinationStream => ({
  write: line => {
    try {
      writeSync(fd, line);
    } catch {}
  },
});

let root: Logger = pino({ level: process.env.TUSKFS_LOG ?? 'silent', base: null }, linesTo(2));

/** Sends the log of this thread to a file (JSON lines). */
export const logToFile = (path: string, level = process.env.TUSKFS_LOG ?? 'info'): void => {
  const timestamp = pino.stdTimeFunctions.isoTime;
  root = pino({ level, base: null, timestamp }, linesTo(openSync(path, 'a', 0o600)));
};

/** The logger of a room: `log('flush').info({ pack }, 'pack certified')`. */
export const log = (room: string): Logger => root.child({ room });
