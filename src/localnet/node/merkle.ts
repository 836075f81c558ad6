/** Walrus' Merkle proofs: BLAKE2b-256, leaves prefixed with 0, inner nodes with 1. */
import { blake2b } from '@noble/hashes/blake2.js';

const hash = (prefix: number, ...parts: readonly Uint8Array[]): Uint8Array => {
  const state = blake2b.create({ dkLen: 32 });
  state.update(Uint8Array.of(prefix));
  for (const part of parts) state.update(part);
  return state.digest();
};

/** Is `leaf` at place `index` of the tree with that root? `proof`: siblings, leaf upwards. */
export const proves = (
  root: Uint8Array,
  leaf: Uint8Array,
  index: number,
  proof: readonly Uint8Array[],
): boolean => {
  let node = hash(0, leaf);
  let at = index;
  for (const sibling of proof) {
    node = at % 2 === 0 ? hash(1, node, sibling) : hash(1, sibling, node);
    at >>= 1;
  }
  return at === 0 && Buffer.compare(node, root) === 0;
};
