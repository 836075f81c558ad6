/**
 * Disk space held for bad times: an allocated file that is given up when the disk is full, so that
 * what must still be written (and by that frees space) finds room.
 */
import { existsSync, rmSync } from 'node:fs';
import { native } from '../native.ts';

/** Bytes held for the index writer. */
export const BALLAST_BYTES = 16 * 1024 * 1024;

/** One file that holds space. */
export class Ballast {
  readonly #path: string;
  readonly #bytes: number;

  constructor(path: string, bytes: number) {
    this.#path = path;
    this.#bytes = bytes;
  }

  /** True if the space is held. */
  get isHeld(): boolean {
    return existsSync(this.#path);
  }

  /** Takes the space, if it can be had; false if the disk is full. */
  hold(): boolean {
    if (this.isHeld) return true;
    try {
      native.segmentAllocate(this.#path, this.#bytes);
      return true;
    } catch {
      return false;
    }
  }

  /** Gives the space up; false if it was not held. */
  release(): boolean {
    if (!this.isHeld) return false;
    rmSync(this.#path);
    return true;
  }
}
