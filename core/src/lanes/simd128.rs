//! Four words in a 128-bit vector of WebAssembly.

use core::arch::wasm32::{
    i8x16_shuffle, u32x4, u32x4_add, u32x4_shl, u32x4_shr, u32x4_shuffle, u32x4_splat, u64x2,
    u64x2_extract_lane, u64x2_shuffle, v128, v128_and, v128_or, v128_xor,
};

/// A word of each of four messages, or four words of one.
#[derive(Clone, Copy)]
pub(super) struct Four(v128);

impl Four {
    #[inline(always)]
    pub(super) fn splat(word: u32) -> Self {
        Self(u32x4_splat(word))
    }

    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Self {
        Self(u32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub(super) fn xor(self, other: Self) -> Self {
        Self(v128_xor(self.0, other.0))
    }

    #[inline(always)]
    pub(super) fn and(self, other: Self) -> Self {
        Self(v128_and(self.0, other.0))
    }

    #[inline(always)]
    pub(super) fn shr(self, bits: u32) -> Self {
        Self(u32x4_shr(self.0, bits))
    }

    #[inline(always)]
    pub(super) fn rotate_right(self, bits: u32) -> Self {
        Self(v128_or(u32x4_shr(self.0, bits), u32x4_shl(self.0, 32 - bits)))
    }

    /// Four words, the most significant byte of each first.
    #[inline(always)]
    pub(super) fn from_be_bytes(bytes: &[u8; 16]) -> Self {
        Self(swap_bytes(load(bytes)))
    }

    /// Its bytes, the most significant of each word first.
    #[inline(always)]
    pub(super) fn to_be_bytes(self) -> [u8; 16] {
        store(swap_bytes(self.0))
    }

    /// The columns of these rows.
    #[inline(always)]
    pub(super) fn transpose([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        let (ab_low, ab_high) =
            (u32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), u32x4_shuffle::<2, 6, 3, 7>(a.0, b.0));
        let (cd_low, cd_high) =
            (u32x4_shuffle::<0, 4, 1, 5>(c.0, d.0), u32x4_shuffle::<2, 6, 3, 7>(c.0, d.0));
        [
            Self(u64x2_shuffle::<0, 2>(ab_low, cd_low)),
            Self(u64x2_shuffle::<1, 3>(ab_low, cd_low)),
            Self(u64x2_shuffle::<0, 2>(ab_high, cd_high)),
            Self(u64x2_shuffle::<1, 3>(ab_high, cd_high)),
        ]
    }
}

impl From<[u32; 4]> for Four {
    fn from([a, b, c, d]: [u32; 4]) -> Self {
        Self(u32x4(a, b, c, d))
    }
}

#[inline(always)]
fn load(bytes: &[u8; 16]) -> v128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    let (low, high) = ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]);
    u64x2(u64::from_le_bytes(low), u64::from_le_bytes(high))
}

#[inline(always)]
fn store(words: v128) -> [u8; 16] {
    let (low, high) = (u64x2_extract_lane::<0>(words), u64x2_extract_lane::<1>(words));
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

#[inline(always)]
fn swap_bytes(words: v128) -> v128 {
    i8x16_shuffle::<3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12>(words, words)
}
