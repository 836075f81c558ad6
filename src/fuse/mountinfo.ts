/** The kernel's own list of mounts (/proc/self/mountinfo, proc_pid_mountinfo(5)). */
import { readFile } from 'node:fs/promises';

/** The type that our mounts have in the list. */
export const MOUNT_TYPE = 'fuse.tuskfs';

/** One mount. */
export interface MountEntry {
  /** Minor device number: also the name of the connection in /sys/fs/fuse/connections. */
  readonly minor: number;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

const plain = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );

/** Entries of the text of mountinfo, in mount order. */
export const parseMountInfo = (text: string): MountEntry[] => {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [front, back] = line.split(' - ', 2) as [string, string | undefined];
    const fields = front.split(' ');
    if (back === undefined || fields.length < 6) continue;
    const [type, source] = back.split(' ') as [string, string | undefined];
    entries.push({
      minor: Number(fields[2]!.split(':')[1]),
      mountPoint: plain(fields[4]!),
      type: plain(type),
      source: plain(source ?? ''),
    });
  }
  return entries;
};

/** The topmost mount at an absolute path, if it is a mount point. */
export const mountAt = async (path: string): Promise<MountEntry | undefined> =>
  parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8')).findLast(
    entry => entry.mountPoint === path,
  );

/**
 * Where the connection behind a descriptor of /dev/fuse is mounted now: at `path`, or where that went
 * when a directory above it was renamed. Older kernels do not tell: `path` then.
 */
export const placeOf = async (fd: number, path: string): Promise<string> => {
  const facts = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8').catch(() => '');
  const connection = Number(/^fuse_connection:\s*(\d+)$/m.exec(facts)?.[1]);
  const places = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'))
    .filter(({ type, minor }) => type === MOUNT_TYPE && minor === connection)
    .map(({ mountPoint }) => mountPoint);
  return places.includes(path) ? path : (places[0] ?? path);
};

/** A mount somewhere below an absolute path, the newest. */
export const mountBelow = async (path: string): Promise<MountEntry | undefined> =>
  parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8')).findLast(entry =>
    entry.mountPoint.startsWith(`${path}/`),
  );
