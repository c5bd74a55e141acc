//! Reads of a log that is served as C2SP tlog-tiles: which paths to fetch, and what their bytes prove together.
//!
//! Sans-IO: plan a read, fetch its [`paths`](LogRead::paths) below the log's prefix, hand the bodies over in the same
//! order. What was asked for and the nodes around it are folded into the root as RFC 6962 §2.1 has it, so nothing is
//! given away unless a tree head proves all of it. A tile is read as far as that needs it; its other hashes are not
//! looked at. This fetches nothing, keeps nothing and verifies no signature.

use alloc::vec::Vec;
use core::ops::Range;

use crate::entry_bundle::parse_bundle;
use crate::error::{Error, ParseError, VerifyError};
use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, TileId, TilePath, node_hash, parse_tile, perfect_root};
use crate::tree::{LeafIndex, NodeId, Subtree, TreeHead, TreeSize, root_of_peaks};

/// The most bundles in one read: 16 million entries.
const MAX_BUNDLES: u64 = 1 << 16;

/// A read of some leaves of a tree, the *inside*, and of what lies around them: the perfect subtrees beside them.
#[derive(Clone, Debug)]
pub struct LogRead {
    size: TreeSize,
    inside: Range<u64>,
    /// The height above the leaves of the hashes that the inside is read as.
    level: u8,
    /// First those of the inside, then the tiles that hold what lies around it.
    paths: Vec<TilePath>,
    /// How many of the paths are of the inside.
    own: usize,
}

/// What a read has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proven<'a> {
    entries: Vec<&'a [u8]>,
    row: Vec<Hash>,
    /// The hashes of the perfect subtrees before the inside, left to right.
    before: Vec<Hash>,
}

impl LogRead {
    /// The read of the entry bundles that hold the entries `[start, end)` of a tree of `size`.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] unless `start < end <= size`, and for more than 65,536 bundles.
    pub fn entries(range: Range<LeafIndex>, size: TreeSize) -> Result<Self, VerifyError> {
        if range.is_empty() || range.end.0 > size.0 {
            return Err(VerifyError::IndexBeyondTree);
        }
        let width = TILE_WIDTH as u64;
        let mut paths = Vec::new();
        // A bundle is as wide as the tile of its leaf hashes.
        let bundles = range.start.0 / width..range.end.0.div_ceil(width);
        if bundles.end - bundles.start > MAX_BUNDLES {
            return Err(VerifyError::IndexBeyondTree);
        }
        for index in bundles.clone() {
            paths.push(TilePath::Entries { index, width: TileId { level: 0, index }.width(size) });
        }
        let inside = bundles.start * width..bundles.end.saturating_mul(width).min(size.0);
        Ok(Self::plan(paths, 0, inside, size))
    }

    /// The read of the first `width` hashes of a tile of a tree of `size`.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] for no hashes, and for more than the tree has there.
    pub fn tile(tile: TileId, width: usize, size: TreeSize) -> Result<Self, VerifyError> {
        let NodeId { level, index } = tile.first_node().ok_or(VerifyError::IndexBeyondTree)?;
        if width == 0 || width > tile.width(size) {
            return Err(VerifyError::IndexBeyondTree);
        }
        // The tree has these nodes: their leaves are within 64 bits.
        let inside = index << level..(index + width as u64) << level;
        Ok(Self::plan(alloc::vec![TilePath::Hashes { tile, width }], level, inside, size))
    }

    /// The read of the tiles that prove a tree of `new` to begin with one of `old`; of none if the sizes are equal.
    ///
    /// # Errors
    /// [`VerifyError::TreeShrank`] if `new < old`.
    pub fn consistency(old: TreeSize, new: TreeSize) -> Result<Self, VerifyError> {
        if new < old {
            return Err(VerifyError::TreeShrank);
        }
        let known = if old == new { 0 } else { old.0 };
        Ok(Self::plan(Vec::new(), 0, known..old.0, new))
    }

    /// What to fetch: the bundles or the tile that was asked for, then the tiles that prove it. Each once.
    #[must_use]
    pub fn paths(&self) -> &[TilePath] {
        &self.paths
    }

    /// The index of the first entry that [`open_entries`](Self::open_entries) gives: the first of its bundle.
    #[must_use]
    pub const fn first(&self) -> LeafIndex {
        LeafIndex(self.inside.start)
    }

