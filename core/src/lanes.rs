//! SHA-256 of many messages, four at once: a lane that is done with its message takes the next.
//!
//! Implements FIPS 180-4 §4.1.2, §4.2.2, §5.1.1, §5.3.3 and §6.2.2 over 128-bit vectors of WebAssembly, where it is all
//! the SHA-256 there is: one message alone takes no longer than it would without vectors. Elsewhere it is only tested,
//! over plain words: `sha256` has what is faster there.

#[cfg_attr(target_feature = "simd128", path = "lanes/simd128.rs")]
#[cfg_attr(not(target_feature = "simd128"), path = "lanes/plain.rs")]
mod four;

use alloc::vec::Vec;

use self::four::Four;
use crate::hash::Hash;

/// FIPS 180-4 §5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

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

/// A message in a lane, up to some block.
#[derive(Default)]
struct Lane {
    /// Its position among the messages.
    position: usize,
    /// `prefix || message || padding`: whole blocks.
    padded: Vec<u8>,
    /// Where the next block begins.
    next: usize,
}

/// The SHA-256 of `prefix || message`, for each message: `put_next` appends one, or says that there is none.
pub(crate) fn sha256(prefix: u8, put_next: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> Vec<Hash> {
    let mut hashes = Vec::new();
    let mut lanes: [Lane; 4] = Default::default();
    let mut sums = [Four::splat(0); 8];
    loop {
        for (number, lane) in lanes.iter_mut().enumerate() {
            if lane.is_done() && lane.begin(prefix, put_next) {
                lane.position = hashes.len();
                hashes.push(Hash::EMPTY_ROOT);
                set_lane(&mut sums, number);
            }
        }
        if lanes.iter().all(Lane::is_done) {
            return hashes;
        }
        let mut words = [Four::splat(0); 64];
        for (quarter, columns) in words.as_chunks_mut().0.iter_mut().enumerate().take(4) {
            *columns = Four::transpose(lanes.each_ref().map(|lane| lane.quarter(quarter)));
        }
        compress(&mut sums, &mut words);
        for (number, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.is_done()) {
            lane.next += 64;
            if lane.is_done()
                && let Some(hash) = hashes.get_mut(lane.position)
            {
                *hash = hash_of(&sums, number);
            }
        }
    }
}

impl Lane {
    /// Whether all blocks were taken in, or there never was one.
    fn is_done(&self) -> bool {
        self.next >= self.padded.len()
    }

    /// Takes the next message, if there is one, and pads it (FIPS 180-4 §5.1.1).
    fn begin(&mut self, prefix: u8, put_next: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> bool {
        self.next = 0;
        self.padded.clear();
        self.padded.push(prefix);
        if !put_next(&mut self.padded) {
            self.padded.clear();
            return false;
        }
        let bits = (self.padded.len() as u64).wrapping_mul(8);
        self.padded.push(0x80);
        self.padded.resize((self.padded.len() + 8).next_multiple_of(64) - 8, 0);
        self.padded.extend_from_slice(&bits.to_be_bytes());
        true
    }

    /// Four words of the next block; of a lane that is done, none that matter.
    fn quarter(&self, quarter: usize) -> Four {
        let bytes = self.padded.get(self.next + 16 * quarter..).and_then(<[u8]>::first_chunk);
        bytes.map_or(Four::splat(0), Four::from_be_bytes)
    }
}

/// Begins a message in the lane of that number.
fn set_lane(sums: &mut [Four; 8], number: usize) {
    let mut which = [0; 4];
    if let Some(lane) = which.get_mut(number) {
        *lane = u32::MAX;
    }
    for (sum, initial) in sums.iter_mut().zip(INITIAL) {
        *sum = sum.xor(sum.xor(Four::splat(initial)).and(Four::from(which)));
    }
}

fn hash_of(sums: &[Four; 8], number: usize) -> Hash {
    let mut hash = [0; Hash::LEN];
    for (bytes, sum) in hash.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        let words = sum.to_be_bytes();
        *bytes = words.as_chunks().0.get(number).copied().unwrap_or_default();
    }
    Hash(hash)
}

/// FIPS 180-4 §6.2.2 on a block of each lane, whose words are the first sixteen of `words`. Unrolled it would be no
/// faster, and many times as long.
#[inline(never)]
fn compress(sums: &mut [Four; 8], words: &mut [Four; 64]) {
    for step in 16..64 {
        let (before, after) = words.split_at_mut(step);
        if let (Some([first, second, .., tenth, _, _, _, _, fifteenth, _]), [next, ..]) =
            (before.last_chunk::<16>(), after)
        {
            let sigma0 = second.rotate_right(7).xor(second.rotate_right(18)).xor(second.shr(3));
            let sigma1 = fifteenth.rotate_right(17).xor(fifteenth.rotate_right(19)).xor(fifteenth.shr(10));
            *next = first.add(sigma0).add(*tenth).add(sigma1);
        }
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *sums;
    for (word, constant) in words.iter().zip(&CONSTANTS) {
        let sum1 = e.rotate_right(6).xor(e.rotate_right(11)).xor(e.rotate_right(25));
        let choice = f.xor(g).and(e).xor(g);
        let t1 = word.add(Four::splat(*constant)).add(h).add(choice).add(sum1);
        let sum0 = a.rotate_right(2).xor(a.rotate_right(13)).xor(a.rotate_right(22));
        let majority = a.xor(b).and(b.xor(c)).xor(b);
        (h, g, f, e) = (g, f, e, d.add(t1));
        (d, c, b, a) = (c, b, a, t1.add(sum0).add(majority));
    }
    for (sum, word) in sums.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = sum.add(word);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use sha2::{Digest, Sha256};

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0_u8..=250).cycle().take(length).collect()
    }

    fn all(prefix: u8, messages: &[&[u8]]) -> Vec<Hash> {
        let mut messages = messages.iter();
        sha256(prefix, &mut |buffer| {
            messages.next().map(|message| buffer.extend_from_slice(message)).is_some()
        })
    }

    fn one_by_one(prefix: u8, message: &[u8]) -> Hash {
        Hash(Sha256::new().chain_update([prefix]).chain_update(message).finalize().into())
    }

    #[test]
    fn messages_of_every_length_are_hashed_as_one_by_one() {
        for length in 0..=300 {
            let message = bytes(length);
            for count in 0..=9 {
                let hashes = all(1, &vec![message.as_slice(); count]);
                assert_eq!(hashes, vec![one_by_one(1, &message); count], "{count} of {length} bytes");
            }
        }
    }

    #[test]
    fn messages_of_different_lengths_share_the_lanes() {
        let message = bytes(70_000);
        for seed in 0_usize..200 {
            let length = |place: usize| match (seed + place * place) % 7 {
                0 => 0,
                1 => 65_535,
                kind => (seed * 31 + place * 89) % (100 * kind),
            };
            let messages: Vec<&[u8]> =
                (0..seed % 23).map(|place| &message[place..place + length(place)]).collect();
            let expected: Vec<Hash> = messages.iter().map(|message| one_by_one(0, message)).collect();
            assert_eq!(all(0, &messages), expected, "{seed}");
        }
    }
}
