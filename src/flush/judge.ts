/**
 * Process: the official encoder's opinion on the beginning of a sealed pack. It takes seconds, and
 * several times that beginning in memory, which goes back to the system with the process.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { BlobEncoder } from '@mysten/walrus-wasm';

const [path, nShards, bytes] = process.argv.slice(2);
const beginning = Buffer.allocUnsafeSlow(Number(bytes));
const fd = openSync(path!, 'r');
readSync(fd, beginning, 0, beginning.length, 0);
closeSync(fd);
using encoder = new BlobEncoder(Number(nShards));
const [blobId] = encoder.compute_metadata(beginning) as [number[], ...unknown[]];
process.send!(Array.from(blobId));
