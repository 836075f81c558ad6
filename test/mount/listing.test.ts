/** A wide directory that changes while it is listed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const served = new Served('listing');
beforeAll(() => served.start());
afterAll(() => served.remove());

/** One process makes, moves and removes other names for as long as another lists. */
const LISTING = `
import os, collections
STAYS = 100_000
os.mkdir('drive/wide'); at = os.open('drive/wide', os.O_RDONLY); os.chdir('drive/wide')
for i in range(STAYS): os.mknod('stays%d' % i, 0o100644)
listed, going = os.pipe()
changer = os.fork()
if changer == 0:
    os.close(going); os.set_blocking(listed, False); n = 0
    while True:
        os.mknod('new%d' % n)
        os.rename('new%d' % n, 'moved%d' % n)
        if n % 2: os.unlink('moved%d' % n)
        n += 1
        try:
            if os.read(listed, 1) == b'': break
        except BlockingIOError: pass
    os._exit(0 if n > 100 else 1)
for rounds in range(2):
    seen = collections.Counter(entry.name for entry in os.scandir('.'))
    stays = [times for name, times in seen.items() if name.startswith('stays')]
    print(len(stays), max(stays))
    if rounds == 0: open('/proc/sys/vm/drop_caches', 'w').write('2')
os.close(going)
print(os.waitpid(changer, 0)[1])
`;

test('S-11: of 100,000 names that stay, each is listed once while others come, move and go', async () => {
  const out = await served.sh(`python3 - <<'END'\n${LISTING}\nEND`, 110_000);
  expect(out).toBe('100000 1\n100000 1\n0\n');
});
