import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import type { Answer, Attr } from '../../src/fuse/filesystem.ts';
import { Session } from '../../src/fuse/session.ts';
import { Op } from '../../src/fuse/wire.ts';
import { MemoryFilesystem } from '../support/memory-fs.ts';
import { type Answered, fields, MemoryDevice, request } from './device.ts';

const DAY = 86_400n;
const EIO = -5;
const EINTR = -4;
const EINVAL = -22;
const EFBIG = -27;

const open = (fs = new MemoryFilesystem()) => {
  const device = new MemoryDevice();
  const session = new Session(device, fs);
  const end = session.run();
  return { device, session, fs, end };
};

const only = (answers: Answered[]): Answered => {
  expect(answers).toHaveLength(1);
  return answers[0]!;
};

const create = (device: MemoryDevice, name: string): number => {
  const made = only(device.feed(request(Op.CREATE, 1, fields(0o2102, 0o100644, 0o022, 0, name))));
  expect(made.error).toBe(0);
  return Number(made.body.readBigUInt64LE(0));
};

test('a name that does not exist is answered as an entry that is remembered for a day', () => {
  const { device } = open();
  const { error, unique, body } = only(device.feed(request(Op.LOOKUP, 1, fields('nothing'), 77n)));
  expect([error, unique]).toEqual([0, 77n]);
  expect(body.subarray(0, 40)).toEqual(fields(0n, 0n, DAY, 0n, 0, 0));
  expect(body).toHaveLength(128);
});

test('an entry has the layout of fuse_entry_out, negative times included', () => {
  const { device, fs } = open();
  const ino = create(device, 'f');
  Object.assign(fs.nodes.get(ino)!, {
    size: 2 ** 53 - 1,
    blocks: 7,
    atime: -1,
    mtime: -(2 ** 40),
    ctime: 5,
    atimeNs: 1,
    mtimeNs: 999_999_999,
    ctimeNs: 3,
    uid: 0xfffffffe,
    gid: 9,
    rdev: 0,
    nlink: 3,
  });
  const { body } = only(device.feed(request(Op.LOOKUP, 1, fields('f'))));
  const attr = fields(
    BigInt(ino),
    2n ** 53n - 1n,
    7n,
    -1n,
    -(2n ** 40n),
    5n,
    1,
    999_999_999,
    3,
    0o100644,
    3,
    0xfffffffe,
    9,
    0,
    4096,
    0,
  );
  expect(body).toEqual(Buffer.concat([fields(BigInt(ino), 0n, DAY, DAY, 0, 0), attr]));
  const got = only(device.feed(request(Op.GETATTR, ino, fields(0, 0, 0n))));
  expect(got.body).toEqual(Buffer.concat([fields(DAY, 0, 0), attr]));
});

test('a CREATE is answered with entry and open file, without a handle', () => {
  const { device } = open();
  const { body } = only(
    device.feed(request(Op.CREATE, 1, fields(0o2102, 0o100600, 0o022, 0, 'new'))),
  );
  expect(body).toHaveLength(144);
  expect(body.subarray(128)).toEqual(fields(0n, 2, 0));
});

test('INIT takes of each kernel what it offers, and never ATOMIC_O_TRUNC or ASYNC_DIO', () => {
  const init = (minor: number, flags: number) =>
    only(
      open().device.feed(
        request(Op.INIT, 0, fields(7, minor, 131_072, flags, 0, Buffer.alloc(44))),
      ),
    );
  const newest = init(45, 0xffff_ffff).body;
  expect(newest).toHaveLength(64);
  expect([newest.readUInt32LE(0), newest.readUInt32LE(4)]).toEqual([7, 45]);
  const agreed = newest.readUInt32LE(12);
  for (const bit of [0, 5, 6, 13, 14, 16, 18, 20, 21, 22, 23, 25, 28, 29, 30])
    expect(agreed & (1 << bit)).not.toBe(0);
  for (const bit of [1, 3, 10, 15]) expect(agreed & (1 << bit)).toBe(0);
  expect(newest.readUInt32LE(20)).toBe(1 << 20);
  expect(newest.readUInt16LE(28)).toBe(256);
  expect(init(26, 0).error).toBe(-71);
});

