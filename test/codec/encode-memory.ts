/** A process that encodes one file: prints by how many bytes its anonymous memory grew at most. */
import { readFileSync } from 'node:fs';
import { native } from '../../src/native.ts';

const LOOK_EVERY_MS = 2;
const anonymous = (): number => {
  const kibi = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
  return Number(kibi) * 1024;
};

const [, , path, shards, out] = process.argv;
const before = anonymous();
let peak = before;
const look = setInterval(() => {
  peak = Math.max(peak, anonymous());
}, LOOK_EVERY_MS);
await native.encodeFile(path!, Number(shards), out!);
clearInterval(look);
console.log(Math.max(peak, anonymous()) - before);
