/** Child of the crash tests: writes what is missing, flushes, waits for tails, checks every file. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '../../src/base/random.ts';
import { FlushVolume } from './flush-volume.ts';

const root = process.argv[2]!;
const MiB = 2 ** 20;
const contents = new Map([
  ['a', Buffer.alloc(11 * MiB)],
  ['b', seededRandom(2).bytes(100_000)],
  ['c', Buffer.from('small')],
]);
for (let at = 0; at < 11 * MiB; at += 64)
  contents.get('a')!.writeUInt32LE((at * 2654435761) >>> 0, at);

rmSync(join(root, 'scratch'), { recursive: true, force: true });
const volume = await FlushVolume.open(root, 16 * MiB);
const written = join(root, 'written');
if (!existsSync(written)) {
  for (const [name, data] of contents) volume.write(name, 0, data);
  await volume.index.sync();
  writeFileSync(written, '');
}
await volume.sync();
await volume.flusher.settled();
for (const [name, data] of contents)
  if (!(await volume.read(name)).equals(data)) throw new Error(`${name} is not what was written`);
if (volume.index.totals().stagedBytes > 0) throw new Error('something is still staged');
if (volume.network.head() === undefined) throw new Error('there is no head');
await volume.close();
