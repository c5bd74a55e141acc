//! SHA-256 of sixteen messages at once, a word of each in a 512-bit vector.
//!
//! Implements FIPS 180-4 §4.1.2, §4.2.2 and §6.2.2. On processors that have AVX-512 and the SHA instructions this takes
//! half the time of the latter, which are not bound by latency there: two, three or four messages interleaved gain a
//! tenth. It is the only unsafe code of the workspace but for the allocator of the browser's verifier.
#![expect(unsafe_code, reason = "functions for a processor are unsafe to call until the processor was asked")]

use alloc::vec::Vec;
use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_mask_blend_epi32, _mm512_or_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use core::array;
use core::mem::transmute;

use super::{Block, INITIAL, NODE_BITS, Padded, node, one};
use crate::hash::{Hash, NODE};

cpufeatures::new!(processor, "avx512f", "avx512bw");

/// FIPS 180-4 §4.2.2.
#[rustfmt::skip]
const CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The messages that are hashed at once.
const LANES: usize = 16;

/// Up to so many messages take less time one by one.
const FEW: usize = 8;

/// The messages that are put in the order of their lengths, so that those in the lanes end together.
const SORTED: usize = 256;

/// A word of each message.
type Words = __m512i;

/// That the processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        processor::get().then_some(Self(()))
    }

    /// `SHA-256(prefix || message)`, of each message.
    pub(super) fn sha256<'a>(self, prefix: u8, messages: impl Iterator<Item = &'a [u8]>) -> Vec<Hash> {
        // SAFETY: the processor has the features that the function is compiled for: there is no `Avx512` without.
        unsafe { sha256(prefix, messages) }
    }

    /// The hashes of the inner nodes over these pairs.
    pub(super) fn nodes(self, pairs: &[[Hash; 2]]) -> Vec<Hash> {
        let (sixteens, rest) = pairs.as_chunks();
        let mut hashes = Vec::with_capacity(pairs.len());
        for sixteen in sixteens {
            // SAFETY: as above.
            hashes.extend(unsafe { sixteen_nodes(sixteen) });
        }
        if rest.len() > FEW {
            let mut sixteen = [[Hash::EMPTY_ROOT; 2]; LANES];
            sixteen.iter_mut().zip(rest).for_each(|(lane, pair)| *lane = *pair);
            // SAFETY: as above.
            hashes.extend(unsafe { sixteen_nodes(&sixteen) }.into_iter().take(rest.len()));
        } else {
            hashes.extend(rest.iter().map(|[left, right]| node(left, right)));
        }
        hashes
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sha256<'a>(prefix: u8, mut messages: impl Iterator<Item = &'a [u8]>) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(messages.size_hint().0);
    let mut some = Vec::with_capacity(messages.size_hint().0.min(SORTED));
    loop {
        let first = hashes.len();
        some.clear();
        some.extend(
            messages.by_ref().take(SORTED).enumerate().map(|(place, message)| Message { place, message }),
        );
        if some.is_empty() {
            return hashes;
        }
        hashes.resize(first + some.len(), Hash::EMPTY_ROOT);
        some.sort_unstable_by_key(|message| message.message.len());
        let own = hashes.get_mut(first..).unwrap_or_default();
        for messages in some.chunks(LANES) {
            if messages.len() > FEW {
                sixteen_messages(prefix, messages, own);
            } else {
                messages.iter().for_each(|message| message.put(one(prefix, message.message), own));
            }
        }
    }
}

/// A message, and where its hash belongs.
struct Message<'a> {
    place: usize,
    message: &'a [u8],
}

impl Message<'_> {
    fn put(&self, hash: Hash, hashes: &mut [Hash]) {
        if let Some(place) = hashes.get_mut(self.place) {
            *place = hash;
        }
    }
}

