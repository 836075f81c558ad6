/**
 * A drive's life, in random order: several programs work on it and on a directory of the local
 * disk, while it is synced, its cache dropped, its daemon killed, stopped and restarted, nodes come
 * and go, epochs and prices change; between them it is mounted anew in every way. At the end
 * another machine restores it: whatever programs saw is what is there.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { Pair, randomCalls } from '../support/beside.ts';
import { otherMachine } from '../support/restore.ts';
import { Sandbox, until } from '../support/sandbox.ts';

const minutes = Number(process.env.TUSK_MINUTES ?? 0.2);
const seed = Number(process.env.TUSK_SEED ?? Date.now() % 1_000_000);
const PROGRAMS = 3;
const CALLS = 4000;
const CALLS_AT_ONCE = 50;
/** Together they hold at most 33 of 100 shards. */
const WEAK_NODES = ['2', '5', '6', '11'];

/** Nothing is renewed, so what was paid for must not end. */
const EPOCHS_PAID = 53;
const EPOCHS_MAX = 40;

const random = seededRandom(seed);
const box = new Sandbox('week');
const machines = [box];
let epochs = 0;
afterAll(() => Promise.all(machines.map(machine => machine.close())));

const pick = <T>(values: readonly T[]): T => values[random.below(values.length)]!;

/** A process stands still for a moment, as in a laptop that is closed. */
const freeze = async (pid: number, msMax: number): Promise<void> => {
  process.kill(pid, 'SIGSTOP');
  await sleep(random.below(msMax));
  process.kill(pid, 'SIGCONT');
};

/** A command that may be left with something pending. */
const mostly = async (args: string[]): Promise<void> => {
  const { status, stderr } = await box.tuskfs(args);
  if (status !== 0 && status !== 4) throw new Error(`${args.join(' ')}: ${status}: ${stderr}`);
};

/** What programs do not notice. */
const quiet: Record<string, () => Promise<unknown>> = {
  sync: () => mostly(['sync', 'main', '--timeout', `${1 + random.below(10)}s`]),
  drop: () => mostly(['cache', 'drop', 'main']),
  kernelDrop: () => box.sh('echo 1 > /proc/sys/vm/drop_caches'),
  killed: async () => {
    const { pid } = await box.where('main');
    process.kill(pid, 'SIGKILL');
    await until('the next daemon serves', async () => (await box.where('main')).pid !== pid);
  },
  restarted: () => box.ok(['restart', 'main']),
  suspended: async () => freeze(await box.pid('main'), 3000),
  networkStands: async () => freeze((await box.localnet()).pid, 4000),
  nodesStop: () => box.ok(['localnet', 'node', 'stop', ...WEAK_NODES]),
  nodesStart: () => box.ok(['localnet', 'node', 'start', ...WEAK_NODES]),
  misbehaves: () =>
    box.ok([
      ...['localnet', 'node', 'misbehave', pick(WEAK_NODES)],
      ...pick([['wrong-bytes'], ['truncated'], ['503'], ['slow=300'], ['silent'], []]),
    ]),
  epoch: async () => epochs++ < EPOCHS_MAX && box.ok(['localnet', 'epoch', 'advance']),
  price: () => box.ok(['localnet', 'price', `${1000 + random.below(9000)}`, '2000']),
  status: () => box.status('main'),
};

/** What needs closed files. */
const loud: Record<string, (mountPoint: string) => Promise<unknown>> = {
  mountedAnew: async mountPoint => {
    await mostly(['umount', mountPoint, '--timeout', `${random.below(20)}s`]);
    await box.mount('main');
  },
  mountedCold: async mountPoint => {
    await mostly(['umount', mountPoint]);
    await mostly(['cache', 'drop', 'main']);
    await box.mount('main');
  },
  killedWhole: async () => {
    await box.kill('main');
    await box.mount('main');
  },
  killedLeaving: async mountPoint => {
    const { pid } = await box.where('main');
    const leaving = box.tuskfs(['umount', mountPoint]);
    await sleep(random.below(3000));
    await box.run('kill', ['-9', `${pid}`]);
    await leaving;
    await box.tuskfs(['umount', mountPoint]);
    await box.mount('main');
  },
  terminated: async () => {
    const pid = await box.pid('main');
    process.kill(pid, 'SIGTERM');
    await until('it is gone', () => !existsSync(`/proc/${pid}`), 90_000);
    await box.mount('main');
  },
};

