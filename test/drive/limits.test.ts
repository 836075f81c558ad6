/** Limits of traffic from the command line: with the mount, changed while bytes wait, and back. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sandbox, until } from '../support/sandbox.ts';

const box = new Sandbox('limits');

beforeAll(async () => {
  await box.startLocalnet();
  await box.create('main');
});
afterAll(() => box.close());

const status = async () => JSON.parse(await box.ok(['status', 'main', '--json']));

test('a limit holds a flush up, and its end lets it go on', async () => {
  const mountPoint = await box.mount('main', ['--limit-upload', '1K']);
  expect((await status()).limits).toEqual({ upload: '1K', download: 'off' });
  await box.sh(`head -c 300000 /dev/urandom > ${mountPoint}/file`);
  // At 1 KiB a second this would take longer than any test.
  const sync = box.tuskfs(['sync', 'main'], { timeoutMs: 200_000 });
  await until(
    'the upload has begun',
    async () => (await status()).flush.state === 'storing',
    100_000,
  );
  const plan = '00:00,1M 12:00,off';
  const changed = JSON.parse(await box.ok(['limit', 'main', '--download', plan, '--json']));
  expect(changed).toEqual({ upload: '1K', download: plan });
  expect(await box.ok(['status', 'main'])).toContain(`limits: upload 1K, download ${plan}`);
  expect((await status()).flush.state).toBe('storing');
  expect(await box.ok(['limit', 'main', '--upload', 'off'])).toBe(
    `upload    off\ndownload  ${plan}\n`,
  );
  expect(await sync).toMatchObject({ status: 0 });
  await box.umount(mountPoint);
});

test('what is no rate is refused, and nothing is mounted', async () => {
  const at = box.path('at');
  await box.sh(`mkdir -p ${at}`);
  for (const rate of ['10', 'fast', '8,1M']) {
    const ended = await box.tuskfs(['mount', 'main', at, '--limit-upload', rate]);
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain('is no rate');
  }
  const ended = await box.tuskfs(['limit', 'main', '--upload', '1M']);
  expect(ended).toMatchObject({ status: 3 });
  expect(ended.stderr).toContain('--limit-upload');
});
