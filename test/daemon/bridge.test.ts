import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { TuskError } from '../../src/base/errors.ts';
import { Bridge } from '../../src/daemon/bridge.ts';

type Answers = {
  double(args: number, signal: AbortSignal): number;
  refuse(args: null, signal: AbortSignal): never;
  wait(args: null, signal: AbortSignal): Promise<never>;
};

const { port1, port2 } = new MessageChannel();
let sawAbort: unknown;
const methods: Answers = {
  double: n => n * 2,
  refuse: () => {
    throw new TuskError('over_budget', 'too dear', { details: { limit: 5n } });
  },
  wait: (_, signal) =>
    new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => {
        sawAbort = signal.reason;
        reject(signal.reason);
      }),
    ),
};
new Bridge(port2, methods);
const bridge = new Bridge<Answers>(port1, {});

describe('calls between threads', () => {
  it('answers, and errors keep code, kind and details', async () => {
    expect(await bridge.call('double', 21)).toBe(42);
    await expect(bridge.call('refuse', null)).rejects.toMatchObject({
      code: 'over_budget',
      kind: 'budget',
      message: 'too dear',
      details: { limit: 5n },
    });
  });

  it('an abort reaches the other side', async () => {
    const controller = new AbortController();
    const waiting = bridge.call('wait', null, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
    expect(sawAbort).toMatchObject({ code: 'aborted' });
    await expect(bridge.call('double', 1, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  it('after the other side ended, what waits and what is asked later fails', async () => {
    const waiting = bridge.call('wait', null);
    bridge.breakOff(new TuskError('internal', 'it ended'));
    await expect(waiting).rejects.toThrow('it ended');
    await expect(bridge.call('double', 1)).rejects.toThrow('it ended');
    port1.close();
  });
});
