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

/// The hashes beside the run `D[start:end]`, the lowest first, left before right: `PATH` for each of its two ends.
#[must_use]
pub fn range(start: usize, end: usize, entries: &[Vec<u8>]) -> Vec<Digest32> {
    beside(start, end, entries).into_iter().map(|(_, hash)| hash).collect()
}

/// What [`range`] gives, each with the number of leaves on the left of the split it stands at.
fn beside(start: usize, end: usize, entries: &[Vec<u8>]) -> Vec<(usize, Digest32)> {
    if end - start == entries.len() {
        return vec![];
    }
    let k = split(entries.len());
    let (left, right) = entries.split_at(k);
    if start < k && k < end {
        let mut both = beside(start, k, left);
        both.extend(beside(0, end - k, right));
        both.sort_by_key(|(split, _)| *split);
        return both;
    }
    let (mut path, sibling) = if end <= k {
        (beside(start, end, left), root(right))
    } else {
        (beside(start - k, end - k, right), root(left))
    };
    path.push((k, sibling));
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