/// Hashes up to sixteen messages, the shortest first.
#[target_feature(enable = "avx512f,avx512bw")]
fn sixteen_messages(prefix: u8, messages: &[Message<'_>], hashes: &mut [Hash]) {
    let lanes: [Padded<'_>; LANES] = array::from_fn(|lane| {
        messages.get(lane).map_or(Padded::NOTHING, |message| Padded::new(prefix, message.message))
    });
    let mut sums = INITIAL.map(|word| splat(word));
    // As long as there are more than a few: the lanes after the last message have no blocks.
    let together = messages.iter().zip(&lanes).rev().nth(FEW).map_or(0, |(_, lane)| lane.blocks());
    for step in 0..together {
        let before = sums;
        compress(&mut sums, transpose(lanes.each_ref().map(|lane| load(lane.block(step)))));
        let ended = lanes.iter().rev().fold(0, |ended, lane| ended << 1 | u16::from(lane.blocks() <= step));
        if ended > 0 {
            for (sum, before) in sums.iter_mut().zip(before) {
                *sum = _mm512_mask_blend_epi32(ended, *sum, before);
            }
        }
    }
    for ((message, lane), state) in messages.iter().zip(&lanes).zip(columns(sums)) {
        message.put(lane.finish(together, state), hashes);
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sixteen_nodes(pairs: &[[Hash; 2]; LANES]) -> [Hash; LANES] {
    // The children's words; the message has them a byte later, after the prefix.
    let children = transpose(pairs.each_ref().map(|pair| load_pair(pair)));
    let mut before = splat(NODE.into());
    let later = |word: Words| {
        let both = _mm512_or_si512(_mm512_slli_epi32::<24>(before), _mm512_srli_epi32::<8>(word));
        before = word;
        both
    };
    let first = children.map(later);
    let mut second = [_mm512_setzero_si512(); 16];
    let [begin, .., length] = &mut second;
    *begin = _mm512_or_si512(_mm512_slli_epi32::<24>(before), splat(0x0080_0000));
    *length = splat(NODE_BITS.into());
    let mut sums = INITIAL.map(|word| splat(word));
    compress(&mut sums, first);
    compress(&mut sums, second);
    columns(sums)
}

/// FIPS 180-4 §6.2.2 on a block of each message.
#[expect(clippy::indexing_slicing, reason = "below 16 in arrays of 16")]
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(sums: &mut [Words; 8], mut words: [Words; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *sums;
    for (sixteen, constants) in CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
        for (step, constant) in constants.iter().enumerate() {
            if sixteen > 0 {
                extend_schedule(&mut words, step);
            }
            let word = words[step];
            let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
            let t1 = add(
                add(add(h, add(word, splat(*constant))), choice),
                xor3(ror::<6>(e), ror::<11>(e), ror::<25>(e)),
            );
            let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
            let t2 = add(xor3(ror::<2>(a), ror::<13>(a), ror::<22>(a)), majority);
            (h, g, f, e) = (g, f, e, add(d, t1));
            (d, c, b, a) = (c, b, a, add(t1, t2));
        }
    }
    for (sum, word) in sums.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = add(*sum, word);
    }
}

/// Replaces a word of the schedule by the one sixteen steps later.
#[inline]
#[expect(clippy::indexing_slicing, reason = "below 16 in arrays of 16")]
#[target_feature(enable = "avx512f,avx512bw")]
fn extend_schedule(words: &mut [Words; 16], step: usize) {
    let [second, tenth, fifteenth] = [1, 9, 14].map(|later| words[(step + later) % 16]);
    let sigma0 = xor3(ror::<7>(second), ror::<18>(second), _mm512_srli_epi32::<3>(second));
    let sigma1 = xor3(ror::<17>(fifteenth), ror::<19>(fifteenth), _mm512_srli_epi32::<10>(fifteenth));
    words[step] = add(add(words[step], sigma0), add(tenth, sigma1));
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> Words {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: Words, b: Words) -> Words {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn ror<const BITS: i32>(word: Words) -> Words {
    _mm512_ror_epi32::<BITS>(word)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: Words, b: Words, c: Words) -> Words {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// The words of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(block: &Block) -> Words {
    // SAFETY: both are 64 bytes, of which any are a value.
    swap_bytes(unsafe { transmute::<Block, Words>(*block) })
}

/// The words of two hashes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_pair(pair: &[Hash; 2]) -> Words {
    // SAFETY: as above; a `Hash` is its bytes.
    swap_bytes(unsafe { transmute::<[Hash; 2], Words>(*pair) })
}

/// The hashes that these are the sums of.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn columns(sums: [Words; 8]) -> [Hash; LANES] {
    let [a, b, c, d, e, f, g, h] = sums;
    let zero = _mm512_setzero_si512();
    transpose([a, b, c, d, e, f, g, h, zero, zero, zero, zero, zero, zero, zero, zero]).map(|row| {
        // SAFETY: as above.
        let [hash, _] = unsafe { transmute::<Words, [Hash; 2]>(swap_bytes(row)) };
        hash
    })
}

/// The most significant byte of each word first, or last again.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap_bytes(words: Words) -> Words {
    _mm512_shuffle_epi8(words, _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203))
}

/// The columns of these rows: first within each quarter of them, then the quarters.
#[inline]
#[expect(clippy::indexing_slicing, reason = "below 16 in arrays of 16")]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(mut rows: [Words; 16]) -> [Words; 16] {
    for [a, b, c, d] in rows.as_chunks_mut().0 {
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(*a, *b), _mm512_unpackhi_epi32(*a, *b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(*c, *d), _mm512_unpackhi_epi32(*c, *d));
        (*a, *b) = (_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low));
        (*c, *d) = (_mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high));
    }
    let mut columns = rows;
    for column in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|quarter| rows[quarter + column]);
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        columns[column] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        columns[4 + column] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        columns[8 + column] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        columns[12 + column] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    columns
}
