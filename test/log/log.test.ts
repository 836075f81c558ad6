import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turnOfLoop } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Log } from '../../src/log/log.ts';
import { segmentPath, slotsIn, stagedPlace } from '../../src/log/place.ts';
import { LogReader } from '../../src/log/reader.ts';
import { type LogPosition, RECORD_HEADER_BYTES } from '../../src/log/record.ts';
import { native } from '../../src/native.ts';
import { until } from '../support/sandbox.ts';

const KiB = 1024;
const SEGMENT = 256 * KiB;
const START: LogPosition = { slot: 0, offset: 0, seq: 0, crc: 0 };
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tuskfs-log-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const openLog = (end = START, where = directory): Log =>
  new Log({ directory: where, segmentBytes: SEGMENT, reserveBytes: 0, end });

/** Appends a record; returns the address of its data. */
const append = (log: Log, mutations: string, data: Buffer): number => {
  const room = log.reserve(mutations.length, data.length, false)!;
  const scratch = Buffer.alloc(RECORD_HEADER_BYTES + mutations.length);
  scratch.write(mutations, RECORD_HEADER_BYTES, 'latin1');
  log.append(room, { request: 8, timeMs: 5, inodes: 6, contentBytes: 7 }, scratch, data);
  return room.dataAddr;
};

const fail = (): never => {
  throw new Error('EIO: fdatasync of a segment');
};

const readAll = (where: string, applied = 0): { texts: string[]; end: LogPosition } => {
  const reader = new LogReader(where, applied);
  const texts: string[] = [];
  for (let record = reader.next(true); record !== undefined; record = reader.next(true))
    texts.push(`${record.seq}:${record.mutations.latin1Slice()}:${record.dataBytes}`);
  const end = reader.position;
  reader.close();
  return { texts, end };
};

test('crc32c is Castagnoli and continues', () => {
  const digits = Buffer.from('123456789');
  expect(native.crc32c(digits, 0, 9, 0)).toBe(0xe3069283);
  expect(native.crc32c(digits, 4, 9, native.crc32c(digits, 0, 4, 0))).toBe(0xe3069283);
});

test('records come back across segments, from any of them on, with their data in place', async () => {
  const log = openLog();
  const expected: string[] = [];
  const places: { addr: number; byte: number; length: number }[] = [];
  for (let i = 1; i <= 60; i++) {
    const length = i % 3 === 0 ? 70 * KiB : i * 11;
    const addr = append(log, `m${i}`, Buffer.alloc(length, i));
    if (length >= 64 * KiB) expect(addr % 4096).toBe(0);
    places.push({ addr, byte: i, length });
    expected.push(`${i}:m${i}:${length}`);
    if (i === 30) await log.sync();
  }
  for (const { addr, byte, length } of places) {
    const bytes = length === 0 ? Buffer.alloc(0) : log.segments.bytes(addr, length);
    expect(Buffer.alloc(length, byte).equals(bytes as Buffer)).toBe(true);
    const { path, offset } = stagedPlace(directory, addr);
    expect(readFileSync(path).subarray(offset, offset + length)[length - 1]).toBe(byte);
  }
  await log.close();
  expect(log.syncedSeq).toBe(60);
  expect(slotsIn(directory).length).toBeGreaterThan(5);
  expect(readAll(directory).texts).toEqual(expected);
  for (const applied of [1, 17, 42, 60])
    expect(readAll(directory, applied).texts).toEqual(expected.slice(applied));
});

test('appending reads nothing from the disk when the kernel has forgotten the pages', async () => {
  const log = openLog();
  await until('a spare is filled', () => log.segments.hasWarm, 20_000);
  log.roll(false);
  await log.sealed();
  const [slot] = slotsIn(directory);
  execFileSync('dd', [
    `if=${segmentPath(directory, slot!)}`,
    'iflag=nocache',
    'count=0',
    'status=none',
  ]);
  const readBytes = (): number =>
    Number(/^read_bytes: (\d+)$/m.exec(readFileSync('/proc/thread-self/io', 'latin1'))![1]);
  const before = readBytes();
  for (let i = 1; i <= 30; i++) append(log, `m${i}`, Buffer.alloc(i * 200, i));
  append(log, 'aligned', Buffer.alloc(70 * KiB, 1));
  // The page of the segment's header apart.
  expect(readBytes() - before).toBeLessThanOrEqual(4 * KiB);
  await log.close();
  expect(readAll(directory).texts).toHaveLength(31);
});

