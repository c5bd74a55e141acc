//! Many inclusion proofs against one tree, with the work that their paths have in common done once.
//!
//! The verdict is that of RFC 9162 §2.1.3.2 on each proof alone. The proofs climb together, level by level: where two
//! paths meet, they must agree on all that is left of them, and go on as one. It does not make smaller proofs; entries that
//! are neighbours are [read](crate::LogRead) as a run.

use alloc::vec::Vec;

use crate::error::VerifyError;
use crate::hash::Hash;
use crate::inclusion::root_of_path;
use crate::tree::{LeafIndex, TreeHead};

/// What an inclusion proof claims: that the tree has this leaf at this index.
#[derive(Clone, Copy, Debug)]
pub struct Inclusion<'a> {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's hash.
    pub leaf: Hash,
    /// The hashes of the proof, the leaf's sibling first.
    pub proof: &'a [Hash],
}

/// The first of many inclusions that is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotIncluded {
    /// Its 0-based position among them, as they were given.
    pub position: usize,
    /// Why not: what its proof alone is refused with.
    pub error: VerifyError,
}

/// Verifies that each of `inclusions`, in any order, leads to the root of `head`. Of none there is nothing to prove.
///
/// # Errors
/// For the first in the order given: [`VerifyError::IndexBeyondTree`], [`VerifyError::ProofLength`] and
/// [`VerifyError::RootMismatch`].
pub fn verify_inclusions(inclusions: &[Inclusion<'_>], head: &TreeHead) -> Result<(), NotIncluded> {
    if inclusions.is_empty() || climb_together(inclusions, head) == Some(head.root) {
        return Ok(());
    }
    // Together they say that something is wrong, and not what.
    for (position, inclusion) in inclusions.iter().enumerate() {
        inclusion.verify(head).map_err(|error| NotIncluded { position, error })?;
    }
    Ok(())
}

impl Inclusion<'_> {
    fn verify(&self, head: &TreeHead) -> Result<(), VerifyError> {
        let root = root_of_path(&self.leaf, self.index, head.size, self.proof)?;
        if root == head.root { Ok(()) } else { Err(VerifyError::RootMismatch) }
    }
}

/// A node on the path of at least one leaf, and what is left of those leaves' proofs above it.
#[derive(Clone, Copy)]
struct Climber<'a> {
    index: u64,
    hash: Hash,
    above: &'a [Hash],
}

/// The root that all the proofs lead to; `None` if one leads to none, or any two contradict each other.
fn climb_together(inclusions: &[Inclusion<'_>], head: &TreeHead) -> Option<Hash> {
    let mut end = head.size.0.checked_sub(1)?;
    let mut climbers = leaves(inclusions)?;
    if climbers.last()?.index > end {
        return None;
    }
    // Each level has its climbers in the order of their indexes, each index once.
    while end > 0 {
        climbers = climb_a_level(&climbers, end)?;
        end >>= 1;
    }
    let top = climbers.first()?;
    top.above.is_empty().then_some(top.hash)
}

/// The leaves in their order, each once.
fn leaves<'a>(inclusions: &[Inclusion<'a>]) -> Option<Vec<Climber<'a>>> {
    let climber = |inclusion: &Inclusion<'a>| Climber {
        index: inclusion.index.0,
        hash: inclusion.leaf,
        above: inclusion.proof,
    };
    let climbers: Vec<_> = inclusions.iter().map(climber).collect();
    climbers.is_sorted_by(|a, b| a.index < b.index).then_some(climbers)
}

/// The climbers' parents, where `end` is the index of the level's last node.
fn climb_a_level<'a>(climbers: &[Climber<'a>], end: u64) -> Option<Vec<Climber<'a>>> {
    let mut row = Vec::with_capacity(2 * climbers.len());
    let mut parents = Vec::with_capacity(climbers.len());
    let mut rest = climbers;
    while let Some((climber, others)) = rest.split_first() {
        rest = others;
        let mut parent = *climber;
        parent.index >>= 1;
        row.push(climber.hash);
        // The last node of the level may have no sibling: it is its own parent.
        if climber.index != end || end & 1 == 1 {
            let (sibling, above) = climber.above.split_first()?;
            let place = row.len() - usize::from(climber.index & 1 == 1);
            row.insert(place, *sibling);
            parent.above = above;
            if let Some((other, others)) = rest.split_first()
                && other.index == climber.index | 1
            {
                let agree =
                    other.hash == *sibling && other.above.split_first() == Some((&climber.hash, above));
                agree.then_some(())?;
                rest = others;
            }
        }
        parents.push(parent);
    }
    for (parent, hash) in parents.iter_mut().zip(Hash::parents(&row)) {
        parent.hash = hash;
    }
    Some(parents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeSize;

    #[test]
    fn never_panics_on_the_largest_numbers() {
        let leaf = Hash::leaf(b"x");
        let indexes = [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        for length in [0, 1, 63, 64, 65] {
            let proof = alloc::vec![leaf; length];
            let inclusion = |index| Inclusion { index: LeafIndex(index), leaf, proof: &proof };
            for size in [0, 1, 2, 1 << 63, u64::MAX - 1, u64::MAX] {
                let head = TreeHead { size: TreeSize(size), root: leaf };
                for index in indexes {
                    let _ = verify_inclusions(&[inclusion(index)], &head);
                }
                let _ = verify_inclusions(&indexes.map(inclusion), &head);
            }
        }
    }

    #[test]
    fn none_are_proven_by_any_tree() {
        assert_eq!(verify_inclusions(&[], &TreeHead::EMPTY), Ok(()));
    }
}
