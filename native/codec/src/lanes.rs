//! BLAKE2b-256 (RFC 7693) of many messages of one length side by side in 64-bit lanes: eight at a
//! time with AVX-512, four with AVX2. Processors without either have no `Lanes`, and their callers
//! another way.

use pulp::NullaryFnOnce;
use pulp::x86::{V3, V4};

use crate::merkle::{Node, PAIR_BYTES};
use crate::wide::{Four, Wide};

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

/// Leave to use the processor's lanes.
#[derive(Clone, Copy)]
pub(crate) enum Lanes {
    /// AVX2.
    Four(V3),
    /// AVX-512.
    Eight(V4),
}

impl Lanes {
    /// The most that the processor has.
    pub(crate) fn available() -> Option<Self> {
        let eight = V4::try_new().map(Self::Eight);
        eight.or_else(|| V3::try_new().map(Self::Four))
    }

    /// Hashes consecutive records of `pitch` bytes (at least 1) with `prefix` before each, one a node.
    pub(crate) fn hash_records(self, prefix: u8, records: &[u8], pitch: usize, nodes: &mut [Node]) {
        match self {
            Self::Four(simd) => simd.vectorize(HashRecords {
                simd: Four::new(simd),
                prefix,
                records,
                pitch,
                nodes,
            }),
            Self::Eight(simd) => simd.vectorize(HashRecords {
                simd,
                prefix,
                records,
                pitch,
                nodes,
            }),
        }
    }
}

struct HashRecords<'a, S> {
    simd: S,
    prefix: u8,
    records: &'a [u8],
    pitch: usize,
    nodes: &'a mut [Node],
}

impl NullaryFnOnce for HashRecords<'_, Four> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.run::<4>();
    }
}

impl NullaryFnOnce for HashRecords<'_, V4> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.run::<8>();
    }
}

