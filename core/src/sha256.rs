//! SHA-256 of a prefix and a message, of one and of many, everywhere but in the browser.
//!
//! Implements the padding of FIPS 180-4 §5.1.1; the `sha2` crate has the compression function. On x86-64 many messages
//! are hashed sixteen at once where there is AVX-512 (`avx512`), and a single node in registers where there are SHA
//! instructions (`sha_ni`). WebAssembly has `lanes` in place of all this.

use alloc::vec::Vec;

use sha2::block_api::compress256;

use crate::fips180::INITIAL;
use crate::hash::{Hash, NODE};

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

type Block = [u8; 64];

/// The length of what is hashed for a node: the prefix and two hashes.
const NODE_BITS: u16 = 8 * (1 + 2 * 32);

/// `SHA-256(prefix || message)`.
pub(crate) fn one(prefix: u8, message: &[u8]) -> Hash {
    let padded = Padded::new(prefix, message);
    let mut state = INITIAL;
    compress256(&mut state, padded.head());
    compress256(&mut state, padded.middle);
    compress256(&mut state, padded.tail());
    hash_of(state)
}

/// `SHA-256(prefix || message)`, of each message.
pub(crate) fn many<'a>(prefix: u8, messages: impl Iterator<Item = &'a [u8]>) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = avx512::Avx512::detect() {
        return avx512.sha256(prefix, messages);
    }
    messages.map(|message| one(prefix, message)).collect()
}

/// The hash of an inner node (RFC 6962 §2.1).
pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    #[cfg(target_arch = "x86_64")]
    if let Some(sha_ni) = sha_ni::ShaNi::detect() {
        return sha_ni.node(left, right);
    }
    node_in_blocks(left, right)
}

fn node_in_blocks(left: &Hash, right: &Hash) -> Hash {
    let mut blocks = [[0; 64]; 2];
    let (message, padding) = blocks.as_flattened_mut().split_at_mut(1 + 2 * Hash::LEN);
    if let ([prefix, children @ ..], [end, .., high, low]) = (message, padding) {
        *prefix = NODE;
        let (first, second) = children.split_at_mut(Hash::LEN);
        first.copy_from_slice(&left.0);
        second.copy_from_slice(&right.0);
        *end = 0x80;
        [*high, *low] = NODE_BITS.to_be_bytes();
    }
    let mut state = INITIAL;
    compress256(&mut state, &blocks);
    hash_of(state)
}

/// The hashes of the inner nodes over these pairs.
pub(crate) fn nodes(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = avx512::Avx512::detect() {
        return avx512.nodes(pairs);
    }
    pairs.iter().map(|[left, right]| node(left, right)).collect()
}

fn hash_of(state: [u32; 8]) -> Hash {
    let mut hash = [0; Hash::LEN];
    for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Hash(hash)
}

/// `prefix || message || padding`, in blocks. Those in the middle are the message's own bytes.
#[derive(Clone, Copy)]
struct Padded<'a> {
    /// The first block, and those after the middle: `prefix || message || padding` without the middle.
    ends: [Block; 3],
    /// How many of the ends there are, at least one.
    ends_used: usize,
    middle: &'a [Block],
}

impl<'a> Padded<'a> {
    fn new(prefix: u8, message: &'a [u8]) -> Self {
        let mut ends = [[0; 64]; 3];
        let [[own_prefix, own_first @ ..], _, _] = &mut ends;
        *own_prefix = prefix;
        let (middle, last, mut end) = match message.split_first_chunk::<63>() {
            Some((first, rest)) => {
                *own_first = *first;
                let (middle, last) = rest.as_chunks();
                (middle, last, 64)
            }
            None => (&[][..], message, 1),
        };
        for part in [last, &[0x80]] {
            if let Some(own) = ends.as_flattened_mut().get_mut(end..end + part.len()) {
                own.copy_from_slice(part);
                end += part.len();
            }
        }
        // The length takes the last 8 bytes of a block.
        let ends_used = (end + 8).div_ceil(64);
        let bits = (1 + message.len() as u64).wrapping_mul(8);
        if let Some([.., length]) = ends.get_mut(ends_used - 1).map(|block| block.as_chunks_mut().0) {
            *length = bits.to_be_bytes();
        }
        Self { ends, ends_used, middle }
    }

