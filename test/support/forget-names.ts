/**
 * The directories of a disk that forgets: every name as programs see it, every name as the disk has
 * it, and the changes between that no fsync of a directory has confirmed. Strict: a file's own fsync
 * does not keep its name. What holds on every file system with a journal holds here: a rename
 * happens whole or not, and a change stays only if earlier changes of the same name or file do.
 */
import type { Ino, Name } from '../../src/base/ids.ts';
import type { Random } from '../../src/base/random.ts';
import type { Style } from './forget-file.ts';

/** A directory's names in the order of their cookies. */
export type Names = Map<Name, { ino: Ino; cookie: number }>;
type Tree = Map<Ino, Names>;

/** A place that a name may stand at. */
interface Place {
  readonly parent: Ino;
  readonly name: Name;
}

/** `ino` loses the name `from` and gains the name `to`. */
interface Unsynced {
  readonly at: number;
  readonly ino: Ino;
  readonly from: Place | undefined;
  readonly to: Place | undefined;
}

const touches = (change: Unsynced, parent: Ino): boolean =>
  change.from?.parent === parent || change.to?.parent === parent;

const keysOf = ({ ino, from, to }: Unsynced): string[] => [
  `${ino}`,
  ...[from, to].flatMap(place => (place === undefined ? [] : [`${place.parent}/${place.name}`])),
];

/** All directories. */
export class ForgetNames {
  #seen: Tree = new Map();
  #onDisk: Tree = new Map();
  #unsynced: Unsynced[] = [];
  #cookie = 0;

  /** Names of a directory, as programs see them. */
  of(directory: Ino): Names {
    let names = this.#seen.get(directory);
    if (names === undefined) this.#seen.set(directory, (names = new Map()));
    return names;
  }

  /** Takes a name from a file, gives it one, or both at once; `at` as in ForgetFile. */
  change(at: number, ino: Ino, from: Place | undefined, to: Place | undefined): void {
    const change = { at, ino, from, to };
    this.#apply(this.#seen, change);
    this.#unsynced.push(change);
  }

  /** fsync of a directory: what changed its names is on the disk, and what that rests on. */
  sync(directory: Ino): void {
    const wanted = new Set<string>();
    const kept = new Set<Unsynced>();
    for (const change of this.#unsynced.toReversed()) {
      const keys = keysOf(change);
      if (!touches(change, directory) && !keys.some(key => wanted.has(key))) continue;
      kept.add(change);
      for (const key of keys) wanted.add(key);
    }
    for (const change of this.#unsynced) if (kept.has(change)) this.#apply(this.#onDisk, change);
    this.#unsynced = this.#unsynced.filter(change => !kept.has(change));
  }

  /** The power fails; returns the number of changes forgotten. */
  cut(random: Random, style: Style, lastAt: number): number {
    const lost = new Set<string>();
    let forgotten = 0;
    for (const change of this.#unsynced) {
      const keys = keysOf(change);
      const isKept = { lost: false, kept: true, first: change.at <= lastAt, mixed: true }[style];
      const isLucky = style !== 'mixed' || random.below(2) === 0;
      if (isKept && isLucky && !keys.some(key => lost.has(key))) this.#apply(this.#onDisk, change);
      else {
        forgotten++;
        for (const key of keys) lost.add(key);
      }
    }
    this.#unsynced = [];
    this.#seen = new Map([...this.#onDisk].map(([ino, names]) => [ino, new Map(names)]));
    return forgotten;
  }

  /** What can be reached from `root`, it included; after a cut. */
  reachable(root: Ino): Set<Ino> {
    const found = new Set([root]);
    for (const ino of found) for (const entry of this.of(ino).values()) found.add(entry.ino);
    return found;
  }

  /** True if some name leads to the file, now or after a cut. */
  isNamed(ino: Ino): boolean {
    if (this.#unsynced.some(change => change.ino === ino)) return true;
    return [this.#seen, this.#onDisk].some(tree =>
      [...tree.values()].some(names => [...names.values()].some(entry => entry.ino === ino)),
    );
  }

  #apply(tree: Tree, { ino, from, to }: Unsynced): void {
    if (from !== undefined && tree.get(from.parent)?.get(from.name)?.ino === ino)
      tree.get(from.parent)!.delete(from.name);
    if (to === undefined) return;
    let names = tree.get(to.parent);
    if (names === undefined) tree.set(to.parent, (names = new Map()));
    names.delete(to.name);
    names.set(to.name, { ino, cookie: ++this.#cookie });
  }
}
