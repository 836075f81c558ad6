/** What the daemon tells the kernel arrives, and hangs neither of them (tenet 5). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const served = new Served('notify');
const at = (name: string): string => join(served.drive, name);

beforeAll(() => served.start());
afterAll(() => served.remove());

/** How often one of `operations` was requested while `work` ran. */
const requestsOf = async (operations: string, work: () => unknown): Promise<number> => {
  const count = async (): Promise<number> => {
    const requests = await served.requests();
    return operations.split(' ').reduce((sum, name) => sum + (requests[name] ?? 0), 0);
  };
  const before = await count();
  await work();
  return (await count()) - before;
};

test('an invalidated inode is asked for anew: attributes and content', async () => {
  fs.writeFileSync(at('f'), 'x'.repeat(10_000));
  fs.readFileSync(at('f'));
  const { ino } = fs.statSync(at('f'));
  const read = () => fs.readFileSync(at('f'));
  expect(await requestsOf('read', read)).toBe(0);
  await served.forgetInode(ino);
  expect(await requestsOf('read', read)).toBeGreaterThan(0);
  await served.forgetInode(ino);
  expect(await requestsOf('getattr statx', () => fs.statSync(at('f')))).toBe(1);
});

test('an invalidated name is looked up anew, also one that did not exist', async () => {
  fs.writeFileSync(at('known'), '');
  for (const name of ['known', 'missing']) {
    const look = () => fs.existsSync(at(name));
    look();
    expect(await requestsOf('lookup', look), name).toBe(0);
    await served.forgetName(1, name);
    expect(await requestsOf('lookup', look), name).toBe(1);
  }
});

test('invalidating a dirty inode hands its pages over first', async () => {
  const fd = fs.openSync(at('dirty'), 'w+');
  const content = Buffer.alloc(5_000_000, 'dirty');
  fs.writeSync(fd, content, 0, content.length, 0);
  const { ino } = fs.fstatSync(fd);
  expect(await requestsOf('write', () => served.forgetInode(ino))).toBeGreaterThan(0);
  expect(await requestsOf('read', () => fs.readFileSync(at('dirty')))).toBeGreaterThan(0);
  expect(fs.readFileSync(at('dirty')).equals(content)).toBe(true);
  fs.closeSync(fd);
});

test('invalidations while files are written and a directory is filled hang nobody', async () => {
  fs.mkdirSync(at('d'));
  fs.writeFileSync(at('d/busy'), '');
  const [directory, file] = [fs.statSync(at('d')).ino, fs.statSync(at('d/busy')).ino];
  const script = `
import os
f = os.open('busy', os.O_RDWR)
for i in range(3000):
    os.pwrite(f, b'%08d' % i * 512, i * 4096)
    os.close(os.open('n%d' % i, os.O_CREAT | os.O_WRONLY))
    if i % 3 == 0: os.rename('n%d' % i, 'r%d' % i)
`;
  const writer = spawn('python3', ['-c', script], { cwd: at('d'), stdio: 'inherit' });
  const exit = once(writer, 'exit');
  let rounds = 0;
  for (; writer.exitCode === null; rounds++) {
    await served.forgetInode(file);
    await served.forgetName(directory, `n${rounds}`);
    await served.forgetName(directory, 'busy');
    await served.forgetInode(directory);
  }
  expect([(await exit)[0], rounds > 3]).toEqual([0, true]);
  const content = fs.readFileSync(at('d/busy'));
  for (let i = 0; i < 3000; i++)
    expect(content.latin1Slice(i * 4096, i * 4096 + 8)).toBe(`${i}`.padStart(8, '0'));
  expect(fs.readdirSync(at('d'))).toHaveLength(3001);
});