impl<S> HashRecords<'_, S> {
    #[inline(always)]
    fn run<const N: usize>(self)
    where
        S: Wide<N>,
    {
        // Inner nodes are two thirds of all: with their length constant, words of zeros cost nothing.
        match self.pitch {
            PAIR_BYTES => self.hash_all(PAIR_BYTES),
            pitch => self.hash_all(pitch),
        }
    }

    #[inline(always)]
    fn hash_all<const N: usize>(self, pitch: usize)
    where
        S: Wide<N>,
    {
        let last = self.nodes.len().saturating_sub(1);
        for (group, nodes) in self.nodes.chunks_mut(N).enumerate() {
            // Lanes without a record of their own repeat the last one.
            let lanes = std::array::from_fn(|lane| {
                let at = (group * N + lane).min(last) * pitch;
                &self.records[at..at + pitch]
            });
            let state = hash(self.simd, self.prefix, &lanes, pitch);
            for (word, lanes) in state[..4].iter().enumerate() {
                let lanes = self.simd.lanes(*lanes);
                for (node, value) in nodes.iter_mut().zip(lanes) {
                    node[word * WORD..][..WORD].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
}

/// The state after `prefix` and all of the `lanes`, each `bytes` long.
#[inline(always)]
fn hash<const N: usize, S: Wide<N>>(
    simd: S,
    prefix: u8,
    lanes: &[&[u8]; N],
    bytes: usize,
) -> [S::Words; 8] {
    let mut state = INITIAL.map(|word| simd.of([word; N]));
    state[0] = simd.of([INITIAL[0] ^ PARAMETERS; N]);
    // The first word is the prefix and seven bytes, so the others begin one byte early in a lane.
    let first = bytes.min(WORD - 1);
    let mut words = load(simd, &lanes.map(|lane| &lane[first..]), BLOCK - WORD, 1);
    words[0] = simd.of(lanes.map(|lane| first_bytes(lane) << 8 | u64::from(prefix)));
    let mut hashed = BLOCK;
    while hashed < bytes + 1 {
        compress(simd, &mut state, &words, hashed as u64, false);
        words = load(simd, &lanes.map(|lane| &lane[hashed - 1..]), BLOCK, 0);
        hashed += BLOCK;
    }
    compress(simd, &mut state, &words, bytes as u64 + 1, true);
    state
}

/// The first bytes as a word: eight, or as many as there are.
#[inline(always)]
fn first_bytes(bytes: &[u8]) -> u64 {
    let byte = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => bytes.iter().rev().fold(0, byte),
    }
}

/// The last `count` bytes as a word, 1 to 7.
#[inline(always)]
fn last_bytes(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk() {
        Some(word) => u64::from_le_bytes(*word) >> (8 * (WORD - count)),
        None => first_bytes(&bytes[bytes.len() - count..]),
    }
}

/// The first `most` bytes of every lane, or what there is of them, as the words of a block from
/// number `skipped` on, filled up with zeros.
#[inline(always)]
fn load<const N: usize, S: Wide<N>>(
    simd: S,
    lanes: &[&[u8]; N],
    most: usize,
    skipped: usize,
) -> [S::Words; 16] {
    // With its length constant, a full block is loaded without a loop.
    match lanes[0].len() {
        bytes if bytes < most => load_all(simd, lanes, bytes, skipped),
        _ => load_all(simd, lanes, most, skipped),
    }
}

#[inline(always)]
fn load_all<const N: usize, S: Wide<N>>(
    simd: S,
    lanes: &[&[u8]; N],
    bytes: usize,
    skipped: usize,
) -> [S::Words; 16] {
    let lanes = lanes.map(|lane| &lane[..bytes]);
    let held = lanes.map(|lane| lane.as_chunks::<WORD>().0);
    let (whole, rest) = (bytes / WORD, bytes % WORD);
    let mut words = [simd.of([0; N]); 16];
    let (_, places) = words.split_at_mut(skipped);
    for (at, word) in places.iter_mut().take(whole).enumerate() {
        *word = simd.of(held.map(|words| u64::from_le_bytes(words[at])));
    }
    if rest > 0 {
        places[whole] = simd.of(lanes.map(|lane| last_bytes(lane, rest)));
    }
    words
}

/// Mixes a block into the state; `count` is the number of bytes hashed up to its end.
#[inline(always)]
fn compress<const N: usize, S: Wide<N>>(
    simd: S,
    state: &mut [S::Words; 8],
    words: &[S::Words; 16],
    count: u64,
    last: bool,
) {
    let mut v: [_; 16] = std::array::from_fn(|i| match i.checked_sub(8) {
        None => state[i],
        Some(4) => simd.of([INITIAL[4] ^ count; N]),
        Some(6) if last => simd.of([!INITIAL[6]; N]),
        Some(i) => simd.of([INITIAL[i]; N]),
    });
    round::<0, N, S>(simd, &mut v, words);
    round::<1, N, S>(simd, &mut v, words);
    round::<2, N, S>(simd, &mut v, words);
    round::<3, N, S>(simd, &mut v, words);
    round::<4, N, S>(simd, &mut v, words);
    round::<5, N, S>(simd, &mut v, words);
    round::<6, N, S>(simd, &mut v, words);
    round::<7, N, S>(simd, &mut v, words);
    round::<8, N, S>(simd, &mut v, words);
    round::<9, N, S>(simd, &mut v, words);
    round::<0, N, S>(simd, &mut v, words);
    round::<1, N, S>(simd, &mut v, words);
    for (i, state) in state.iter_mut().enumerate() {
        *state = simd.xor(*state, simd.xor(v[i], v[i + 8]));
    }
}

/// One round; its number is constant, so that the order of the words is resolved when compiling.
#[inline(always)]
fn round<const R: usize, const N: usize, S: Wide<N>>(
    simd: S,
    v: &mut [S::Words; 16],
    words: &[S::Words; 16],
) {
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
fn mix<const N: usize, S: Wide<N>>(
    simd: S,
    v: &mut [S::Words; 16],
    [a, b, c, d]: [usize; 4],
    x: S::Words,
    y: S::Words,
) {
    v[a] = simd.add(simd.add(v[a], v[b]), x);
    v[d] = simd.rotate_32(simd.xor(v[d], v[a]));
    v[c] = simd.add(v[c], v[d]);
    v[b] = simd.rotate_24(simd.xor(v[b], v[c]));
    v[a] = simd.add(simd.add(v[a], v[b]), y);
    v[d] = simd.rotate_16(simd.xor(v[d], v[a]));
    v[c] = simd.add(v[c], v[d]);
    v[b] = simd.rotate_63(simd.xor(v[b], v[c]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{EMPTY, hash};

    /// A processor that has eight lanes would else never use four.
    #[test]
    fn four_lanes_and_eight_hash_alike() {
        let four = V3::try_new().map(Lanes::Four);
        let eight = V4::try_new().map(Lanes::Eight);
        let bytes: Vec<u8> = (0..7000_usize).map(|i| ((i * i) >> 3) as u8).collect();
        for lanes in four.into_iter().chain(eight) {
            for pitch in (1..=140).chain([255, 256, 257, 384, 385]) {
                for count in [0, 1, 3, 4, 5, 7, 8, 9, 17] {
                    let records = &bytes[..pitch * count];
                    let expected: Vec<_> = records
                        .chunks_exact(pitch)
                        .map(|record| hash(&[&[1], record].concat()))
                        .collect();
                    let mut nodes = vec![EMPTY; count];
                    lanes.hash_records(1, records, pitch, &mut nodes);
                    assert_eq!(nodes, expected, "{count} of {pitch} bytes");
                }
            }
        }
    }
}
