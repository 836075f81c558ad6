/** Programs that Debian carries for loading file systems, each with its own check. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const served = new Served('load');
beforeAll(() => served.start());
afterAll(() => served.remove());

test('fio reads back what it wrote in any order, buffered and direct', async () => {
  const out = await served.sh(`cd drive; for direct in 0 1; do
    fio --name=mixed --rw=randrw --bs=4k-64k --size=16m --numjobs=2 --verify=crc32c --direct=$direct --ioengine=psync --group_reporting; done
    rm mixed*`);
  expect(out.match(/err= 0:/g)).toHaveLength(2);
});

test('dbench: clients of a file server', async () => {
  expect(await served.sh('cd drive; dbench -t 5 4')).toMatch(/Throughput .* 4 procs/);
});

const STRESSORS =
  'access chmod chown copy-file dentry dir dirdeep dirmany dup fallocate filename flock fpunch fsize fstat getdent hdd io iomix link lockf lockofd mknod open rename seal seek sendfile splice symlink sync-file touch utime xattr';

test('stress-ng: each of its file system stressors finds what it expects', async () => {
  const out = await served.sh(`mkdir drive/stress; cd drive/stress; for name in ${STRESSORS}; do
    stress-ng --$name 1 --$name-ops 50 --timeout 2 --verify --temp-path . --quiet || echo "$name failed"; done; ls`);
  expect(out).toBe('');
});