test('a tail torn at any byte ends the replay before it, and what follows replaces it', async () => {
  const log = openLog();
  for (let i = 1; i <= 3; i++) append(log, `record ${i}`, Buffer.alloc(40, i));
  await log.close();
  const path = segmentPath(directory, slotsIn(directory)[0]!);
  const whole = readFileSync(path);
  const last = whole.lastIndexOf(Buffer.from('TKLR'));
  const other = join(directory, 'other');
  const torn = segmentPath(other, 1);
  for (let cut = last; cut < last + RECORD_HEADER_BYTES + 8 + 40; cut++) {
    mkdirSync(other, { recursive: true });
    const bytes = Buffer.from(whole);
    // Every byte counts, also where the lost one happened to be zero.
    bytes[cut] = bytes[cut]! ^ 0x55;
    writeFileSync(torn, bytes);
    expect(readAll(other).texts.length, `byte ${cut}`).toBe(2);
  }
  // A new third record of the same length, before the old fourth: the old one must not come back.
  const { end } = readAll(other);
  const again = openLog(end, other);
  append(again, 'RECORD 3', Buffer.alloc(40, 9));
  await again.close();
  expect(readAll(other).texts).toEqual(['1:record 1:40', '2:record 2:40', '3:RECORD 3:40']);
});

test('records behind a torn one never come back, although their bytes are whole', async () => {
  const log = openLog();
  for (let i = 1; i <= 5; i++) append(log, `record ${i}`, Buffer.alloc(40, i));
  await log.close();
  const path = segmentPath(directory, 1);
  const bytes = readFileSync(path);
  bytes[bytes.indexOf('record 3')]! ^= 1;
  writeFileSync(path, bytes);
  const { texts, end } = readAll(directory);
  expect(texts.length).toBe(2);
  const again = openLog(end);
  append(again, 'renewed3', Buffer.alloc(40, 3));
  await again.close();
  expect(readAll(directory).texts.length).toBe(3);
});

test('a segment that followed other records than those before it now never comes back', async () => {
  const log = openLog();
  for (let i = 1; i <= 4; i++) append(log, `record ${i}`, Buffer.alloc(100 * KiB, i));
  await log.close();
  const [first, second] = [1, 2].map(slot => segmentPath(directory, slot));
  const left = readFileSync(second!);
  const bytes = readFileSync(first!);
  bytes[bytes.indexOf('record 2')]! ^= 1;
  writeFileSync(first!, bytes);
  const { texts, end } = readAll(directory);
  expect(texts).toHaveLength(1);
  const again = openLog(end);
  append(again, 'renewed2', Buffer.alloc(100 * KiB, 2));
  await again.close();
  writeFileSync(second!, left);
  expect(readAll(directory).texts.map(text => text.split(':')[1])).toEqual([
    'record 1',
    'renewed2',
  ]);
});

test('what a file held in an earlier life is no record to whoever follows the log', async () => {
  const log = openLog();
  // Content that looks like record 3, at every page.
  const page = Buffer.alloc(4096);
  page.write('TKLR');
  for (const [at, value] of [
    [8, 6],
    [16, 3],
    [48, RECORD_HEADER_BYTES + 6],
  ] as const)
    page.writeUInt32LE(value, at);
  page.write('forged', RECORD_HEADER_BYTES);
  append(log, 'first', Buffer.alloc(SEGMENT - 4096, page));
  const { slot } = log.head!;
  log.roll(false);
  await log.sealed();
  await log.segments.free(log.segments.get(slot), false);
  // Until the log goes on in that file.
  const isBack = () => readFileSync(segmentPath(directory, log.head!.slot)).includes('forged');
  while (!isBack()) log.roll(false);

  append(log, 'second', Buffer.alloc(64 * KiB));
  const reader = new LogReader(directory, 1);
  expect(reader.next(false)?.mutations.latin1Slice()).toBe('second');
  log.roll(false);
  append(log, 'third', Buffer.alloc(100));
  reader.follow();
  expect(reader.next(false)?.mutations.latin1Slice()).toBe('third');
  expect(reader.next(false)).toBeUndefined();
  reader.close();
  await log.close();
});

test('a log that lost the records which the index needs is refused', async () => {
  const log = openLog();
  for (let i = 1; i <= 12; i++) append(log, `record ${i}`, Buffer.alloc(60 * KiB, i));
  await log.close();
  rmSync(segmentPath(directory, 1));
  expect(() => readAll(directory)).toThrow(/begins with record/);
  expect(readdirSync(directory).every(name => name.endsWith('.seg'))).toBe(true);
});

