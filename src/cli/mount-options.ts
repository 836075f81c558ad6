/**
 * Options of mount(8), as `-o` and fstab give them: the drive's own, the kernel's flags, and what
 * fstab alone means, which is passed over.
 */
import { messageOf, TuskError } from '../base/errors.ts';
import type { DaemonConfig } from '../daemon/config.ts';
import { byteSize, ratePlan } from './options.ts';

/** Flags of mount(2): what sets one and what takes it back. */
const KERNEL: readonly (readonly [set: string, unset: string, flag: number])[] = [
  ['nosuid', 'suid', 1 << 1],
  ['nodev', 'dev', 1 << 2],
  ['noexec', 'exec', 1 << 3],
  ['sync', 'async', 1 << 4],
  ['noatime', 'atime', 1 << 10],
  ['nodiratime', 'diratime', 1 << 11],
  ['relatime', 'norelatime', 1 << 21],
  ['strictatime', 'nostrictatime', 1 << 24],
  ['lazytime', 'nolazytime', 1 << 25],
];
const FSTAB = new Set(
  'defaults auto noauto user nouser users nousers owner noowner group nogroup nofail _netdev silent loud'.split(
    ' ',
  ),
);
const FSTAB_VALUE = /^(x-|X-|comment=|user=|helper=|uhelper=)/;
const ID_MAX = 2 ** 32 - 2;

/** A list of options, understood. */
export interface MountWords {
  /** Of a `remount`: only `readOnly` and `kernel` mean anything. */
  remount: boolean;
  readOnly: boolean;
  allowOther: boolean;
  shown: DaemonConfig['shown'];
  sizeBytes: number | undefined;
  /** Limits of upload and download, where they are given. */
  limits: Partial<DaemonConfig['limits']>;
  /** The drive's own options as they were given. */
  readonly drive: string[];
  /** Words for the kernel, `ro` and `rw` not among them. */
  readonly kernel: string[];
  /** What they mean as flags of mount(2). */
  flags: number;
  /** What nobody knows. */
  readonly unknown: string[];
}

const identity = (name: string, text: string): number => {
  const id = Number(text);
  if (!/^\d+$/.test(text) || id > ID_MAX)
    throw new Error(`${name} must be a number from 0 to ${ID_MAX}.`);
  return id;
};

const maskOf = (text: string): number => {
  if (!/^0?[0-7]{1,3}$/.test(text)) throw new Error('umask must be an octal number from 0 to 777.');
  return Number.parseInt(text, 8);
};

/** What a word of the form NAME=VALUE does. */
const VALUES: Record<string, (words: MountWords, value: string) => void> = {
  uid: (words, value) => (words.shown = { ...words.shown, uid: identity('uid', value) }),
  gid: (words, value) => (words.shown = { ...words.shown, gid: identity('gid', value) }),
  umask: (words, value) => (words.shown = { ...words.shown, umask: maskOf(value) }),
  size: (words, value) => (words.sizeBytes = byteSize(value)),
  limit_upload: (words, value) => (words.limits = { ...words.limits, upload: ratePlan(value) }),
  limit_download: (words, value) => (words.limits = { ...words.limits, download: ratePlan(value) }),
};

const PLAIN: Record<string, (words: MountWords) => void> = {
  ro: words => (words.readOnly = true),
  rw: words => (words.readOnly = false),
  remount: words => (words.remount = true),
  allow_other: words => (words.allowOther = true),
};

const setValue = (words: MountWords, name: string, value: string): void => {
  try {
    VALUES[name]!(words, value);
  } catch (cause) {
    const reason = messageOf(cause);
    throw new TuskError('usage', `option ${name}=${value}: ${reason} Nothing was mounted.`, {
      cause,
    });
  }
};

/** Enters a word for the kernel; false if it is none. */
const setFlag = (words: MountWords, word: string): boolean => {
  const found = KERNEL.find(([set, unset]) => word === set || word === unset);
  if (found === undefined) return false;
  const [set, , flag] = found;
  words.kernel.push(word);
  words.flags = word === set ? words.flags | flag : words.flags & ~flag;
  return true;
};

/** Understands lists of options, separated by commas; of two that contradict, the last one counts. Throws `usage` for a value that cannot be. */
export const mountWords = (...lists: string[]): MountWords => {
  const words: MountWords = {
    ...{ remount: false, readOnly: false, allowOther: false, shown: {}, sizeBytes: undefined },
    ...{ limits: {}, drive: [], kernel: [], flags: 0, unknown: [] },
  };
  for (const option of lists.flatMap(list => list.split(',')).filter(Boolean)) {
    const [name, value] = option.split(/=(.*)/s, 2) as [string, string | undefined];
    const isPlain = value === undefined && Object.hasOwn(PLAIN, name);
    const isValued = value !== undefined && Object.hasOwn(VALUES, name);
    if (isPlain) PLAIN[name]!(words);
    if (isValued) setValue(words, name, value);
    if (isPlain || isValued) words.drive.push(option);
    else if (setFlag(words, option)) continue;
    else if (!FSTAB.has(option) && !FSTAB_VALUE.test(option)) words.unknown.push(option);
  }
  return words;
};
