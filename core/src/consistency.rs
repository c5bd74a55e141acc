//! Consistency proofs: that a tree begins with all the entries of an older one, unchanged and in their order.
//!
//! Implements RFC 6962 §2.1.2, and its verification as RFC 9162 §2.1.4.2 has it. Made sans-IO, as inclusion proofs.

use alloc::vec::Vec;

use crate::checkpoint::Checkpoint;
use crate::error::VerifyError;
use crate::hash::Hash;
use crate::inclusion::{climb_border, fold_subtrees, split_path};
use crate::tree::{NodeId, PathShape, Subtree, TreeHead, TreeSize, path};

/// The hashes that lead from an old root to a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// A proof as it was received; it says nothing until it is [verified](Self::verify).
    #[must_use]
    pub const fn new(hashes: Vec<Hash>) -> Self {
        Self { hashes }
    }

    /// The hashes, in the order of RFC 6962 §2.1.2.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The nodes that a proof from `old` to `new` is made from; [`assemble`](Self::assemble) takes their hashes in
    /// this order. None if the sizes are equal or `old` is 0.
    ///
    /// # Errors
    /// [`VerifyError::TreeShrank`] if `new < old`.
    pub fn nodes(old: TreeSize, new: TreeSize) -> Result<Vec<NodeId>, VerifyError> {
        Ok(subtrees(old, new)?.into_iter().flat_map(Subtree::nodes).collect())
    }

    /// The proof from `old` to `new`, from the hashes of [`nodes`](Self::nodes).
    ///
    /// # Errors
    /// [`VerifyError::TreeShrank`] if `new < old`; [`VerifyError::ProofLength`] unless there is exactly one hash for
    /// each node.
    pub fn assemble(old: TreeSize, new: TreeSize, hashes: &[Hash]) -> Result<Self, VerifyError> {
        fold_subtrees(&subtrees(old, new)?, hashes).map(Self::new)
    }

    /// Verifies that the tree of `new` begins with the tree of `old`.
    ///
    /// # Errors
    /// [`VerifyError::TreeShrank`] if `new` is smaller; [`VerifyError::ProofLength`] unless the proof has exactly the
    /// hashes that the sizes demand; [`VerifyError::RootMismatch`] if it does not lead to the new root;
    /// [`VerifyError::HistoryRewritten`] if it does, and not to the old one, or if two roots are of one size. The
    /// proof from an old tree of 2^n leaves begins at its root: with another root it leads to no new one.
    pub fn verify(&self, old: &TreeHead, new: &TreeHead) -> Result<(), VerifyError> {
        if new.size < old.size {
            return Err(VerifyError::TreeShrank);
        }
        if needs_no_hashes(old.size, new.size) {
            return if self.hashes.is_empty() { compare(old, new) } else { Err(VerifyError::ProofLength) };
        }
        let (seed, path) = if old.size.0.is_power_of_two() {
            (old.root, self.hashes.as_slice())
        } else {
            self.hashes.split_first().map(|(seed, path)| (*seed, path)).ok_or(VerifyError::ProofLength)?
        };
        verify_from(seed, path, old, new)
    }
}

impl Checkpoint {
    /// The size and the root.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        TreeHead { size: self.size(), root: self.root() }
    }

    /// Verifies that this log has kept all that `old` covers, unchanged and in its order.
    ///
    /// # Errors
    /// [`VerifyError::OriginMismatch`] if the two are of different logs; else as [`ConsistencyProof::verify`].
    pub fn verify_extends(&self, old: &Self, proof: &ConsistencyProof) -> Result<(), VerifyError> {
        if self.origin() != old.origin() {
            return Err(VerifyError::OriginMismatch);
        }
        proof.verify(&old.head(), &self.head())
    }
}

/// The lowest peak of the old tree, as level and index: the node from which both roots can be reached.
fn last_node(old: TreeSize) -> (u32, u64) {
    let level = old.0.trailing_zeros();
    (level, (old.0 - 1) >> level)
}

/// RFC 6962 defines no proof for these two; C2SP asks for one without hashes.
fn needs_no_hashes(old: TreeSize, new: TreeSize) -> bool {
    old.0 == 0 || old == new
}

