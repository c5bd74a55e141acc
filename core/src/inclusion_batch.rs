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

/// How many climb together: what they hold stays in a processor's cache, and they share nearly all that more would.
const AT_ONCE: usize = 256;

/// What an inclusion proof claims: that the tree has this leaf at this index.
#[derive(Clone, Copy, Debug)]
pub struct Inclusion<'a> {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's hash.
    pub leaf: Hash,
    /// The hashes of the proof as they were received, the leaf's sibling first.
    pub proof: &'a [[u8; Hash::LEN]],
}

/// The first of many inclusions that is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotIncluded {
    /// Its 0-based position among them, as they were given.
    pub position: usize,
    /// Why not: what its proof alone is refused with.
    pub error: VerifyError,
}

/// Verifies that each of `inclusions` leads to the root of `head`. Of none there is nothing to prove. In the order of
/// their indexes, each once, they are verified together; in any other order one by one, which takes much longer.
///
/// # Errors
/// For the first in the order given: [`VerifyError::IndexBeyondTree`], [`VerifyError::ProofLength`] and
/// [`VerifyError::RootMismatch`].
pub fn verify_inclusions(inclusions: &[Inclusion<'_>], head: &TreeHead) -> Result<(), NotIncluded> {
    if inclusions.chunks(AT_ONCE).all(|some| climb_together(some, head) == Some(head.root)) {
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
        let proof: Vec<Hash> = self.proof.iter().copied().map(Hash).collect();
        let root = root_of_path(&self.leaf, self.index, head.size, &proof)?;
        if root == head.root { Ok(()) } else { Err(VerifyError::RootMismatch) }
    }
}

/// A node on the path of at least one leaf, and what is left of those leaves' proofs above it.
#[derive(Clone, Copy)]
struct Climber<'a> {
    index: u64,
    hash: Hash,
    above: &'a [[u8; Hash::LEN]],
}

/// The root that all the proofs lead to; `None` if one leads to none, or any two contradict each other.
fn climb_together(inclusions: &[Inclusion<'_>], head: &TreeHead) -> Option<Hash> {
    let mut end = head.size.0.checked_sub(1)?;
    let mut climbers = leaves(inclusions)?;
    if climbers.last()?.index > end {
        return None;
    }
    // Each level has its climbers in the order of their indexes, each index once.
    let (mut parents, mut row) = (Vec::new(), Vec::new());
    while end > 0 {
        climb_a_level(&climbers, end, &mut parents, &mut row)?;
        core::mem::swap(&mut climbers, &mut parents);
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

/// Puts the climbers' parents in `parents`, where `end` is the index of the level's last node. What `parents` and `row`
/// held before is gone.
fn climb_a_level<'a>(
    climbers: &[Climber<'a>],
    end: u64,
    parents: &mut Vec<Climber<'a>>,
    row: &mut Vec<Hash>,
) -> Option<()> {
    parents.clear();
    row.clear();
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
            row.insert(place, Hash(*sibling));
            parent.above = above;
            if let Some((other, others)) = rest.split_first()
                && other.index == climber.index | 1
            {
                let (own, rest_of_other) = other.above.split_first()?;
                (other.hash.0 == *sibling && *own == climber.hash.0 && rest_of_other == above)
                    .then_some(())?;
                rest = others;
            }
        }
        parents.push(parent);
    }
    for (parent, hash) in parents.iter_mut().zip(Hash::parents(row)) {
        parent.hash = hash;
    }
    Some(())
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
            let proof = alloc::vec![leaf.0; length];
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
