//! Inclusion proofs (RFC 9162 §2.1.3.2).

use alloc::vec::Vec;

use crate::error::VerifyError;
use crate::hash::Hash;
use crate::tree::{LeafIndex, TreeSize};

/// The hashes that lead from a leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    hashes: Vec<Hash>,
}

impl InclusionProof {
    /// A proof of these hashes, the leaf's sibling first.
    #[must_use]
    pub fn new(hashes: Vec<Hash>) -> Self {
        Self { hashes }
    }

    /// The hashes, the leaf's sibling first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root that follows from the leaf hash and this proof.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`], [`VerifyError::ProofLength`].
    pub fn root(&self, leaf: &Hash, index: LeafIndex, size: TreeSize) -> Result<Hash, VerifyError> {
        if index.0 >= size.0 {
            return Err(VerifyError::IndexBeyondTree);
        }
        let (mut node, mut last, mut hash) = (index.0, size.0 - 1, *leaf);
        for sibling in &self.hashes {
            if last == 0 {
                return Err(VerifyError::ProofLength);
            }
            if node & 1 == 1 || node == last {
                hash = Hash::node(sibling, &hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = Hash::node(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last == 0 { Ok(hash) } else { Err(VerifyError::ProofLength) }
    }
}
