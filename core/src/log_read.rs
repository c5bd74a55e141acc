//! Reads of a log that is served as C2SP tlog-tiles: which paths to fetch, and what their bytes prove together.
//!
//! Sans-IO: plan a read, fetch its [`paths`](EntriesRead::paths) below the log's prefix, hand the bodies over in the
//! same order. Nothing is given away unless a tree head proves all of it. A tile is read as far as a proof needs it;
//! its other hashes are not looked at. This fetches nothing, keeps nothing and verifies no signature.

use alloc::vec::Vec;
use core::ops::Range;

use crate::consistency::{compare, needs_no_hashes, seed_and_path, verify_from};
use crate::entry_bundle::parse_bundle;
use crate::error::{Error, ParseError, VerifyError};
use crate::hash::Hash;
use crate::inclusion::fold_subtrees;
use crate::range::RangeProof;
use crate::tile::{TILE_WIDTH, TileId, TilePath, node_hash, parse_tile};
use crate::tree::{LeafIndex, NodeId, Subtree, TreeHead, TreeSize};

/// A read of the entry bundles that hold a range of entries.
#[derive(Clone, Debug)]
pub struct EntriesRead {
    bundles: Range<u64>,
    siblings: NodesRead,
}

/// A read of the tiles that prove one tree to begin with another.
#[derive(Clone, Debug)]
pub struct ConsistencyRead {
    old: TreeSize,
    nodes: NodesRead,
}

/// Nodes of a tree of `size`, and the tiles that hold them, each once.
#[derive(Clone, Debug)]
struct NodesRead {
    size: TreeSize,
    nodes: Vec<NodeId>,
    tiles: Vec<TileId>,
}

impl EntriesRead {
    /// The read of the entries `[start, end)` of a tree of `size`.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `start < end <= size`.
    pub fn plan(range: Range<LeafIndex>, size: TreeSize) -> Result<Self, VerifyError> {
        if range.is_empty() || range.end.0 > size.0 {
            return Err(VerifyError::IndexBeyondTree);
        }
        let width = TILE_WIDTH as u64;
        let bundles = range.start.0 / width..range.end.0.div_ceil(width);
        let first = first_node(&bundles);
        // Whole bundles: beside them nothing is read but nodes that cover at least one bundle, or the tree's end.
        let count = bundles.end.saturating_mul(width).min(size.0) - first.index;
        let siblings = NodesRead::plan(RangeProof::nodes(first, count, size)?, size);
        Ok(Self { bundles, siblings })
    }

    /// The index of the first entry that [`open`](Self::open) gives: the first of its bundle.
    #[must_use]
    pub const fn first(&self) -> LeafIndex {
        LeafIndex(first_node(&self.bundles).index)
    }

    /// What to fetch: the bundles in their order, then the tiles.
    pub fn paths(&self) -> impl Iterator<Item = TilePath> {
        let bundles = self.bundles.clone().map(|index| TilePath::Entries { index, width: self.width(index) });
        bundles.chain(self.siblings.paths())
    }

    /// All entries of the bundles, in their order, if `head` proves them. One answer for each of the
    /// [`paths`](Self::paths), in their order.
    ///
    /// # Errors
    /// [`ParseError::EntryBundle`] and [`ParseError::Tile`] for an answer that cannot be read, and for too few or too
    /// many of them; [`VerifyError::RootMismatch`] if they do not lead to the root, or `head` has another size.
    pub fn open<'a, A: AsRef<[u8]>>(
        &self,
        answers: &'a [A],
        head: &TreeHead,
    ) -> Result<Vec<&'a [u8]>, Error> {
        let count = usize::try_from(self.bundles.end - self.bundles.start);
        let (bundles, tiles) =
            count.ok().and_then(|count| answers.split_at_checked(count)).ok_or(ParseError::EntryBundle)?;
        let siblings = self.siblings.hashes(tiles)?;
        let mut entries = Vec::new();
        for (index, bundle) in self.bundles.clone().zip(bundles) {
            entries.extend(parse_bundle(bundle.as_ref(), self.width(index))?);
        }
        let (first, size) = (first_node(&self.bundles), self.siblings.size);
        let leaves = Hash::leaves(entries.iter().copied());
        let proof = RangeProof::assemble(first, leaves.len() as u64, size, &siblings)?;
        let root = proof.root(&leaves, first, size)?;
        if *head == (TreeHead { size, root }) { Ok(entries) } else { Err(VerifyError::RootMismatch.into()) }
    }

    /// The number of entries in a bundle: a bundle is as wide as the tile of its leaf hashes.
    fn width(&self, index: u64) -> usize {
        TileId { level: 0, index }.width(self.siblings.size)
    }
}

