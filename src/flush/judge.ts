/**
 * Worker: the official encoder's opinion on a sealed pack. It takes seconds, so it has a thread of
 * its own.
 */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { BlobEncoder } from '@mysten/walrus-wasm';

const { path, nShards } = workerData as { path: string; nShards: number };
using encoder = new BlobEncoder(nShards);
const [blobId] = encoder.compute_metadata(readFileSync(path)) as [number[], ...unknown[]];
parentPort!.postMessage(Uint8Array.from(blobId));
