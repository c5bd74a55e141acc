//! Inclusion proofs: that an entry stands at an index of a tree.
//!
//! Implements RFC 6962 §2.1.1, and its verification as RFC 9162 §2.1.3.2 has it. Making a proof is sans-IO: ask
//! [`InclusionProof::nodes`] which hashes it needs, fetch them, hand them to [`InclusionProof::assemble`].

use alloc::vec::Vec;

use crate::error::VerifyError;
use crate::hash::Hash;
use crate::tree::{LeafIndex, NodeId, PathShape, Subtree, TreeSize, path, root_of_peaks};

/// The hashes beside the path from a leaf to the root, the leaf's sibling first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    hashes: Vec<Hash>,
}

impl InclusionProof {
    /// A proof as it was received; it says nothing until its [`root`](Self::root) equals a checkpoint's.
    #[must_use]
    pub const fn new(hashes: Vec<Hash>) -> Self {
        Self { hashes }
    }

    /// The hashes, the leaf's sibling first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The nodes that a proof of `index` in a tree of `size` is made from; [`assemble`](Self::assemble) takes their
    /// hashes in this order.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `index < size`.
    pub fn nodes(index: LeafIndex, size: TreeSize) -> Result<Vec<NodeId>, VerifyError> {
        if index.0 >= size.0 {
            return Err(VerifyError::IndexBeyondTree);
        }
        Ok(path(0, index.0, size).into_iter().flat_map(Subtree::nodes).collect())
    }

    /// The proof of `index` in a tree of `size`, from the hashes of [`nodes`](Self::nodes).
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `index < size`; [`VerifyError::ProofLength`] unless there is exactly
    /// one hash for each node.
    pub fn assemble(index: LeafIndex, size: TreeSize, hashes: &[Hash]) -> Result<Self, VerifyError> {
        if index.0 >= size.0 {
            return Err(VerifyError::IndexBeyondTree);
        }
        fold_subtrees(&path(0, index.0, size), hashes).map(Self::new)
    }

    /// The number of hashes that a proof of `index` in a tree of `size` has.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `index < size`.
    pub fn length(index: LeafIndex, size: TreeSize) -> Result<usize, VerifyError> {
        let shape = path_shape(index, size)?;
        Ok((shape.inner + shape.border) as usize)
    }

    /// The root of the tree of `size` that has `leaf` at `index`, if this proof is right.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `index < size`; [`VerifyError::ProofLength`] unless the proof has
    /// exactly the hashes that the two demand.
    pub fn root(&self, leaf: &Hash, index: LeafIndex, size: TreeSize) -> Result<Hash, VerifyError> {
        root_of_path(leaf, index, size, &self.hashes)
    }
}

/// The root that `hashes` lead to, as [`InclusionProof::root`] gives it.
pub(crate) fn root_of_path(
    leaf: &Hash,
    index: LeafIndex,
    size: TreeSize,
    hashes: &[Hash],
) -> Result<Hash, VerifyError> {
    let shape = path_shape(index, size)?;
    let (inner, border) = split_path(hashes, shape)?;
    let below = climb(*leaf, inner, index.0);
    Ok(climb_border(below, border))
}

fn path_shape(index: LeafIndex, size: TreeSize) -> Result<PathShape, VerifyError> {
    let last = size.0.checked_sub(1).filter(|&last| index.0 <= last).ok_or(VerifyError::IndexBeyondTree)?;
    Ok(PathShape::of(index.0, last))
}

/// Folds the hashes of the subtrees' nodes, listed one subtree after the other, into one hash a subtree.
pub(crate) fn fold_subtrees(subtrees: &[Subtree], mut hashes: &[Hash]) -> Result<Vec<Hash>, VerifyError> {
    let mut folded = Vec::with_capacity(subtrees.len());
    for subtree in subtrees {
        let (own, rest) = hashes.split_at_checked(subtree.nodes().count()).ok_or(VerifyError::ProofLength)?;
        folded.push(root_of_peaks(own));
        hashes = rest;
    }
    if hashes.is_empty() { Ok(folded) } else { Err(VerifyError::ProofLength) }
}

/// The two parts of a path, which must have exactly this shape.
pub(crate) fn split_path(hashes: &[Hash], shape: PathShape) -> Result<(&[Hash], &[Hash]), VerifyError> {
    let inner = shape.inner as usize;
    if hashes.len() != inner + shape.border as usize {
        return Err(VerifyError::ProofLength);
    }
    hashes.split_at_checked(inner).ok_or(VerifyError::ProofLength)
}

/// Climbs past siblings on either side: bit i of `index` says whether the i-th is on the left.
pub(crate) fn climb(start: Hash, siblings: &[Hash], index: u64) -> Hash {
    (0_u32..).zip(siblings).fold(start, |below, (level, sibling)| {
        if index.checked_shr(level).unwrap_or(0) & 1 == 0 {
            Hash::node(&below, sibling)
        } else {
            Hash::node(sibling, &below)
        }
    })
}

/// Climbs the right border of a tree, where all siblings are on the left.
pub(crate) fn climb_border(start: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(start, |below, sibling| Hash::node(sibling, &below))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn never_panics_on_the_largest_numbers() {
        let leaf = Hash::leaf(b"x");
        for length in [0, 1, 63, 64, 65] {
            let proof = InclusionProof::new(vec![leaf; length]);
            for index in [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX] {
                for size in [0, 1, 2, 1 << 63, u64::MAX - 1, u64::MAX] {
                    let _ = proof.root(&leaf, LeafIndex(index), TreeSize(size));
                    let _ = InclusionProof::nodes(LeafIndex(index), TreeSize(size));
                    let _ = InclusionProof::assemble(LeafIndex(index), TreeSize(size), proof.hashes());
                }
            }
        }
    }
}