/** Bits of INIT that kernels offer by themselves, up to the newest that each has (linux/fuse.h). */
const KERNELS = [
  { linux: '5.15', minor: 34, newest: 29 },
  { linux: '5.17', minor: 36, newest: 30 },
  { linux: '6.1', minor: 37, newest: 30 },
  { linux: '6.6', minor: 39, newest: 30 },
  { linux: '6.9', minor: 40, newest: 30 },
] as const;

test.each(KERNELS)('S-39: Linux $linux gets what it has, whatever of it is missing', kernel => {
  const offered = (2 ** (kernel.newest + 1) - 1) >>> 0;
  const init = (flags: number): number => {
    // Before 5.17 the request ends behind the first flags.
    const rest = Buffer.alloc(kernel.newest < 30 ? 0 : 48);
    const body = fields(7, kernel.minor, 131_072, flags, rest);
    const answer = only(open().device.feed(request(Op.INIT, 0, body)));
    expect([answer.error, answer.body.length]).toEqual([0, 64]);
    expect(answer.body.readUInt32LE(4)).toBe(kernel.minor);
    // flags2: nothing of what came after 5.15 is needed.
    expect(answer.body.readUInt32LE(32)).toBe(0);
    return answer.body.readUInt32LE(12);
  };
  const all = init(offered);
  for (let bit = 0; bit <= kernel.newest; bit++) {
    const without = (offered & ~(1 << bit)) >>> 0;
    expect(init(without)).toBe((all & ~(1 << bit)) >>> 0);
  }
  expect(init(0)).toBe(0);
});

test('S-35: STATX is answered with all attributes and the time of birth', () => {
  const { device, fs } = open();
  const ino = create(device, 'f');
  const rdev = 0x1110_2c70;
  Object.assign(fs.nodes.get(ino)!, {
    ...{ size: 5, blocks: 1, nlink: 2, uid: 7, gid: 8, rdev, mode: 0o100644 },
    ...{ atime: -1, atimeNs: 1, btime: -2, btimeNs: 2, ctime: 3, ctimeNs: 4, mtime: 5, mtimeNs: 6 },
  });
  const { body } = only(device.feed(request(Op.STATX, ino, fields(0, 0, 0n, 0, 0xfff))));
  const time = (seconds: bigint, ns: number) => fields(seconds, ns, 0);
  expect(body).toEqual(
    fields(
      ...[DAY, 0n, 0n, 0n],
      ...[0xfff, 4096, 0n, 2, 7, 8, 0o100644, BigInt(ino), 5n, 1n, 0n],
      ...[time(-1n, 1), time(-2n, 2), time(3n, 4), time(5n, 6)],
      ...[0x02c, 0x11170, 0, 0, Buffer.alloc(112)],
    ),
  );
});

test('both forms of SETXATTR, and sizes asked for before values', () => {
  for (const extended of [false, true]) {
    const { device } = open();
    const flags = extended ? 1 << 29 : 0;
    device.feed(request(Op.INIT, 0, fields(7, 45, 0, flags, 0, Buffer.alloc(44))));
    const head = extended ? fields(3, 0, 0, 0) : fields(3, 0);
    const set = fields(head, 'user.a', Buffer.from('abc'));
    expect(only(device.feed(request(Op.SETXATTR, 1, set))).error).toBe(0);
    const get = (size: number) =>
      only(device.feed(request(Op.GETXATTR, 1, fields(size, 0, 'user.a'))));
    expect(get(0).body).toEqual(fields(3, 0));
    expect(get(2).error).toBe(-34);
    expect(get(3).body.toString()).toBe('abc');
    const list = (size: number) => only(device.feed(request(Op.LISTXATTR, 1, fields(size, 0))));
    expect(list(0).body).toEqual(fields(7, 0));
    expect(list(6).error).toBe(-34);
    expect(list(64).body.toString('latin1')).toBe('user.a\0');
  }
});

