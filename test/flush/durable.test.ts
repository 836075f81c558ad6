/** The order in which a flush makes its files durable (JOURNAL.md). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FlushVolume } from '../support/flush-volume.ts';

/** What was synced, in order: files by name, a pack's journal by its last step, directories with the kinds of pack files that are in them. */
const synced: string[] = vi.hoisted(() => []);
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>();
  const kindsIn = (directory: string): string[] =>
    fs.readdirSync(directory).flatMap(name => /^[0-9a-f]{32}\.(.*)/.exec(name)?.[1] ?? []);
  const wordsFor = (path: string): string => {
    if (fs.statSync(path).isDirectory())
      return [`${basename(path)}:`, ...kindsIn(path).sort()].join(' ');
    const name = basename(path).replace(/^[0-9a-f]{32}/, 'pack');
    if (name !== 'pack.jsonl') return name;
    return (JSON.parse(fs.readFileSync(path, 'utf8').trim().split('\n').at(-1)!) as Step).state;
  };
  const fsyncSync = (fd: number): void => {
    fs.fsyncSync(fd);
    synced.push(wordsFor(fs.readlinkSync(`/proc/self/fd/${fd}`)));
  };
  return { ...fs, fsyncSync };
});
type Step = { state: string };

let root: string;
let volume: FlushVolume;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'tuskfs-durable-'));
  volume = await FlushVolume.open(root);
});
afterEach(async () => {
  await volume.close();
  rmSync(root, { recursive: true, force: true });
});

test('nothing is announced, sent or let go of before what it rests on is on the disk', async () => {
  volume.write('file', 0, Buffer.alloc(100_000, 1));
  synced.length = 0;
  await volume.sync();
  await volume.flusher.settled();
  const whole = 'journal: draft index.db jsonl metadata';
  expect(synced).toEqual([
    ...['chosen', 'journal: jsonl'],
    ...['pack.draft.new', 'journal: draft jsonl', 'pack.pack', 'outbox: pack', 'sealed'],
    ...['pack.metadata.new', whole, 'encoded'],
    ...['register_signed', 'spent.jsonl', whole, 'registered', 'stored'],
    ...['certify_signed', 'spent.jsonl', 'certified', 'cache: pack'],
    ...['paid.json.new', whole, 'groups.json.new', whole],
    ...['head.json.new', 'journal: draft jsonl metadata', 'committed'],
    // The lines go first, and for good.
    'journal: draft metadata',
  ]);
});