    /// No message and no blocks.
    #[cfg(target_arch = "x86_64")]
    const NOTHING: Self = Self { ends: [[0; 64]; 3], ends_used: 0, middle: &[] };

    #[cfg(target_arch = "x86_64")]
    const fn blocks(&self) -> usize {
        self.ends_used + self.middle.len()
    }

    /// The block of that number; the first for a number that there is not.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn block(&self, number: usize) -> &Block {
        let [first, ..] = &self.ends;
        let middle = self.middle.get(number.wrapping_sub(1));
        middle.or_else(|| self.ends.get(number.saturating_sub(self.middle.len()))).unwrap_or(first)
    }

    /// The hash, where `before` came out of so many blocks.
    #[cfg(target_arch = "x86_64")]
    fn finish(&self, blocks: usize, before: Hash) -> Hash {
        if blocks >= self.blocks() {
            return before;
        }
        let mut state = INITIAL;
        for (word, bytes) in state.iter_mut().zip(before.0.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        for number in blocks..self.blocks() {
            compress256(&mut state, core::slice::from_ref(self.block(number)));
        }
        hash_of(state)
    }

    fn head(&self) -> &[Block] {
        self.ends.get(..1).unwrap_or_default()
    }

    fn tail(&self) -> &[Block] {
        self.ends.get(1..self.ends_used).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::hash::LEAF;

    fn by_the_crate(prefix: u8, message: &[u8]) -> Hash {
        Hash(Sha256::new().chain_update([prefix]).chain_update(message).finalize().into())
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0_u8..=250).cycle().take(length).collect()
    }

    #[test]
    fn messages_of_every_length_are_padded_right() {
        for length in (0..=300).chain([65_534, 65_535]) {
            let message = bytes(length);
            let expected = by_the_crate(LEAF, &message);
            assert_eq!(one(LEAF, &message), expected, "{length}");
            for count in [0, 1, 8, 9, 15, 16, 17, 33] {
                let hashes = many(LEAF, (0..count).map(|_| message.as_slice()));
                assert_eq!(hashes, vec![expected; count], "{count} of {length} bytes");
            }
        }
    }

    #[test]
    fn messages_of_different_lengths_are_hashed_together() {
        let message = bytes(70_000);
        for seed in 0_usize..200 {
            let length = |place: usize| match (seed + place * place) % 7 {
                0 => 0,
                1 if seed % 3 == 0 => 65_535,
                kind => (seed * 31 + place * 89) % (100 * kind + 1),
            };
            let messages: Vec<&[u8]> =
                (0..seed % 71).map(|place| &message[place..place + length(place)]).collect();
            let expected: Vec<Hash> = messages.iter().map(|message| by_the_crate(1, message)).collect();
            assert_eq!(many(1, messages.into_iter()), expected, "{seed}");
        }
    }

    #[test]
    fn nodes_are_hashed_together_as_one_by_one() {
        let row: Vec<Hash> = (0..200_u8).map(|byte| by_the_crate(LEAF, &[byte])).collect();
        for count in 0..=100 {
            let (pairs, _) = row[..2 * count].as_chunks();
            let expected = pairs.iter().map(|[left, right]| by_the_crate(NODE, &[left.0, right.0].concat()));
            let expected: Vec<Hash> = expected.collect();
            assert_eq!(nodes(pairs), expected, "{count}");
            for node in [node, node_in_blocks] {
                assert_eq!(pairs.iter().map(|[left, right]| node(left, right)).collect::<Vec<_>>(), expected);
            }
        }
    }

    /// The one-block and two-block messages of NIST's examples for SHA-256 and the million letters of FIPS 180-2 C.3, of which
    /// the first byte is the prefix.
    #[test]
    fn the_examples_of_nist_in_every_lane() {
        let million = vec![b'a'; 1_000_000];
        let examples: [(&[u8], &str); 3] = [
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for first in 0..3 {
            // Every lane has each of them at some time.
            let order: Vec<_> = (0..50).map(|place| examples[(first + place) % 3]).collect();
            let hashes = many(b'a', order.iter().map(|(message, _)| &message[1..]));
            for (hash, (_, expected)) in hashes.iter().zip(&order) {
                let hex: alloc::string::String =
                    hash.0.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
                assert_eq!(&hex, expected);
            }
        }
    }
}
