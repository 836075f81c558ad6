/**
 * Worker: the official encoder's opinion on the beginning of a sealed pack. It takes seconds, so it
 * has a thread of its own.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { BlobEncoder } from '@mysten/walrus-wasm';

const { path, nShards, bytes } = workerData as { path: string; nShards: number; bytes: number };
const beginning = Buffer.allocUnsafeSlow(bytes);
const fd = openSync(path, 'r');
readSync(fd, beginning, 0, bytes, 0);
closeSync(fd);
using encoder = new BlobEncoder(nShards);
const [blobId] = encoder.compute_metadata(beginning) as [number[], ...unknown[]];
parentPort!.postMessage(Uint8Array.from(blobId));
