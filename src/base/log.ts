import pino from 'pino';

/** Structured logger of one room; messages are lower case, facts are fields. */
export type Logger = pino.Logger;

let root: Logger = pino(
  { level: process.env.TUSKFS_LOG ?? 'silent', base: null },
  pino.destination(2),
);

/** Sends the log of this thread to a file (JSON lines), synchronously so that a crash loses nothing. */
export const logToFile = (path: string, level = process.env.TUSKFS_LOG ?? 'info'): void => {
  root = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: path, sync: true, mkdir: true, mode: 0o600 }),
  );
};

/** The logger of a room: `log('flush').info({ pack }, 'pack certified')`. */
export const log = (room: string): Logger => root.child({ room });
