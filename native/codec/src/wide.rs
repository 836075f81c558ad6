//! Arithmetic of BLAKE2b on 64-bit words side by side: eight with AVX-512, four with AVX2.

use std::arch::x86_64::{__m256i, __m512i};
use std::hint::black_box;

use pulp::cast;
use pulp::x86::{V3, V4};

/// Operations on N words at once.
pub(crate) trait Wide<const N: usize>: Copy {
    type Words: Copy;
    fn of(self, lanes: [u64; N]) -> Self::Words;
    fn lanes(self, words: Self::Words) -> [u64; N];
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn xor(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Rotates right by 32, 24, 16 and 63 bits.
    fn rotate_32(self, a: Self::Words) -> Self::Words;
    fn rotate_24(self, a: Self::Words) -> Self::Words;
    fn rotate_16(self, a: Self::Words) -> Self::Words;
    fn rotate_63(self, a: Self::Words) -> Self::Words;
}

impl Wide<8> for V4 {
    type Words = __m512i;

    #[inline(always)]
    fn of(self, lanes: [u64; 8]) -> __m512i {
        cast(lanes)
    }

    #[inline(always)]
    fn lanes(self, words: __m512i) -> [u64; 8] {
        cast(words)
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_add_epi64(a, b)
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_xor_si512(a, b)
    }

    #[inline(always)]
    fn rotate_32(self, a: __m512i) -> __m512i {
        self.avx512f._mm512_ror_epi64::<32>(a)
    }

    #[inline(always)]
    fn rotate_24(self, a: __m512i) -> __m512i {
        self.avx512f._mm512_ror_epi64::<24>(a)
    }

    #[inline(always)]
    fn rotate_16(self, a: __m512i) -> __m512i {
        self.avx512f._mm512_ror_epi64::<16>(a)
    }

    #[inline(always)]
    fn rotate_63(self, a: __m512i) -> __m512i {
        self.avx512f._mm512_ror_epi64::<63>(a)
    }
}

/// For a byte shuffle: each word rotated right by `bytes`.
const fn rotation(bytes: u8) -> [u8; 32] {
    let mut order = [0; 32];
    let mut at = 0;
    while at < order.len() {
        let byte = at as u8 % 8;
        order[at] = at as u8 % 16 - byte + (byte + bytes) % 8;
        at += 1;
    }
    order
}

/// AVX2, and the byte shuffles that rotate. The compiler is kept from knowing those: it would make
/// two slower ones of each.
#[derive(Clone, Copy)]
pub(crate) struct Four {
    simd: V3,
    by_24: __m256i,
    by_16: __m256i,
}

impl Four {
    pub(crate) fn new(simd: V3) -> Self {
        Self {
            simd,
            by_24: black_box(cast(rotation(3))),
            by_16: black_box(cast(rotation(2))),
        }
    }
}

impl Wide<4> for Four {
    type Words = __m256i;

    #[inline(always)]
    fn of(self, lanes: [u64; 4]) -> __m256i {
        cast(lanes)
    }

    #[inline(always)]
    fn lanes(self, words: __m256i) -> [u64; 4] {
        cast(words)
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        self.simd.avx2._mm256_add_epi64(a, b)
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        self.simd.avx2._mm256_xor_si256(a, b)
    }

    #[inline(always)]
    fn rotate_32(self, a: __m256i) -> __m256i {
        self.simd.avx2._mm256_shuffle_epi32::<0b10_11_00_01>(a)
    }

    #[inline(always)]
    fn rotate_24(self, a: __m256i) -> __m256i {
        self.simd.avx2._mm256_shuffle_epi8(a, self.by_24)
    }

    #[inline(always)]
    fn rotate_16(self, a: __m256i) -> __m256i {
        self.simd.avx2._mm256_shuffle_epi8(a, self.by_16)
    }

    #[inline(always)]
    fn rotate_63(self, a: __m256i) -> __m256i {
        let carry = self.simd.avx2._mm256_srli_epi64::<63>(a);
        self.xor(self.add(a, a), carry)
    }
}
