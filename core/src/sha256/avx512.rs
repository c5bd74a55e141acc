//! SHA-256 of sixteen messages at once, a word of each in a 512-bit vector.
//!
//! Implements FIPS 180-4 §4.1.2 and §6.2.2. Where a processor has both, this takes half the time of the SHA instructions,
//! which gain a tenth at most by two, three or four messages interleaved: they are bound by throughput, not by latency.
//!
//! Unsafe code is here and in `sha_ni`, and in the allocator of the browser's verifier: the calls of functions that are
//! compiled for a processor's feature, each behind a value that only [`detect`](Avx512::detect) makes, and loads.
#![expect(unsafe_code, reason = "functions for a processor are unsafe to call until the processor was asked")]

use alloc::vec;
use alloc::vec::Vec;
use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_mask_blend_epi32, _mm512_or_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use core::mem::transmute;

use super::{Block, NODE_BITS, Padded, node, one};
use crate::fips180::{CONSTANTS, INITIAL};
use crate::hash::{Hash, NODE};

cpufeatures::new!(processor, "avx512f", "avx512bw");

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
        let mut hashes = vec![Hash::EMPTY_ROOT; pairs.len()];
        let ((sixteens, rest), (own, own_rest)) = (pairs.as_chunks(), hashes.as_chunks_mut());
        for (pairs, hashes) in sixteens.iter().zip(own) {
            // SAFETY: as above.
            unsafe { sixteen_nodes(pairs, hashes) };
        }
        if rest.len() > FEW {
            let (mut pairs, mut hashes) = ([[Hash::EMPTY_ROOT; 2]; LANES], [Hash::EMPTY_ROOT; LANES]);
            pairs.iter_mut().zip(rest).for_each(|(lane, pair)| *lane = *pair);
            // SAFETY: as above.
            unsafe { sixteen_nodes(&pairs, &mut hashes) };
            own_rest.iter_mut().zip(hashes).for_each(|(own, hash)| *own = hash);
        } else {
            own_rest.iter_mut().zip(rest).for_each(|(own, [left, right])| *own = node(left, right));
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

// The loops below have no closures: a function over closures that is not inlined calls each through one that saves and
// clears the vectors.

/// Hashes up to sixteen messages, the shortest first.
#[target_feature(enable = "avx512f,avx512bw")]
fn sixteen_messages(prefix: u8, messages: &[Message<'_>], hashes: &mut [Hash]) {
    let mut lanes = [Padded::NOTHING; LANES];
    for (lane, message) in lanes.iter_mut().zip(messages) {
        *lane = Padded::new(prefix, message.message);
    }
    // As long as there are more than a few: the lanes after the last message have no blocks.
    let together = messages.iter().zip(&lanes).rev().nth(FEW).map_or(0, |(_, lane)| lane.blocks());
    let least = lanes.iter().map(Padded::blocks).min().unwrap_or(0);
    let mut sums = initial();
    for step in 0..together {
        let mut words = [_mm512_setzero_si512(); 16];
        for (word, lane) in words.iter_mut().zip(&lanes) {
            *word = load(lane.block(step));
        }
        let before = sums;
        compress(&mut sums, transpose(words));
        if step >= least {
            let ended =
                lanes.iter().rev().fold(0, |ended, lane| ended << 1 | u16::from(lane.blocks() <= step));
            for (sum, before) in sums.iter_mut().zip(before) {
                *sum = _mm512_mask_blend_epi32(ended, *sum, before);
            }
        }
    }
    let mut states = [Hash::EMPTY_ROOT; LANES];
    store(sums, &mut states);
    for ((message, lane), state) in messages.iter().zip(&lanes).zip(states) {
        message.put(lane.finish(together, state), hashes);
    }
}

/// Hashes sixteen nodes.
#[target_feature(enable = "avx512f,avx512bw")]
fn sixteen_nodes(pairs: &[[Hash; 2]; LANES], hashes: &mut [Hash; LANES]) {
    let mut words = [_mm512_setzero_si512(); 16];
    for (word, pair) in words.iter_mut().zip(pairs) {
        *word = load_pair(pair);
    }
    // The children's words; the message has them a byte later, after the prefix.
    let mut first = transpose(words);
    let mut before = splat(NODE.into());
    for word in &mut first {
        let children = *word;
        *word = _mm512_or_si512(_mm512_slli_epi32::<24>(before), _mm512_srli_epi32::<8>(children));
        before = children;
    }
    let mut second = [_mm512_setzero_si512(); 16];
    let [begin, .., length] = &mut second;
    *begin = _mm512_or_si512(_mm512_slli_epi32::<24>(before), splat(0x0080_0000));
    *length = splat(NODE_BITS.into());
    let mut sums = initial();
    compress(&mut sums, first);
    compress(&mut sums, second);
    store(sums, hashes);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn initial() -> [Words; 8] {
    let mut sums = [_mm512_setzero_si512(); 8];
    for (sum, initial) in sums.iter_mut().zip(INITIAL) {
        *sum = splat(initial);
    }
    sums
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
    let (second, tenth, fifteenth) =
        (words[(step + 1) % 16], words[(step + 9) % 16], words[(step + 14) % 16]);
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

/// Puts down the hashes that these are the sums of.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(sums: [Words; 8], hashes: &mut [Hash; LANES]) {
    let [a, b, c, d, e, f, g, h] = sums;
    let zero = _mm512_setzero_si512();
    let rows = transpose([a, b, c, d, e, f, g, h, zero, zero, zero, zero, zero, zero, zero, zero]);
    for (hash, row) in hashes.iter_mut().zip(rows) {
        // SAFETY: as above.
        [*hash, _] = unsafe { transmute::<Words, [Hash; 2]>(swap_bytes(row)) };
    }
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
        let (a, b, c, d) = (rows[column], rows[4 + column], rows[8 + column], rows[12 + column]);
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        columns[column] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        columns[4 + column] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        columns[8 + column] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        columns[12 + column] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    columns
}
