//! Range proofs: that a run of entries, or of hashes in a tile, stands in a tree at one place.
//!
//! An RFC 6962 §2.1.1 path with more than one node at its foot: at each level the sibling on the left of the run,
//! then the one on its right, where the run does not have them itself. The proof of a run of one leaf is that leaf's
//! inclusion proof. It proves no more than its run: that the entries beside it exist, and not what they are. Made
//! sans-IO, as inclusion proofs.

use alloc::vec::Vec;

use crate::error::VerifyError;
use crate::hash::Hash;
use crate::inclusion::fold_subtrees;
use crate::tree::{NodeId, Subtree, TreeSize};

/// The hashes beside the paths from a run of nodes to the root, the lowest first, left before right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeProof {
    hashes: Vec<Hash>,
}

impl RangeProof {
    /// A proof as it was received; it says nothing until its [`root`](Self::root) equals a checkpoint's.
    #[must_use]
    pub const fn new(hashes: Vec<Hash>) -> Self {
        Self { hashes }
    }

    /// The hashes, the lowest first, left before right.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The nodes that a proof of `count` nodes from `first` on, in a tree of `size`, is made from;
    /// [`assemble`](Self::assemble) takes their hashes in this order.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] for no nodes, and for a node that is not a perfect subtree of the tree.
    pub fn nodes(first: NodeId, count: u64, size: TreeSize) -> Result<Vec<NodeId>, VerifyError> {
        Ok(subtrees(Run::of(first, count, size)?, size).into_iter().flat_map(Subtree::nodes).collect())
    }

    /// The proof of `count` nodes from `first` on, in a tree of `size`, from the hashes of [`nodes`](Self::nodes).
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] as [`nodes`](Self::nodes); [`VerifyError::ProofLength`] unless there is
    /// exactly one hash for each node.
    pub fn assemble(first: NodeId, count: u64, size: TreeSize, hashes: &[Hash]) -> Result<Self, VerifyError> {
        fold_subtrees(&subtrees(Run::of(first, count, size)?, size), hashes).map(Self::new)
    }

    /// The root of the tree of `size` that has the hashes of `row` from `first` on, if this proof is right.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] for an empty row, and for a node that is not a perfect subtree of the tree;
    /// [`VerifyError::ProofLength`] unless the proof has exactly the hashes that the three demand.
    pub fn root(&self, row: &[Hash], first: NodeId, size: TreeSize) -> Result<Hash, VerifyError> {
        let run = Run::of(first, row.len() as u64, size)?;
        if run.levels().flat_map(Run::siblings).flatten().count() != self.hashes.len() {
            return Err(VerifyError::ProofLength);
        }
        let mut hashes = self.hashes.iter().copied();
        let mut row = row.to_vec();
        for [left, right] in run.levels().map(Run::siblings) {
            if let Some(hash) = left.and_then(|_| hashes.next()) {
                row.insert(0, hash);
            }
            row.extend(right.and_then(|_| hashes.next()));
            row = Hash::parents(&row);
        }
        row.first().copied().ok_or(VerifyError::IndexBeyondTree)
    }
}

/// The nodes `[start, last]` of one level, of a tree whose last node there, perfect or not, is `end`.
#[derive(Clone, Copy, Debug)]
struct Run {
    level: u32,
    start: u64,
    last: u64,
    end: u64,
}

impl Run {
    /// The run of `count` nodes, if there is at least one and each is a perfect subtree of the tree.
    fn of(first: NodeId, count: u64, size: TreeSize) -> Result<Self, VerifyError> {
        let level = u32::from(first.level);
        let perfect = size.0.checked_shr(level).unwrap_or(0);
        let last = count.checked_sub(1).and_then(|rest| first.index.checked_add(rest));
        let last = last.filter(|&last| last < perfect).ok_or(VerifyError::IndexBeyondTree)?;
        Ok(Self { level, start: first.index, last, end: (size.0 - 1) >> level })
    }

    /// This run and those above it, up to the root's children.
    fn levels(self) -> impl Iterator<Item = Self> {
        core::iter::successors(Some(self), |run| {
            let Self { level, start, last, end } = *run;
            Some(Self { level: level + 1, start: start >> 1, last: last >> 1, end: end >> 1 })
        })
        .take_while(|run| run.end > 0)
    }

    /// The indexes of the siblings that are needed, left and right. The tree's last node may have none.
    fn siblings(self) -> [Option<u64>; 2] {
        let left = (self.start & 1 == 1).then(|| self.start - 1);
        let right = (self.last & 1 == 0 && self.last < self.end).then(|| self.last + 1);
        [left, right]
    }
}

/// The subtrees whose roots are the proof, in order.
fn subtrees(run: Run, size: TreeSize) -> Vec<Subtree> {
    run.levels()
        .flat_map(|run| run.siblings().into_iter().flatten().map(move |index| (run.level, index)))
        .map(|(level, index)| Subtree::under(level, index, size))
        .collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn never_panics_on_the_largest_numbers() {
        let hash = Hash::leaf(b"x");
        let numbers = [0, 1, 2, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        for level in [0, 1, 8, 62, 63, 64, 255] {
            for index in numbers {
                for size in numbers.map(TreeSize) {
                    let first = NodeId { level, index };
                    for count in numbers {
                        let _ = RangeProof::nodes(first, count, size);
                        let _ = RangeProof::assemble(first, count, size, &[hash; 3]);
                    }
                    for length in [0, 1, 63, 64, 128, 129] {
                        let _ = RangeProof::new(vec![hash; length]).root(&vec![hash; length], first, size);
                    }
                }
            }
        }
    }

    #[test]
    fn no_nodes_and_imperfect_nodes_are_refused() {
        let refused = |level, index, count, size| {
            RangeProof::nodes(NodeId { level, index }, count, TreeSize(size))
                == Err(VerifyError::IndexBeyondTree)
        };
        assert!(refused(0, 0, 0, 7) && refused(0, 7, 1, 7) && refused(0, 6, 2, 7) && refused(0, 0, 1, 0));
        assert!(refused(1, 3, 1, 7) && refused(1, 2, 2, 7) && refused(0, u64::MAX, 2, u64::MAX));
        assert!(!refused(0, 6, 1, 7) && !refused(1, 0, 3, 7) && !refused(63, 0, 1, u64::MAX));
    }
}