    /// All entries of the bundles, in their order, if `head` proves them. One answer for each of the
    /// [`paths`](Self::paths), in their order.
    ///
    /// # Errors
    /// [`ParseError::EntryBundle`] and [`ParseError::Tile`] for an answer that cannot be read, and for too few or too
    /// many of them; [`VerifyError::RootMismatch`] if they do not lead to the root, or `head` has another size.
    pub fn open_entries<'a, A: AsRef<[u8]>>(
        &self,
        answers: &'a [A],
        head: &TreeHead,
    ) -> Result<Vec<&'a [u8]>, Error> {
        Ok(self.open(answers, head)?.entries)
    }

    /// The hashes of the tile, if `head` proves them. One answer for each of the [`paths`](Self::paths), in their
    /// order.
    ///
    /// # Errors
    /// [`ParseError::Tile`] for an answer that is not its tile, and for too few or too many of them;
    /// [`VerifyError::RootMismatch`] if they do not lead to the root, or `head` has another size.
    pub fn open_tile<A: AsRef<[u8]>>(&self, answers: &[A], head: &TreeHead) -> Result<Vec<Hash>, Error> {
        Ok(self.open(answers, head)?.row)
    }

    /// Verifies that the tree of `new` begins with the tree of `old`. One answer for each of the
    /// [`paths`](Self::paths), in their order.
    ///
    /// # Errors
    /// [`ParseError::Tile`] for an answer that is not its tile, and for too few or too many of them;
    /// [`VerifyError::RootMismatch`] if the tiles do not lead to the new root, or a head has another size than this
    /// was planned for; [`VerifyError::HistoryRewritten`] if they do, and not to the old one, and for two roots of
    /// one size.
    pub fn verify_consistency<A: AsRef<[u8]>>(
        &self,
        answers: &[A],
        old: &TreeHead,
        new: &TreeHead,
    ) -> Result<(), Error> {
        if old.size.0 != self.inside.end {
            return Err(VerifyError::RootMismatch.into());
        }
        let old_root = if self.inside.is_empty() {
            root_of_peaks(&self.open(answers, new)?.before)
        } else if answers.is_empty() && new.size == self.size {
            // Two signed roots of one size contradict each other, whatever the tiles say.
            new.root
        } else {
            return Err(ParseError::Tile.into());
        };
        if old_root == old.root { Ok(()) } else { Err(VerifyError::HistoryRewritten.into()) }
    }

    fn plan(own: Vec<TilePath>, level: u8, inside: Range<u64>, size: TreeSize) -> Self {
        let mut read = Self { size, inside, level, own: own.len(), paths: own };
        let mut paths = core::mem::take(&mut read.paths);
        // Nothing to hash yet: only which parts there are.
        let _ = read.fold(Subtree { start: 0, end: size.0 }, &mut |part| {
            if let Some(node) = read.outside(part) {
                let tile = TileId::holding(node);
                let path = TilePath::Hashes { tile, width: tile.width(size) };
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
            Ok(Hash::EMPTY_ROOT)
        });
        read.paths = paths;
        read
    }

    /// Verifies that `head` is the tree that has what the answers say.
    fn open<'a, A: AsRef<[u8]>>(&self, answers: &'a [A], head: &TreeHead) -> Result<Proven<'a>, Error> {
        if answers.len() != self.paths.len() {
            return Err(ParseError::Tile.into());
        }
        let (mut entries, mut tiles) = (Vec::new(), Vec::new());
        for (path, answer) in self.paths.iter().zip(answers) {
            match *path {
                TilePath::Entries { width, .. } => entries.extend(parse_bundle(answer.as_ref(), width)?),
                TilePath::Hashes { tile, width } => tiles.push((tile, parse_tile(answer.as_ref(), width)?)),
            }
        }
        let mut row = Hash::leaves(entries.iter().copied());
        if entries.is_empty() && self.own > 0 {
            row = tiles.remove(0).1;
        }
        let mut before = Vec::new();
        let root = self.fold(Subtree { start: 0, end: self.size.0 }, &mut |part| {
            let Some(node) = self.outside(part) else {
                let place = |leaf: u64| usize::try_from((leaf - self.inside.start) >> self.level).ok();
                let inside =
                    place(part.start).zip(place(part.end)).and_then(|(start, end)| row.get(start..end));
                return Ok(perfect_root(inside.ok_or(ParseError::Tile)?));
            };
            let holding = TileId::holding(node);
            let held = tiles.iter().find(|(tile, _)| *tile == holding);
            let hash = node_hash(node, held.map_or(&[], |(_, hashes)| hashes))?;
            if part.end <= self.inside.start {
                before.push(hash);
            }
            Ok(hash)
        })?;
        if *head == (TreeHead { size: self.size, root }) {
            Ok(Proven { entries, row, before })
        } else {
            Err(VerifyError::RootMismatch.into())
        }
    }

    /// The node of a perfect subtree that has no leaf inside.
    fn outside(&self, subtree: Subtree) -> Option<NodeId> {
        let Subtree { start, end } = subtree;
        let length = end - start;
        let outside = end <= self.inside.start || self.inside.end <= start;
        let level = u8::try_from(length.checked_ilog2()?).ok()?;
        (outside && length.is_power_of_two()).then_some(NodeId { level, index: start >> level })
    }

    /// The root of `subtree`, by RFC 6962's recursion, from those of its largest parts that lie inside, or are
    /// perfect and outside.
    fn fold(
        &self,
        subtree: Subtree,
        part: &mut dyn FnMut(Subtree) -> Result<Hash, ParseError>,
    ) -> Result<Hash, ParseError> {
        let Subtree { start, end } = subtree;
        let inside = self.inside.start <= start && end <= self.inside.end;
        if inside || self.outside(subtree).is_some() {
            return part(subtree);
        }
        // The largest power of two that is smaller than the number of leaves. A single leaf is inside or outside.
        let left = (end - start).div_ceil(2).next_power_of_two();
        let middle = start + left;
        let left = self.fold(Subtree { start, end: middle }, part)?;
        let right = self.fold(Subtree { start: middle, end }, part)?;
        Ok(Hash::node(&left, &right))
    }
}
