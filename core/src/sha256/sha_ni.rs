//! The hash of one inner node by the SHA instructions of x86-64, in registers from the children to the parent.
//!
//! Implements FIPS 180-4 §6.2.2 as `sha2` does; what is saved is to write the message down and to read it again, a
//! byte later, which takes a fifth of the time: a path is verified one node after the other.
#![expect(unsafe_code, reason = "functions for a processor are unsafe to call until the processor was asked")]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_set_epi32, _mm_set_epi64x, _mm_set1_epi8,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};
use core::mem::transmute;

use super::NODE_BITS;
use crate::fips180::{CONSTANTS, INITIAL};
use crate::hash::{Hash, NODE};

cpufeatures::new!(processor, "sha", "sse2", "ssse3", "sse4.1");

/// That the processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct ShaNi(());

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        processor::get().then_some(Self(()))
    }

    /// The hash of an inner node.
    pub(super) fn node(self, left: &Hash, right: &Hash) -> Hash {
        // SAFETY: the processor has the features that the function is compiled for: there is no `ShaNi` without.
        unsafe { node(left, right) }
    }
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn node(left: &Hash, right: &Hash) -> Hash {
    // SAFETY: both are 32 bytes, of which any are a value.
    let ([a, b], [c, d]) =
        unsafe { (transmute::<Hash, [__m128i; 2]>(*left), transmute::<Hash, [__m128i; 2]>(*right)) };
    let prefix = _mm_set1_epi8(NODE.cast_signed());
    let padding = _mm_set_epi64x(0, 0x80);
    let first = [
        swap_bytes(_mm_alignr_epi8::<15>(a, prefix)),
        swap_bytes(_mm_alignr_epi8::<15>(b, a)),
        swap_bytes(_mm_alignr_epi8::<15>(c, b)),
        swap_bytes(_mm_alignr_epi8::<15>(d, c)),
    ];
    let second = [
        swap_bytes(_mm_alignr_epi8::<15>(padding, d)),
        _mm_setzero_si128(),
        _mm_setzero_si128(),
        _mm_set_epi32(i32::from(NODE_BITS), 0, 0, 0),
    ];
    let [a, b, c, d, e, f, g, h] = INITIAL;
    let mut sums = [four([a, b, e, f]), four([c, d, g, h])];
    compress(&mut sums, first);
    compress(&mut sums, second);
    let [abef, cdgh] = sums;
    let (feba, dchg) = (_mm_shuffle_epi32::<0x1b>(abef), _mm_shuffle_epi32::<0xb1>(cdgh));
    let halves =
        [swap_bytes(_mm_blend_epi16::<0xf0>(feba, dchg)), swap_bytes(_mm_alignr_epi8::<8>(dchg, feba))];
    // SAFETY: as above.
    unsafe { transmute::<[__m128i; 2], Hash>(halves) }
}

/// FIPS 180-4 §6.2.2 on a block, with the words of the sums as the instructions want them.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn compress(sums: &mut [__m128i; 2], mut words: [__m128i; 4]) {
    let [mut abef, mut cdgh] = *sums;
    for (sixteen, constants) in CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
        for constants in constants.as_chunks::<4>().0 {
            let [first, second, third, fourth] = words;
            let [k0, k1, k2, k3] = *constants;
            let sum = _mm_add_epi32(first, four([k3, k2, k1, k0]));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(sum));
            // The last sixteen words need none after them.
            let next = if sixteen < 3 {
                let sigma0 = _mm_sha256msg1_epu32(first, second);
                _mm_sha256msg2_epu32(_mm_add_epi32(sigma0, _mm_alignr_epi8::<4>(fourth, third)), fourth)
            } else {
                first
            };
            words = [second, third, fourth, next];
        }
    }
    let [before_abef, before_cdgh] = *sums;
    *sums = [_mm_add_epi32(abef, before_abef), _mm_add_epi32(cdgh, before_cdgh)];
}

/// Four words, the last in the lowest place.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn four([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed())
}

/// The most significant byte of each word first, or last again.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn swap_bytes(words: __m128i) -> __m128i {
    _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203))
}