test('slots go on behind every file that is there, also one that was never begun for good', async () => {
  writeFileSync(segmentPath(directory, 7), Buffer.alloc(SEGMENT, 1));
  const log = openLog();
  append(log, 'a', Buffer.alloc(10));
  await log.sync();
  expect(slotsIn(directory)).toEqual([8]);
  await log.close();
});

test('a short sync is over when it was asked for, unless somebody else asks meanwhile', async () => {
  const log = openLog();
  append(log, 'a', Buffer.alloc(0));
  await log.sync();
  // A busy machine may take longer than anybody waits, once.
  const syncNow = (company: number): boolean => {
    append(log, 'b', Buffer.alloc(0));
    return log.syncNow(company);
  };
  await until('a sync of less than 0.5 ms', () => syncNow(-1));
  expect(log.syncedSeq).toBe(log.lastSeq);
  expect(log.syncNow(-1)).toBe(true);

  const alwaysReadable = openSync('/dev/zero', 'r');
  await until('a sync of more than no time', () => !syncNow(alwaysReadable));
  expect(log.syncedSeq).toBeLessThan(log.lastSeq);
  await log.sync();
  expect(log.syncedSeq).toBe(log.lastSeq);
  closeSync(alwaysReadable);
  await log.close();
});

test('a segment is there after a power loss once it was said so, whatever is being synced meanwhile', async () => {
  const log = openLog();
  append(log, 'm', Buffer.alloc(100));
  const earlier = log.sync();
  log.roll(false);
  await log.sealed();
  expect(log.segments.namesChanged).toBe(false);
  await earlier;
  log.roll(false);
  // One who asks while another syncs the names does not take that for done.
  const naming = log.segments.syncNames(true);
  expect(log.segments.namesChanged).toBe(true);
  await naming;
  expect(log.segments.namesChanged).toBe(false);
  await log.close();
});

test.each([
  ['at once', () => fail()],
  ['later', async () => fail()],
] as const)(
  'a sync that fails (%s) ends the log, though the next would succeed',
  async (_, sync) => {
    const log = openLog();
    await log.sync();
    const failures: string[] = [];
    log.listen(
      () => {},
      error => failures.push(error.message),
    );
    append(log, 'a', Buffer.alloc(0));
    const spy = vi.spyOn(native, 'segmentSync').mockImplementationOnce(sync);
    for (let i = 0; i < 2; i++)
      await expect(log.sync()).rejects.toThrow('could not be made durable');
    expect([log.syncNow(-1), log.syncedSeq, failures.length]).toEqual([false, 0, 1]);
    expect(spy).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
    await log.abandon();
  },
);

test('what nobody syncs is durable a second later, also while more comes without pause', async () => {
  const log = openLog();
  await log.sync();
  append(log, 'first', Buffer.alloc(0));
  const first = log.lastSeq;
  const begun = performance.now();
  const more = setInterval(() => append(log, 'more', Buffer.alloc(0)), 50);
  await until('the first is durable', () => log.syncedSeq >= first);
  clearInterval(more);
  // A busy machine, and a second.
  expect(performance.now() - begun).toBeLessThan(4000);
  await log.close();
});

test('a record damaged since it was durable is told from a torn tail', async () => {
  const log = openLog();
  for (let i = 1; i <= 4; i++) append(log, `record ${i}`, Buffer.alloc(40, i));
  await log.sync();
  for (let i = 5; i <= 7; i++) append(log, `record ${i}`, Buffer.alloc(40, i));
  await log.abandon();
  const path = segmentPath(directory, 1);
  const whole = readFileSync(path);
  const starts: number[] = [];
  for (let at = whole.indexOf('TKLR'); at >= 0; at = whole.indexOf('TKLR', at + 1)) starts.push(at);
  const damageAt = (at: number): { path: string; offset: number } | undefined => {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1;
    writeFileSync(path, bytes);
    const reader = new LogReader(directory, 0);
    while (reader.next(true) !== undefined);
    const damage = reader.damage();
    reader.close();
    return damage;
  };
  const all = RECORD_HEADER_BYTES + 8 + 40;
  for (let byte = 0; byte < all; byte++) {
    expect(damageAt(starts[1]! + byte), `byte ${byte}`).toEqual({ path, offset: starts[1] });
    expect(damageAt(starts[5]! + byte), `byte ${byte}`).toBeUndefined();
  }
});

