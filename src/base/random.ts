import { randomBytes } from 'node:crypto';

/** Randomness as a part that is passed in; keys and salts always come from `systemRandom`. */
export interface Random {
  /** `n` random bytes. */
  bytes(n: number): Buffer;
  /** Uniform integer in [0, bound). */
  below(bound: number): number;
}

/** Uniform in [0, bound) from a source of 48 random bits at a time. */
const below = (next48: () => number, bound: number): number => {
  const limit = 2 ** 48 - (2 ** 48 % bound);
  for (;;) {
    const value = next48();
    if (value < limit) return value % bound;
  }
};

/** The operating system's generator. */
export const systemRandom: Random = {
  bytes: n => randomBytes(n),
  below: bound => below(() => randomBytes(6).readUIntBE(0, 6), bound),
};

/** A replayable generator (xorshift128+) for tests and simulations; never for keys. */
export const seededRandom = (seed: number): Random => {
  let a = BigInt.asUintN(64, BigInt(seed) * 0x9e3779b97f4a7c15n + 1n);
  let b = BigInt.asUintN(64, a ^ 0xd1b54a32d192ed03n);
  const next = (): bigint => {
    let x = a;
    const y = b;
    a = y;
    x ^= BigInt.asUintN(64, x << 23n);
    b = x ^ y ^ (x >> 17n) ^ (y >> 26n);
    return BigInt.asUintN(64, b + y);
  };
  return {
    bytes: n => {
      const out = Buffer.alloc(n);
      for (let i = 0; i < n; i++) out[i] = Number(next() & 0xffn);
      return out;
    },
    below: bound => below(() => Number(next() >> 16n), bound),
  };
};

/** `count` different integers of [0, bound), in random order. */
export const sample = (random: Random, bound: number, count: number): number[] => {
  const all = Array.from({ length: bound }, (_, i) => i);
  for (let i = 0; i < Math.min(count, bound); i++) {
    const j = i + random.below(bound - i);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, count);
};
