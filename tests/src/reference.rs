//! RFC 6962 §2.1 word for word: recursive, slow, and independent of the crate it tests.

use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Digest32 = [u8; 32];

/// `MTH(D[n])`.
#[must_use]
pub fn root(entries: &[Vec<u8>]) -> Digest32 {
    match entries {
        [] => Sha256::digest([]).into(),
        [entry] => Sha256::new().chain_update([0]).chain_update(entry).finalize().into(),
        _ => {
            let (left, right) = entries.split_at(split(entries.len()));
            node(&root(left), &root(right))
        }
    }
}

/// `PATH(m, D[n])`.
#[must_use]
pub fn inclusion(index: usize, entries: &[Vec<u8>]) -> Vec<Digest32> {
    if entries.len() == 1 {
        return vec![];
    }
    let k = split(entries.len());
    let (left, right) = entries.split_at(k);
    let (mut path, sibling) = if index < k {
        (inclusion(index, left), root(right))
    } else {
        (inclusion(index - k, right), root(left))
    };
    path.push(sibling);
    path
}

/// `PROOF(m, D[n])`, and no hashes for `m = n`.
#[must_use]
pub fn consistency(old: usize, entries: &[Vec<u8>]) -> Vec<Digest32> {
    subproof(old, entries, true)
}

/// `SUBPROOF(m, D[n], b)`.
fn subproof(old: usize, entries: &[Vec<u8>], known: bool) -> Vec<Digest32> {
    if old == entries.len() {
        return if known { vec![] } else { vec![root(entries)] };
    }
    let k = split(entries.len());
    let (left, right) = entries.split_at(k);
    let (mut proof, sibling) = if old <= k {
        (subproof(old, left, known), root(right))
    } else {
        (subproof(old - k, right, false), root(left))
    };
    proof.push(sibling);
    proof
}

/// The hash of an inner node.
#[must_use]
pub fn node(left: &Digest32, right: &Digest32) -> Digest32 {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}
