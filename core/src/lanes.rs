//! SHA-256 of many messages, four at once: a lane that is done with its message takes the next.
//!
//! Implements FIPS 180-4 §4.1.2, §5.1.1 and §6.2.2 over 128-bit vectors of WebAssembly, where it is all
//! the SHA-256 there is: one message alone takes no longer than it would without vectors. Elsewhere it is only tested,
//! over plain words: `sha256` has what is faster there.

#[cfg_attr(target_feature = "simd128", path = "lanes/simd128.rs")]
#[cfg_attr(not(target_feature = "simd128"), path = "lanes/plain.rs")]
mod four;

use alloc::vec::Vec;

use self::four::Four;
use crate::fips180::{CONSTANTS, INITIAL};
use crate::hash::Hash;

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
