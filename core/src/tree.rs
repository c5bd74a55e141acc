//! The shape of an RFC 6962 tree: which perfect subtrees a range of leaves is made of.
//!
//! Implements the recursion of RFC 6962 §2.1 as index arithmetic. It holds no hashes of a tree.
//!
//! ```text
//! level 3                                     A tree of 7 leaves. A node at level L and index i covers
//! level 2        0               .            the leaves [i·2^L, (i+1)·2^L): only perfect subtrees are
//!            /       \        /     \         nodes. The tree is the row of its peaks, here (2,0), (1,2)
//! level 1    0       1       2       \        and (0,6): the largest perfect subtrees, left to right. A
//!          /  \    /  \    /  \       \       dot is what their hashes are folded into, from the right.
//! level 0  0   1   2   3   4   5       6
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::hash::Hash;

/// The position of an entry in its log; the first is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafIndex(pub u64);

/// The number of entries in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeSize(pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tree without its signature: what a checkpoint says, what a sequencer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The number of entries.
    pub size: TreeSize,
    /// The root of the tree over all of them.
    pub root: Hash,
}

impl TreeHead {
    /// The tree without entries.
    pub const EMPTY: Self = Self { size: TreeSize(0), root: Hash::EMPTY_ROOT };
}

/// A perfect subtree: the leaves `[index << level, (index + 1) << level)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// The height above the leaves, 0 to 63.
    pub level: u8,
    /// The position among the nodes of this level; the first is 0.
    pub index: u64,
}

/// The nodes whose hashes [`root_of_peaks`] folds into the root of a tree of `size`, left to right; at most 64.
#[must_use]
pub fn peaks(size: TreeSize) -> Vec<NodeId> {
    Subtree { start: 0, end: size.0 }.nodes().collect()
}

/// The root of the tree whose peaks, left to right, have these hashes.
#[must_use]
pub fn root_of_peaks(hashes: &[Hash]) -> Hash {
    match hashes.split_last() {
        None => Hash::EMPTY_ROOT,
        Some((last, rest)) => rest.iter().rfold(*last, |right, left| Hash::node(left, &right)),
    }
}

/// A subtree of RFC 6962 over the leaves `[start, end)`: perfect, or the right border of a tree.
///
/// Requires `start < end`, and `start` to be a multiple of a power of two that is not below `end - start`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subtree {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Subtree {
    /// The subtree under the node at `level` and `index`, as far as it lies in a tree of `size`.
    pub(crate) fn under(level: u32, index: u64, size: TreeSize) -> Self {
        let start = index.checked_shl(level).unwrap_or(0);
        let width = 1_u64.checked_shl(level).unwrap_or(u64::MAX);
        Self { start, end: start.saturating_add(width).min(size.0) }
    }

    /// Its perfect subtrees, the largest first.
    pub(crate) fn nodes(self) -> impl Iterator<Item = NodeId> {
        let mut start = self.start;
        core::iter::from_fn(move || {
            let level = self.end.checked_sub(start)?.checked_ilog2()?;
            let node = NodeId { level: u8::try_from(level).ok()?, index: start >> level };
            start = start.saturating_add(1 << level);
            Some(node)
        })
    }
}

/// The subtrees beside the path from the node at `level` and `index` up to the root of a tree of `size`, the
/// lowest first: RFC 6962 §2.1.1's PATH. Requires the node to be a perfect subtree of that tree.
pub(crate) fn path(level: u32, index: u64, size: TreeSize) -> Vec<Subtree> {
    let shape = PathShape::of(index, size.0.saturating_sub(1).checked_shr(level).unwrap_or(0));
    let mut subtrees = Vec::new();
    // Below the level where this path meets the last leaf's, each node has a sibling on one side or the other.
    for above in 0..shape.inner {
        subtrees.push(Subtree::under(level + above, (index >> above) ^ 1, size));
    }
    // Above it the path is the tree's right border, which has siblings on its left only, and not at each level.
    for above in shape.inner..u64::BITS {
        if (index >> above) & 1 == 1 {
            subtrees.push(Subtree::under(level + above, (index >> above) - 1, size));
        }
    }
    subtrees
}

/// How many hashes a path has, in two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathShape {
    /// The levels below the one where the path meets that of the last leaf.
    pub(crate) inner: u32,
    /// The siblings above it, all on the left.
    pub(crate) border: u32,
}

impl PathShape {
    /// The shape of the path of `index` among nodes of which the last is `last`; requires `index <= last`.
    pub(crate) fn of(index: u64, last: u64) -> Self {
        let inner = u64::BITS - (index ^ last).leading_zeros();
        Self { inner, border: index.checked_shr(inner).unwrap_or(0).count_ones() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_the_binary_digits_of_the_size() {
        assert_eq!(peaks(TreeSize(0)), []);
        assert_eq!(
            peaks(TreeSize(7)),
            [NodeId { level: 2, index: 0 }, NodeId { level: 1, index: 2 }, NodeId { level: 0, index: 6 }]
        );
        assert_eq!(peaks(TreeSize(u64::MAX)).len(), 64);
        assert_eq!(peaks(TreeSize(1 << 63)), [NodeId { level: 63, index: 0 }]);
    }

    #[test]
    fn a_path_in_the_largest_tree_does_not_overflow() {
        for index in [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1] {
            for subtree in path(0, index, TreeSize(u64::MAX)) {
                assert!(subtree.start < subtree.end, "{index}: {subtree:?}");
            }
        }
    }
}