test('staged bytes altered on the disk are not shown, whoever wrote them', async () => {
  const log = openLog();
  const places = [70 * KiB, 100, 5000].map((length, i) => ({
    addr: append(log, 'm', Buffer.alloc(length, i + 1)),
    length,
  }));
  const flip = (addr: number): void => {
    const { path, offset } = stagedPlace(directory, addr);
    const bytes = readFileSync(path);
    bytes[offset]! ^= 0x10;
    const fd = openSync(path, 'r+');
    writeSync(fd, bytes, offset, 1, offset);
    closeSync(fd);
  };
  const shown = (of: Log): boolean[] =>
    places.map(({ addr, length }) => Buffer.isBuffer(of.segments.bytes(addr, length)));
  expect(shown(log)).toEqual([true, true, true]);
  flip(places[0]!.addr + 20_000);
  flip(places[2]!.addr);
  expect(shown(log)).toEqual([false, true, false]);
  expect(log.segments.bytes(places[0]!.addr, 4096)).toBeInstanceOf(Buffer);
  const wrong = [places[0]!, places[2]!].map(({ addr, length }) => ({
    from: addr,
    to: addr + length,
  }));
  expect(await log.segments.verify(1)).toEqual(wrong);
  await log.sync();
  await log.abandon();

  const again = openLog({ slot: 1, offset: SEGMENT, seq: 3, crc: 0 });
  expect(again.segments.bytes(places[1]!.addr, 100)).toBe('unknown');
  expect(await again.segments.verify(1)).toEqual(wrong);
  expect(shown(again)).toEqual([false, true, false]);
  await again.abandon();
});

test('what a torn tail left behind is not taken for altered once it is written over', async () => {
  const log = openLog();
  append(log, 'a', Buffer.alloc(1000, 1));
  const lost = append(log, 'lost', Buffer.alloc(200, 2)) % SEGMENT;
  append(log, 'c', Buffer.alloc(20_000, 3));
  await log.sync();
  await log.abandon();
  const path = segmentPath(directory, 1);
  writeFileSync(path, readFileSync(path).fill(0, lost, lost + 200));

  const { texts, end } = readAll(directory);
  expect(texts).toEqual(['1:a:1000']);
  const again = openLog(end);
  // As when something of it is read first.
  await again.segments.verify(1);
  for (let i = 0; i < 10; i++) append(again, `m${i}`, Buffer.alloc(0));
  const addr = append(again, 'new', Buffer.alloc(3000, 4));
  expect(again.segments.bytes(addr, 3000)).toEqual(Buffer.alloc(3000, 4));
  expect(await again.segments.verify(1)).toEqual([]);
  await again.close();
});

test('what is being appended while a segment is verified is not taken for altered', async () => {
  const segmentBytes = 32 * KiB;
  const log = new Log({ directory, segmentBytes, reserveBytes: 0, end: START });
  const wrong: unknown[] = [];
  let verifying: Promise<void> | undefined;
  const end = Date.now() + 4000;
  for (let i = 0; Date.now() < end; i++) {
    append(log, 'm', Buffer.alloc(100 + ((i * 997) % 8900), i));
    verifying ??= log.segments.verify(log.head!.slot).then(found => {
      wrong.push(...found);
      verifying = undefined;
    });
    if (i % 4 === 0) await turnOfLoop();
    if (log.segments.usedCount < 4) continue;
    await verifying;
    await log.sync();
    for (const segment of [...log.segments.used])
      if (segment !== log.head) await log.segments.free(segment, false);
  }
  await verifying;
  expect(wrong).toEqual([]);
  await log.close();
});

test('a file that is not wanted any more is not filled', async () => {
  const path = join(directory, '1.spare');
  await expect(native.segmentPrepare(path, SEGMENT)).rejects.toThrow('ENOENT');
  expect(readdirSync(directory)).toEqual([]);
  writeFileSync(path, '');
  await native.segmentPrepare(path, SEGMENT);
  expect(readFileSync(path)).toEqual(Buffer.alloc(SEGMENT));
});

test('room is what new segments may take: not the reserve, nor what must stay free', async () => {
  const open = (keep: number): Log =>
    new Log({
      ...{ directory, segmentBytes: SEGMENT, reserveBytes: 2 * SEGMENT, end: START },
      keepFreeBytes: () => keep,
    });
  const log = open(10 * SEGMENT);
  const room = () => [13.9, 10, 0].map(segments => log.segments.roomBytes(segments * SEGMENT));
  // A file that is still being filled is none yet.
  await until('two are filled ahead', () => room()[2]! > SEGMENT);
  expect(room()).toEqual([5 * SEGMENT, 2 * SEGMENT, 2 * SEGMENT]);
  await log.close();
});