/** Files that fill slivers, made, changed and read on both sides; a shell a step. */
const bigStep = (mount: string, local: string): string => {
  const name = `f${random.below(6)}`;
  const at = random.below(6_000_000);
  const size = 1 + random.below(random.below(2) === 0 ? 100_000 : 6_000_000);
  const both = (words: string): string =>
    [mount, local].map(directory => `(cd ${directory}; ${words})`).join('; ');
  return pick([
    `head -c ${size} /dev/urandom > ${local}/${name}; cp -p ${local}/${name} ${mount}/${name}`,
    `head -c ${size} /dev/urandom > new; for d in ${mount} ${local}; do dd if=new of=$d/${name} bs=64K oflag=seek_bytes seek=${at} conv=notrunc status=none; done`,
    `head -c 3000 /dev/urandom > new; for d in ${mount} ${local}; do cat new >> $d/${name}; done`,
    both(`if [ -e ${name} ]; then mv ${name} g${random.below(6)}; fi`),
    both(`if [ -e ${name} ]; then cp ${name} g${random.below(6)}; fi`),
    both(`rm -f ${name}`),
    both(`truncate -s ${at} ${name}`),
    `for f in ${local}/${name} ${local}/g*; do if [ -e $f ]; then cmp $f ${mount}/\${f##*/}; fi; done`,
  ]);
};

/** Everything that stat(2) says, but for the device. */
const inodes = (machine: Sandbox, mountPoint: string): Promise<string> =>
  machine.sh(
    `find ${mountPoint} -printf '%P %i %M %n %U %G %s %b %T@ %C@ %A@ %l\n' | sed 's/^/x/' | sort`,
  );

test(
  `a week of a drive (TUSK_SEED=${seed})`,
  async () => {
    await box.startLocalnet();
    await box.ok(['create', 'main', '--network', 'localnet', '--epochs', `${EPOCHS_PAID}`]);
    const mountPoint = await box.mount('main');
    const before = await box.balance('main');
    const happened: string[] = [];
    const end = performance.now() + minutes * 60_000;
    const places = Array.from({ length: PROGRAMS + 1 }, (_, i) => {
      const directories = [`${mountPoint}/${i}`, box.path(`${i}`)] as const;
      for (const directory of directories) {
        mkdirSync(directory);
        chmodSync(directory, 0o777);
      }
      return directories;
    });
    const compare = async (root: string): Promise<void> => {
      for (const [i, [, local]] of places.entries()) {
        const pair = new Pair(`${root}/${i}`, local);
        await pair.compare().finally(() => pair.end());
      }
    };
    let calls = 0;
    let isOver = false;
    const work = async (place: number): Promise<void> => {
      const pair = new Pair(...places[place]!);
      try {
        const plan = randomCalls(random.below(2 ** 31), CALLS);
        for (let at = 0; !isOver; at = (at + CALLS_AT_ONCE) % CALLS) {
          await pair.run(plan.slice(at, at + CALLS_AT_ONCE));
          calls += CALLS_AT_ONCE;
        }
        await pair.compare();
      } finally {
        await pair.end();
      }
    };
    const workBig = async (): Promise<void> => {
      while (!isOver) await box.sh(bigStep(...places[PROGRAMS]!));
    };
    const happen = async (
      kind: Record<string, (mountPoint: string) => Promise<unknown>>,
    ): Promise<void> => {
      const name = pick(Object.keys(kind));
      happened.push(name);
      await kind[name]!(mountPoint);
    };
    try {
      while (performance.now() < end) {
        isOver = false;
        const working = Promise.all([
          ...Array.from({ length: PROGRAMS }, (_, i) => work(i)),
          workBig(),
        ]);
        const failed = working.then(() => new Promise<never>(() => undefined));
        for (let i = 0; i < 6; i++) await Promise.race([happen(quiet), failed]);
        isOver = true;
        await working;
        await happen(loud);
        await compare(mountPoint);
      }
      for (const node of WEAK_NODES) await box.ok(['localnet', 'node', 'misbehave', node]);
      await box.ok(['localnet', 'node', 'start', ...WEAK_NODES]);
      expect(await box.sync('main')).toMatchObject({ pending: '', pendingBytes: 0 });
      const { wal, sui, cost } = await box.balance('main');
      expect(before.wal - wal).toBe(BigInt(cost.wal));
      expect(before.sui - sui).toBe(BigInt(cost.sui));
      const stats = await inodes(box, mountPoint);
      await box.umount(mountPoint);
      const other = await otherMachine(box, 'main');
      machines.unshift(other);
      const restored = await other.mount('main', ['--read-only']);
      await compare(restored);
      expect(await inodes(other, restored)).toBe(stats);
      await other.umount(restored);
      expect(Math.min(calls, happened.length)).toBeGreaterThan(0);
    } catch (error) {
      console.log(`TUSK_SEED=${seed} vitest run --project drive test/drive/week.test.ts`);
      console.log(happened.join(' '));
      throw error;
    }
  },
  minutes * 60_000 + 300_000,
);
