/** How many files a daemon may have open: with too few of them it would fail in the middle of its work. */
import { readFileSync } from 'node:fs';
import { TuskError } from '../base/errors.ts';

/** Mapped log segments and those that a flush reads, connections to nodes, databases; the usual limits are higher. */
const DESCRIPTORS_MIN = 1024;

/** Throws `mount_failed` if this process may have too few files open; Node.js has raised its soft limit to the hard one. */
export const needDescriptors = (name: string): void => {
  const limit = Number(
    /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1],
  );
  if (limit < DESCRIPTORS_MIN)
    throw new TuskError(
      'mount_failed',
      `the daemon of ${name} may have ${limit} files open, and ${DESCRIPTORS_MIN} is the least; nothing was mounted, and what is staged is safe. Raise the hard limit (\`ulimit -Hn\`, LimitNOFILE= of a systemd unit) and mount again`,
    );
};
