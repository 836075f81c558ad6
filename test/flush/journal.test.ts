/** What a crash can leave of a journal, and what becomes of it. */
import {
  appendFileSync,
  fsyncSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openJournals, PackJournal, sweepJournals, wholeLines } from '../../src/flush/journal.ts';
import { SpentLedger } from '../../src/flush/state.ts';

vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>();
  return { ...fs, fsyncSync: vi.fn(fs.fsyncSync) };
});

const [PACK, OTHER] = ['a1'.repeat(16), 'b2'.repeat(16)];

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-journal-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('a torn last line does not count, and the next one is whole', () => {
  const journal = new PackJournal(directory, PACK);
  journal.add({ state: 'chosen' });
  appendFileSync(journal.path('jsonl'), '{"state":"sealed","si');

  const again = new PackJournal(directory, PACK);
  expect(again.state.size).toBe(0);
  again.add({ state: 'sealed', size: 7, nShards: 10 });
  expect(wholeLines(again.path('jsonl'))).toHaveLength(2);
  expect(new PackJournal(directory, PACK).state).toMatchObject({ size: 7, nShards: 10 });
});

test('a line that the disk refused to keep is not found by the next flush, which would take it for proven', () => {
  const journal = new PackJournal(directory, PACK);
  const tx = { digest: 'one' } as never;
  for (const entry of [{ state: 'chosen' }, { state: 'register_signed', tx }] as const) {
    vi.mocked(fsyncSync).mockImplementationOnce(() => {
      throw new Error('EIO: i/o error, fsync');
    });
    const before = wholeLines(journal.path('jsonl'));
    expect(() => journal.add(entry)).toThrow('EIO');
    expect(wholeLines(journal.path('jsonl'))).toEqual(before);
    expect(new PackJournal(directory, PACK).state.registerTx).toBeUndefined();
    vi.mocked(fsyncSync).mockClear();
    new PackJournal(directory, PACK).add(entry);
    // With the first line that stays, the name is made durable.
    expect(vi.mocked(fsyncSync)).toHaveBeenCalledTimes(entry.state === 'chosen' ? 2 : 1);
  }
  expect(new PackJournal(directory, PACK).state.registerTx).toEqual(tx);
});

test('an altered line is named, with what is safe and what to do', () => {
  const journal = new PackJournal(directory, PACK);
  journal.add({ state: 'chosen' });
  journal.add({ state: 'sealed', size: 7, nShards: 10 });
  const path = journal.path('jsonl');
  for (const altered of ['{"state":"chosen"', 'null', '{"state":"chosem"}']) {
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^.*/, altered));
    expect(() => openJournals(directory)).toThrow(
      expect.objectContaining({
        code: 'damaged',
        message: expect.stringMatching(
          `^line 1 of ${path} cannot be read: .*staged files are safe.*Restore it; or move ${path} away`,
        ),
      }),
    );
  }
  const spent = join(directory, 'spent.jsonl');
  writeFileSync(spent, '{"digest":"one","wal":"5","sui":"x2","encodedBytes":1}\n');
  expect(() => new SpentLedger(directory)).toThrow(`line 1 of ${spent} cannot be read`);
});

test('costs are summed behind a torn line', () => {
  const paid = (digest: string) => ({
    digest,
    ok: true,
    walSpent: 5n,
    suiSpent: 2n,
    error: '',
  });
  new SpentLedger(directory).add(paid('one'), 1);
  appendFileSync(join(directory, 'spent.jsonl'), '{"digest":"tw');
  new SpentLedger(directory).add(paid('two'), 1);
  expect(new SpentLedger(directory).spent).toMatchObject({ wal: 10n, sui: 4n, packs: 2 });
});

test('files of a pack without lines are swept up; nothing else is', () => {
  const journal = new PackJournal(directory, PACK);
  journal.add({ state: 'chosen' });
  for (const name of [
    ...[`${PACK}.draft`, `${OTHER}.draft`, `${OTHER}.metadata`, `${OTHER}.draft.new`],
    ...[`${OTHER}.index.db`, 'head.json', 'groups.json', 'checkpoint.db', 'spent.jsonl'],
  ]) {
    writeFileSync(join(directory, name), 'x');
  }
  sweepJournals(directory);
  expect(readdirSync(directory).sort()).toEqual(
    [
      ...[`${PACK}.draft`, `${PACK}.jsonl`],
      ...['checkpoint.db', 'groups.json', 'head.json', 'spent.jsonl'],
    ].sort(),
  );
  expect(openJournals(directory).map(({ packId }) => packId)).toEqual([PACK]);

  journal.remove();
  expect(readdirSync(directory).filter(name => name.startsWith(PACK))).toEqual([]);
});
