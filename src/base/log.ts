import pino from 'pino';

/** Structured logger of one room; messages are lower case, facts are fields. */
export type Logger = pino.Logger;

let root: Logger = pino(
  { level: process.env.TUSKFS_LOG ?? 'silent', base: null },
  pino.destination(2),
);

/** Sends the log of this thread to a file (JSON lines), synchronously so that a crash loses nothing. */
export const logToFile = (path: string, level = process.env.TUSKFS_LOG ?? 'info'): void => {
  const destination = pino.destination({ dest: path, sync: true, mkdir: true, mode: 0o600 });
  // A full disk costs lines of the log, nothing else.
  destination.on('error', () => {});
  root = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
};

/** The logger of a room: `log('flush').info({ pack }, 'pack certified')`. */
export const log = (room: string): Logger => root.child({ room });