/// The leaf of the first entry of these bundles.
const fn first_node(bundles: &Range<u64>) -> NodeId {
    NodeId { level: 0, index: bundles.start.saturating_mul(TILE_WIDTH as u64) }
}

impl ConsistencyRead {
    /// The read for the proof that a tree of `new` begins with one of `old`.
    ///
    /// # Errors
    /// [`VerifyError::TreeShrank`] if `new < old`.
    pub fn plan(old: TreeSize, new: TreeSize) -> Result<Self, VerifyError> {
        if new < old {
            return Err(VerifyError::TreeShrank);
        }
        let nodes = subtrees(old, new).into_iter().flat_map(Subtree::nodes).collect();
        Ok(Self { old, nodes: NodesRead::plan(nodes, new) })
    }

    /// The tiles to fetch; none if the sizes are equal or `old` is 0.
    pub fn paths(&self) -> impl Iterator<Item = TilePath> {
        self.nodes.paths()
    }

    /// Verifies that the tree of `new` begins with the tree of `old`. One answer for each of the
    /// [`paths`](Self::paths), in their order.
    ///
    /// # Errors
    /// [`ParseError::Tile`] for an answer that is not its tile, and for too few or too many of them;
    /// [`VerifyError::RootMismatch`] if the tiles do not lead to the new root, or a head has another size than this
    /// was planned for; [`VerifyError::HistoryRewritten`] if they do, and not to the old one.
    pub fn verify<A: AsRef<[u8]>>(&self, answers: &[A], old: &TreeHead, new: &TreeHead) -> Result<(), Error> {
        let hashes = self.nodes.hashes(answers)?;
        if (old.size, new.size) != (self.old, self.nodes.size) {
            return Err(VerifyError::RootMismatch.into());
        }
        let hashes = fold_subtrees(&subtrees(old.size, new.size), &hashes)?;
        match hashes.split_first() {
            None => Ok(compare(old, new)?),
            Some((seed, path)) => Ok(verify_from(*seed, path, old, new)?),
        }
    }
}

/// The subtrees that lead to both roots: unlike a proof's, the first of them always stands for the old tree's end, so
/// that a new tree is proven whatever the old root is.
fn subtrees(old: TreeSize, new: TreeSize) -> Vec<Subtree> {
    if needs_no_hashes(old, new) { Vec::new() } else { seed_and_path(old, new).collect() }
}

impl NodesRead {
    fn plan(nodes: Vec<NodeId>, size: TreeSize) -> Self {
        let mut tiles = Vec::new();
        for tile in nodes.iter().copied().map(TileId::holding) {
            if !tiles.contains(&tile) {
                tiles.push(tile);
            }
        }
        Self { size, nodes, tiles }
    }

    fn paths(&self) -> impl Iterator<Item = TilePath> {
        self.tiles.iter().map(|&tile| TilePath::Hashes { tile, width: tile.width(self.size) })
    }

    /// The hashes of the nodes, from the bytes of the tiles.
    fn hashes<A: AsRef<[u8]>>(&self, answers: &[A]) -> Result<Vec<Hash>, ParseError> {
        if answers.len() != self.tiles.len() {
            return Err(ParseError::Tile);
        }
        let parse =
            |(tile, answer): (&TileId, &A)| Ok((*tile, parse_tile(answer.as_ref(), tile.width(self.size))?));
        let tiles = self.tiles.iter().zip(answers).map(parse).collect::<Result<Vec<_>, _>>()?;
        let hash = |node: &NodeId| {
            let tile = tiles.iter().find(|(tile, _)| *tile == TileId::holding(*node));
            node_hash(*node, tile.map_or(&[], |(_, hashes)| hashes))
        };
        self.nodes.iter().map(hash).collect()
    }
}