test('what no file can hold is refused, never taken for another number', () => {
  const { device } = open();
  const ino = create(device, 'f');
  const huge = [2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n];
  for (const offset of huge) {
    const write = fields(0n, offset, 1, 0, 0n, 0, 0, Buffer.from('x'));
    expect(only(device.feed(request(Op.WRITE, ino, write))).error).toBe(EFBIG);
    const read = fields(0n, offset, 10, 0, 0n, 0, 0);
    expect(only(device.feed(request(Op.READ, ino, read)))).toMatchObject({
      error: 0,
      body: Buffer.alloc(0),
    });
    const truncate = fields(1 << 3, 0, 0n, offset, Buffer.alloc(64));
    expect(only(device.feed(request(Op.SETATTR, ino, truncate))).error).toBe(EFBIG);
    const copy = fields(0n, 0n, BigInt(ino), 0n, offset, 1n, 0n);
    expect(only(device.feed(request(Op.COPY_FILE_RANGE, ino, copy))).error).toBe(EFBIG);
    const allocate = fields(0n, 10n, offset, 0, 0);
    expect(only(device.feed(request(Op.FALLOCATE, ino, allocate))).error).toBe(EFBIG);
    expect(only(device.feed(request(Op.GETATTR, offset, fields(0, 0, 0n)))).error).toBe(EINVAL);
  }
  const behind = fields(0n, 0n, BigInt(ino), 0n, 2n ** 53n - 1n, 1n, 0n);
  expect(only(device.feed(request(Op.COPY_FILE_RANGE, ino, behind))).error).toBe(EFBIG);
  const last = fields(0n, 2n ** 53n - 2n, 1, 0, 0n, 0, 0, Buffer.from('x'));
  expect(only(device.feed(request(Op.WRITE, ino, last))).error).toBe(0);
});

