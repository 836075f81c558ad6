//! BLAKE2b-256 (RFC 7693) of many messages of one length, eight at a time in the 64-bit lanes of
//! AVX-512. Processors without it have no `Lanes`, and their callers another way.

use std::arch::x86_64::__m512i;

use pulp::x86::V4;
use pulp::{NullaryFnOnce, cast};

use crate::merkle::Node;

const LANES: usize = 8;
const BLOCK: usize = 128;
const WORD: usize = 8;

const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
/// Digest of 32 bytes, no key, fan-out and depth 1.
const PARAMETERS: u64 = 0x0101_0020;

/// Which words of a block each of the first ten rounds takes, in order; the last two are as the
/// first two.
const SCHEDULE: [[u8; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Leave to use the eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Lanes(V4);

impl Lanes {
    /// Nothing where the processor lacks AVX-512.
    pub(crate) fn available() -> Option<Self> {
        V4::try_new().map(Self)
    }

    /// Hashes consecutive records of `pitch` bytes (at least 1), one node each.
    pub(crate) fn hash_records(self, records: &[u8], pitch: usize) -> Vec<Node> {
        let mut nodes = vec![[0; 32]; records.len() / pitch];
        self.0.vectorize(HashRecords {
            simd: self.0,
            records,
            pitch,
            nodes: &mut nodes,
        });
        nodes
    }
}

struct HashRecords<'a> {
    simd: V4,
    records: &'a [u8],
    pitch: usize,
    nodes: &'a mut [Node],
}

impl NullaryFnOnce for HashRecords<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let last = self.nodes.len().saturating_sub(1);
        for (group, nodes) in self.nodes.chunks_mut(LANES).enumerate() {
            // Lanes without a record of their own repeat the last one.
            let lanes = std::array::from_fn(|lane| {
                let at = (group * LANES + lane).min(last) * self.pitch;
                &self.records[at..at + self.pitch]
            });
            let state = hash(self.simd, &lanes, self.pitch);
            for (word, lanes) in state[..4].iter().enumerate() {
                let lanes: [u64; LANES] = cast(*lanes);
                for (node, value) in nodes.iter_mut().zip(lanes) {
                    node[word * WORD..][..WORD].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
}

#[inline(always)]
fn splat(value: u64) -> __m512i {
    cast([value; LANES])
}

/// The state after all of the `lanes`, each `bytes` long.
#[inline(always)]
fn hash(simd: V4, lanes: &[&[u8]; LANES], bytes: usize) -> [__m512i; 8] {
    let mut state = INITIAL.map(splat);
    state[0] = splat(INITIAL[0] ^ PARAMETERS);
    let mut from = 0;
    while from + BLOCK < bytes {
        let words = load(lanes, from, BLOCK);
        from += BLOCK;
        compress(simd, &mut state, &words, from as u64, false);
    }
    let words = load(lanes, from, bytes - from);
    compress(simd, &mut state, &words, bytes as u64, true);
    state
}

/// A block of `bytes` from `from` of every lane, filled up with zeros, word by word.
#[inline(always)]
fn load(lanes: &[&[u8]; LANES], from: usize, bytes: usize) -> [__m512i; 16] {
    let held = lanes.map(|lane| lane[from..from + bytes].as_chunks::<WORD>());
    let whole = bytes / WORD;
    let mut words = [splat(0); 16];
    for (at, word) in words.iter_mut().take(whole).enumerate() {
        *word = cast(held.map(|(words, _)| u64::from_le_bytes(words[at])));
    }
    if whole * WORD < bytes {
        words[whole] = cast(held.map(|(_, rest)| {
            let byte = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
            rest.iter().rev().fold(0, byte)
        }));
    }
    words
}

/// Mixes a block into the state; `count` is the number of bytes hashed up to its end.
#[inline(always)]
fn compress(simd: V4, state: &mut [__m512i; 8], words: &[__m512i; 16], count: u64, last: bool) {
    let xor = |a, b| simd.avx512f._mm512_xor_si512(a, b);
    let mut v: [_; 16] = std::array::from_fn(|i| match i.checked_sub(8) {
        None => state[i],
        Some(4) => splat(INITIAL[4] ^ count),
        Some(6) if last => splat(!INITIAL[6]),
        Some(i) => splat(INITIAL[i]),
    });
    round::<0>(simd, &mut v, words);
    round::<1>(simd, &mut v, words);
    round::<2>(simd, &mut v, words);
    round::<3>(simd, &mut v, words);
    round::<4>(simd, &mut v, words);
    round::<5>(simd, &mut v, words);
    round::<6>(simd, &mut v, words);
    round::<7>(simd, &mut v, words);
    round::<8>(simd, &mut v, words);
    round::<9>(simd, &mut v, words);
    round::<0>(simd, &mut v, words);
    round::<1>(simd, &mut v, words);
    for (i, state) in state.iter_mut().enumerate() {
        *state = xor(*state, xor(v[i], v[i + 8]));
    }
}

/// One round; its number is constant, so that the order of the words is resolved when compiling.
#[inline(always)]
fn round<const R: usize>(simd: V4, v: &mut [__m512i; 16], words: &[__m512i; 16]) {
    let word = |i: usize| words[usize::from(SCHEDULE[R][i])];
    mix(simd, v, [0, 4, 8, 12], word(0), word(1));
    mix(simd, v, [1, 5, 9, 13], word(2), word(3));
    mix(simd, v, [2, 6, 10, 14], word(4), word(5));
    mix(simd, v, [3, 7, 11, 15], word(6), word(7));
    mix(simd, v, [0, 5, 10, 15], word(8), word(9));
    mix(simd, v, [1, 6, 11, 12], word(10), word(11));
    mix(simd, v, [2, 7, 8, 13], word(12), word(13));
    mix(simd, v, [3, 4, 9, 14], word(14), word(15));
}

#[inline(always)]
fn mix(simd: V4, v: &mut [__m512i; 16], [a, b, c, d]: [usize; 4], x: __m512i, y: __m512i) {
    let set = simd.avx512f;
    v[a] = set._mm512_add_epi64(set._mm512_add_epi64(v[a], v[b]), x);
    v[d] = set._mm512_ror_epi64::<32>(set._mm512_xor_si512(v[d], v[a]));
    v[c] = set._mm512_add_epi64(v[c], v[d]);
    v[b] = set._mm512_ror_epi64::<24>(set._mm512_xor_si512(v[b], v[c]));
    v[a] = set._mm512_add_epi64(set._mm512_add_epi64(v[a], v[b]), y);
    v[d] = set._mm512_ror_epi64::<16>(set._mm512_xor_si512(v[d], v[a]));
    v[c] = set._mm512_add_epi64(v[c], v[d]);
    v[b] = set._mm512_ror_epi64::<63>(set._mm512_xor_si512(v[b], v[c]));
}
