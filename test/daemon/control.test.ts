import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { callDaemon, isServed, serveControl } from '../../src/daemon/control.ts';
import { listenControl } from '../../src/daemon/control-socket.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tusk-control-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('control socket', () => {
  it('answers with progress, results and typed errors', async () => {
    const path = join(directory, 'control.sock');
    const server = await serveControl(listenControl(path), {
      add: (args, { progress }) => {
        progress({ half: true });
        return { sum: (args.a as number) + (args.b as number), money: 5n };
      },
      refuse: () => {
        throw new TuskError('unfunded', 'no WAL');
      },
    });
    const seen: unknown[] = [];
    expect(await callDaemon(path, 'add', { a: 2, b: 3 }, value => seen.push(value))).toEqual({
      sum: 5,
      money: '5',
    });
    expect(seen).toEqual([{ half: true }]);
    await expect(callDaemon(path, 'refuse')).rejects.toMatchObject({
      code: 'unfunded',
      kind: 'budget',
      message: 'no WAL',
    });
    await expect(callDaemon(path, 'nothing')).rejects.toMatchObject({ code: 'usage' });
    await expect(callDaemon(path, 'constructor')).rejects.toMatchObject({ code: 'usage' });
    await new Promise(resolve => server.close(resolve));
  });

  it('takes over a socket that a dead daemon left behind', async () => {
    const path = join(directory, 'control.sock');
    await expect(callDaemon(path, 'status')).rejects.toMatchObject({ code: 'not_found' });
    const first = await serveControl(listenControl(path), {});
    expect(await isServed(path)).toBe(true);
    await new Promise(resolve => first.close(resolve));
    const second = await serveControl(listenControl(path), { ping: () => 'pong' });
    expect(await callDaemon(path, 'ping')).toBe('pong');
    await new Promise(resolve => second.close(resolve));
  });

  it('gives a daemon up that is silent, not one that works on', async () => {
    const path = join(directory, 'control.sock');
    vi.useFakeTimers({ toFake: ['setInterval'] });
    try {
      const server = await serveControl(listenControl(path), { hang: () => new Promise(() => {}) });
      const silent = callDaemon(path, 'hang', {}, undefined, 300);
      await expect(silent).rejects.toMatchObject({ code: 'timeout', kind: 'transient' });
      let settled = false;
      callDaemon(path, 'hang', {}, undefined, 300).catch(() => {
        settled = true;
      });
      for (let i = 0; i < 8; i++) {
        await new Promise(resolve => setTimeout(resolve, 100));
        vi.advanceTimersByTime(5000);
      }
      expect(settled).toBe(false);
      server.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it('aborts the request when the caller goes away', async () => {
    const path = join(directory, 'control.sock');
    let aborted: () => void = () => undefined;
    const sawAbort = new Promise<void>(resolve => {
      aborted = resolve;
    });
    const server = await serveControl(listenControl(path), {
      wait: (_args, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => {
            aborted();
            reject(signal.reason);
          }),
        ),
    });
    const { connect } = await import('node:net');
    const socket = connect(path, () => {
      socket.write('{"method":"wait","args":{}}\n', () => setTimeout(() => socket.destroy(), 20));
    });
    await sawAbort;
    await new Promise(resolve => server.close(resolve));
  });
});
