//! The hash of RFC 6962: SHA-256 with a prefix that tells a leaf from an inner node.
//!
//! Implements RFC 6962 §2.1. It hashes; it does not know the shape of a tree.

use alloc::vec::Vec;
use core::fmt;

use crate::base64;
use crate::error::ParseError;
#[cfg(not(target_feature = "simd128"))]
use crate::sha256::{many, node, nodes, one};

/// A SHA-256 value: of a leaf, of a node, or of a whole tree (its root).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The length of a hash in bytes.
    pub const LEN: usize = 32;

    /// The root of the tree without entries: SHA-256 of nothing (RFC 6962 §2.1).
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash of an entry: `SHA-256(0x00 || entry)` (RFC 6962 §2.1).
    #[must_use]
    pub fn leaf(entry: &[u8]) -> Self {
        one(LEAF, entry)
    }

    /// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962 §2.1).
    #[must_use]
    pub fn node(left: &Self, right: &Self) -> Self {
        node(left, right)
    }

    /// The hashes of these entries, in their order.
    #[must_use]
    pub fn leaves<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<Self> {
        many(LEAF, entries.into_iter())
    }

    /// The row above `row`: the nodes over its pairs. A last hash without a partner stands for itself, as at the
    /// right border of a tree.
    #[must_use]
    pub fn parents(row: &[Self]) -> Vec<Self> {
        let (pairs, last) = row.as_chunks();
        let mut parents = nodes(pairs);
        parents.extend_from_slice(last);
        parents
    }

    /// The hash whose 32 bytes are `bytes`; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads canonical standard base64 (RFC 4648 §4), 44 characters.
    ///
    /// # Errors
    /// Anything else, non-canonical padding bits included.
    pub fn parse_base64(text: &[u8]) -> Result<Self, ParseError> {
        let bytes = base64::parse(text)?;
        Self::from_slice(&bytes).ok_or(ParseError::Base64)
    }
}

/// What is hashed before an entry, and before the children of a node.
pub(crate) const LEAF: u8 = 0x00;
pub(crate) const NODE: u8 = 0x01;

#[cfg(target_feature = "simd128")]
fn children(left: &Hash, right: &Hash) -> [u8; 2 * Hash::LEN] {
    let mut both = [0; 2 * Hash::LEN];
    let (l, r) = both.split_at_mut(Hash::LEN);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    both
}

#[cfg(target_feature = "simd128")]
fn node(left: &Hash, right: &Hash) -> Hash {
    one(NODE, &children(left, right))
}

#[cfg(target_feature = "simd128")]
fn nodes(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    many(NODE, pairs.iter().map(|[left, right]| children(left, right)))
}

/// `SHA-256(prefix || message)`.
#[cfg(target_feature = "simd128")]
fn one(prefix: u8, message: &[u8]) -> Hash {
    many(prefix, core::iter::once(message)).pop().unwrap_or(Hash::EMPTY_ROOT)
}

/// `SHA-256(prefix || message)`, of each message.
#[cfg(target_feature = "simd128")]
fn many(prefix: u8, mut messages: impl Iterator<Item: AsRef<[u8]>>) -> Vec<Hash> {
    crate::lanes::sha256(prefix, &mut |buffer| {
        messages.next().map(|message| buffer.extend_from_slice(message.as_ref())).is_some()
    })
}

/// `SHA-256(message)`.
pub(crate) fn sha256(message: &[u8]) -> Hash {
    message.split_first().map_or(Hash::EMPTY_ROOT, |(first, rest)| one(*first, rest))
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Standard base64, as every C2SP format writes a hash.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::format(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(Hash::EMPTY_ROOT.0[..], Sha256::digest([])[..]);
    }

    #[test]
    fn a_leaf_and_a_node_of_the_same_bytes_differ() {
        let (left, right) = (Hash::leaf(b"a"), Hash::leaf(b"b"));
        let joined = [left.0, right.0].concat();
        assert_ne!(Hash::leaf(&joined), Hash::node(&left, &right));
    }
}
