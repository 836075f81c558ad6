/** A daemon that has worked for long holds no more memory and no more descriptors than one that has just begun. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const minutes = Number(process.env.TUSK_MINUTES ?? 2);
/** Rounds after which caches have their size. */
const WARM_ROUNDS = 3;
const GROWTH_MIB_MAX = 150;
/** The first and the last rounds may take as long beside the minutes asked for. */
const ROUNDS_MS = 600_000;

const served = new Served('growth');
beforeAll(() => served.start());
afterAll(() => served.remove());

const residentMiB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${served.process.pid}/status`, 'utf8'))![1]) /
  1024;
const descriptors = (): number => readdirSync(`/proc/${served.process.pid}/fd`).length;

const round = (): Promise<string> =>
  served.sh(`cd drive; mkdir work; cd work
    python3 - <<'END'
import os
for i in range(3000):
    with open('f%d' % i, 'wb') as f: f.write(os.urandom(5000))
    if i % 2: os.rename('f%d' % i, 'r%d' % i)
for name in os.listdir('.'):
    with open(name, 'rb') as f: f.read()
END
    dd if=/dev/zero of=big bs=1M count=100 conv=fsync status=none; cmp -n 100M big /dev/zero
    cd ..; rm -rf work`);

test('memory and descriptors do not grow', { timeout: minutes * 60_000 + ROUNDS_MS }, async () => {
  const end = Date.now() + minutes * 60_000;
  for (let i = 0; i < WARM_ROUNDS; i++) await round();
  const before = { mebibytes: residentMiB(), descriptors: descriptors() };
  let rounds = 0;
  do {
    await round();
    rounds++;
  } while (Date.now() < end || rounds < WARM_ROUNDS);
  const after = { mebibytes: residentMiB(), descriptors: descriptors() };
  console.log(JSON.stringify({ rounds, before, after }));
  expect(after.mebibytes - before.mebibytes).toBeLessThan(GROWTH_MIB_MAX);
  expect(after.descriptors - before.descriptors).toBeLessThan(20);
});