test('whatever bytes come, the session answers at most once and lives on', () => {
  const op = fc.oneof(fc.constantFrom(...Object.values(Op)), fc.nat(), fc.constant(2 ** 32 - 1));
  const ino = fc.oneof(
    fc.constantFrom(0n, 1n, 2n, 3n),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  const word = fc
    .oneof(fc.nat(20), fc.constantFrom(40, 0xffff_ffff, 0x20_0000))
    .map(n => fields(n));
  const body = fc
    .array(fc.oneof(word, word, fc.uint8Array({ maxLength: 20 })), { maxLength: 30 })
    .map(parts => Buffer.concat(parts));
  const { device, session } = open();
  create(device, 'f');
  fc.assert(
    fc.property(op, ino, body, fc.nat(40), (op, ino, body, cut) => {
      const whole = request(op, ino, body);
      const answers = device.feed(whole.subarray(0, whole.length - (cut > 30 ? cut - 30 : 0)));
      expect(answers.length).toBeLessThanOrEqual(1);
      if (answers[0]) expect(answers[0].error).toBeLessThanOrEqual(0);
      if (answers[0]) expect(answers[0].error).toBeGreaterThan(-200);
    }),
    { numRuns: 3000 },
  );
  expect(session.counters().faults).toBe(0);
});

test('paging through a directory yields every name once, in order, whatever the room', () => {
  const names = fc.uniqueArray(
    fc.string({ minLength: 1, maxLength: 255, unit: fc.constantFrom(...'abcdefgh\xff') }),
    { minLength: 0, maxLength: 60 },
  );
  fc.assert(
    fc.property(names, fc.integer({ min: 440, max: 4096 }), fc.boolean(), (names, size, plus) => {
      const { device, fs } = open();
      for (const name of names) create(device, name);
      const before = fs.lookups;
      const head = plus ? 128 : 0;
      const seen: string[] = [];
      for (let cookie = 0n; ; ) {
        const op = plus ? Op.READDIRPLUS : Op.READDIR;
        const { body } = only(device.feed(request(op, 1, fields(0n, cookie, size, 0, 0n, 0, 0))));
        expect(body.length).toBeLessThanOrEqual(size);
        if (body.length === 0) break;
        for (let at = 0; at < body.length; ) {
          const bytes = body.readUInt32LE(at + head + 16);
          seen.push(body.latin1Slice(at + head + 24, at + head + 24 + bytes));
          cookie = body.readBigUInt64LE(at + head + 8);
          at += (head + 24 + bytes + 7) & ~7;
        }
      }
      expect(seen).toEqual(['.', '..', ...names]);
      expect(fs.lookups - before).toBe(plus ? names.length : 0);
    }),
    { numRuns: 100 },
  );
});

test('lookups are given back when the kernel did not take the answer', () => {
  const { device, fs } = open();
  for (const name of ['a', 'bb', 'ccc']) create(device, name);
  const before = fs.lookups;
  device.sendResult = -2;
  device.feed(request(Op.LOOKUP, 1, fields('bb')));
  device.feed(request(Op.READDIRPLUS, 1, fields(0n, 0n, 4096, 0, 0n, 0, 0)));
  device.feed(request(Op.CREATE, 1, fields(0o2102, 0o100600, 0o022, 0, 'd')));
  expect(fs.lookups).toBe(before);
});

test('FORGET and BATCH_FORGET are not answered and count', () => {
  const { device, fs } = open();
  const [a, b] = [create(device, 'a'), create(device, 'b')];
  expect(device.feed(request(Op.FORGET, a, fields(1n)))).toHaveLength(0);
  const batch = fields(2, 0, BigInt(b), 1n, 999n, 0n);
  expect(device.feed(request(Op.BATCH_FORGET, 0, batch))).toHaveLength(0);
  expect(fs.lookups).toBe(0);
});

class SlowFilesystem extends MemoryFilesystem {
  gate = Promise.withResolvers<void>();
  override getattr(): Answer<Attr> {
    return this.gate.promise.then(() => this.nodes.get(1)!);
  }
  override statfs(): never {
    throw new Error('a bug');
  }
}

test('who was interrupted is answered within a second, whatever it waits for, and once', async () => {
  const fs = new SlowFilesystem();
  const { device } = open(fs);
  fs.gate = Promise.withResolvers();
  device.feed(request(Op.GETATTR, 1, fields(0, 0, 0n), 10n));
  device.feed(request(Op.INTERRUPT, 0, fields(10n), 11n));
  const { answers } = device;
  await expect.poll(() => answers.length, { timeout: 10_000 }).toBe(1);
  fs.gate.resolve();
  await new Promise(resolve => setImmediate(resolve));
  expect(answers.map(({ error, unique }) => [error, unique])).toEqual([[EINTR, 10n]]);
});

test('promises: late answers, errors, interruption, end of the mount', async () => {
  const fs = new SlowFilesystem();
  const { device, session, end } = open(fs);
  const ask = (unique: bigint) => device.feed(request(Op.GETATTR, 1, fields(0, 0, 0n), unique));
  const settled = async () => {
    await new Promise(resolve => setImmediate(resolve));
    return device.answers.map(({ error, unique, body }) => [error, unique, body.length]);
  };
  expect(ask(10n)).toHaveLength(0);
  fs.gate.resolve();
  expect(await settled()).toEqual([[0, 10n, 104]]);

  fs.gate = Promise.withResolvers();
  ask(2n ** 63n + 12n);
  fs.gate.reject(new TuskError('network', 'no node answers'));
  expect(await settled()).toEqual([[EIO, 2n ** 63n + 12n, 0]]);

  fs.gate = Promise.withResolvers();
  ask(14n);
  expect(device.feed(request(Op.INTERRUPT, 0, fields(14n), 15n))).toHaveLength(0);
  fs.gate.reject(new TuskError('aborted', 'given up'));
  expect(await settled()).toEqual([[EINTR, 14n, 0]]);

  // S-46: one that was sent again, to another daemon, bears its mark in the interruption, too.
  fs.gate = Promise.withResolvers();
  ask(2n ** 63n + 14n);
  device.feed(request(Op.INTERRUPT, 0, fields(2n ** 63n + 14n), 15n));
  fs.gate.reject(new TuskError('aborted', 'given up'));
  expect(await settled()).toEqual([[EINTR, 2n ** 63n + 14n, 0]]);

  expect(only(device.feed(request(Op.STATFS, 1))).error).toBe(EIO);

  fs.gate = Promise.withResolvers();
  ask(16n);
  device.unmount();
  fs.gate.resolve();
  expect(await settled()).toEqual([]);
  expect(await end).toBe('unmounted');
  expect([device.closed, fs.destroyed]).toEqual([true, 1]);
  expect(session.counters()).toMatchObject({ deferred: 5, pending: 0, interrupted: 2, faults: 2 });
});