/// The verdict where there is nothing to hash: any tree extends the empty one, and each tree itself.
fn compare(old: &TreeHead, new: &TreeHead) -> Result<(), VerifyError> {
    if [old, new].iter().any(|head| head.size.0 == 0 && head.root != Hash::EMPTY_ROOT) {
        return Err(VerifyError::RootMismatch);
    }
    if old.size == new.size && old.root != new.root { Err(VerifyError::HistoryRewritten) } else { Ok(()) }
}

/// Verifies that `path` leads from `seed`, the last peak of the old tree, to the new root, and then to the old one.
/// Requires `0 < old.size < new.size`.
fn verify_from(seed: Hash, path: &[Hash], old: &TreeHead, new: &TreeHead) -> Result<(), VerifyError> {
    let (level, index) = last_node(old.size);
    let shape = PathShape::of(index, (new.size.0 - 1) >> level);
    let (inner, border) = split_path(path, shape)?;
    // The old tree has only the siblings on the left; the new one has them all.
    let (mut old_root, mut new_root) = (seed, seed);
    for (above, hash) in (0_u32..).zip(inner) {
        if (index >> above) & 1 == 1 {
            old_root = Hash::node(hash, &old_root);
            new_root = Hash::node(hash, &new_root);
        } else {
            new_root = Hash::node(&new_root, hash);
        }
    }
    old_root = climb_border(old_root, border);
    new_root = climb_border(new_root, border);
    if new_root != new.root {
        Err(VerifyError::RootMismatch)
    } else if old_root != old.root {
        Err(VerifyError::HistoryRewritten)
    } else {
        Ok(())
    }
}

/// The subtrees whose roots are the proof, in order.
fn subtrees(old: TreeSize, new: TreeSize) -> Result<Vec<Subtree>, VerifyError> {
    if new < old {
        return Err(VerifyError::TreeShrank);
    }
    if needs_no_hashes(old, new) {
        return Ok(Vec::new());
    }
    // The verifier knows the old root: a peak that is the whole old tree need not be sent.
    Ok(seed_and_path(old, new).skip(usize::from(old.0.is_power_of_two())).collect())
}

/// The last peak of the old tree, then the subtrees on its path to the new root. Requires `0 < old < new`.
fn seed_and_path(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Subtree> {
    let (level, index) = last_node(old);
    core::iter::once(Subtree::under(level, index, new)).chain(path(level, index, new))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn never_panics_on_the_largest_numbers() {
        let root = Hash::leaf(b"x");
        let sizes = [0, 1, 2, 3, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
        for length in [0, 1, 63, 64, 65, 128] {
            let proof = ConsistencyProof::new(vec![root; length]);
            for old in sizes.map(TreeSize) {
                for new in sizes.map(TreeSize) {
                    let _ = proof.verify(&TreeHead { size: old, root }, &TreeHead { size: new, root });
                    let _ = ConsistencyProof::nodes(old, new);
                    let _ = ConsistencyProof::assemble(old, new, proof.hashes());
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_is_extended_by_any_tree_without_hashes() {
        let new = TreeHead { size: TreeSize(3), root: Hash::leaf(b"x") };
        assert_eq!(ConsistencyProof::new(vec![]).verify(&TreeHead::EMPTY, &new), Ok(()));
        let forged = TreeHead { size: TreeSize(0), root: new.root };
        assert_eq!(ConsistencyProof::new(vec![]).verify(&forged, &new), Err(VerifyError::RootMismatch));
        assert_eq!(ConsistencyProof::new(vec![]).verify(&forged, &forged), Err(VerifyError::RootMismatch));
    }

    #[test]
    fn two_roots_of_one_size_are_two_histories() {
        let [old, new] = [b"x", b"y"].map(|entry| TreeHead { size: TreeSize(3), root: Hash::leaf(entry) });
        let proof = ConsistencyProof::new(vec![]);
        assert_eq!(proof.verify(&old, &new), Err(VerifyError::HistoryRewritten));
        assert_eq!(proof.verify(&new, &new), Ok(()));
        let longer = ConsistencyProof::new(vec![new.root]);
        assert_eq!(longer.verify(&old, &new), Err(VerifyError::ProofLength));
    }
}
