//! Reads of a log that is served as C2SP tlog-tiles: which paths to fetch, and what their bytes prove together.
//!
//! Sans-IO: plan a read, fetch its [`paths`](EntriesRead::paths) below the log's prefix, hand the bodies over in the
//! same order. What was asked for and the nodes around it are folded into the root as RFC 6962 §2.1 has it, so nothing
//! is given away unless a tree head proves all of it. A tile is read as far as that needs it; its other hashes are not
//! looked at. This fetches nothing, keeps nothing and verifies no signature.

use alloc::vec::Vec;
use core::ops::Range;

use crate::entry_bundle::parse_bundle;
use crate::error::{Error, ParseError, VerifyError};
use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, TileId, TilePath, node_hash, parse_tile, perfect_root};
use crate::tree::{LeafIndex, NodeId, Subtree, TreeHead, TreeSize, root_of_peaks};

/// A read of the entry bundles that hold a range of entries.
#[derive(Clone, Debug)]
pub struct EntriesRead {
    bundles: Range<u64>,
    around: Around,
}

/// A read of one tile, or of the first hashes of one.
#[derive(Clone, Debug)]
pub struct TileRead {
    tile: TileId,
    width: usize,
    around: Around,
}

/// A read of the tiles that prove one tree to begin with another.
#[derive(Clone, Debug)]
pub struct ConsistencyRead {
    old: TreeSize,
    around: Around,
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
        let leaves = bundles.start * width..bundles.end.saturating_mul(width).min(size.0);
        Ok(Self { bundles, around: Around::plan(leaves, size) })
    }

    /// The index of the first entry that [`open`](Self::open) gives: the first of its bundle.
    #[must_use]
    pub const fn first(&self) -> LeafIndex {
        LeafIndex(self.around.inside.start)
    }

    /// What to fetch: the bundles in their order, then the tiles.
    pub fn paths(&self) -> impl Iterator<Item = TilePath> {
        let bundles = self.bundles.clone().map(|index| TilePath::Entries { index, width: self.width(index) });
        bundles.chain(self.around.paths())
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
        let mut answers = answers.iter();
        let mut entries = Vec::new();
        for index in self.bundles.clone() {
            let bundle = answers.next().ok_or(ParseError::EntryBundle)?;
            entries.extend(parse_bundle(bundle.as_ref(), self.width(index))?);
        }
        let leaves = Hash::leaves(entries.iter().copied());
        self.around.verify(answers.as_slice(), &leaves, 0, head)?;
        Ok(entries)
    }

    /// The number of entries in a bundle: a bundle is as wide as the tile of its leaf hashes.
    fn width(&self, index: u64) -> usize {
        TileId { level: 0, index }.width(self.around.size)
    }
}

impl TileRead {
    /// The read of the first `width` hashes of a tile of a tree of `size`.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`] for no hashes, and for more than the tree has there.
    pub fn plan(tile: TileId, width: usize, size: TreeSize) -> Result<Self, VerifyError> {
        let NodeId { level, index } = tile.first_node().ok_or(VerifyError::IndexBeyondTree)?;
        if width == 0 || width > tile.width(size) {
            return Err(VerifyError::IndexBeyondTree);
        }
        // The tree has these nodes: their leaves are within 64 bits.
        let inside = index << level..(index + width as u64) << level;
        Ok(Self { tile, width, around: Around::plan(inside, size) })
    }

    /// What to fetch: the tile, then those that prove it.
    pub fn paths(&self) -> impl Iterator<Item = TilePath> {
        core::iter::once(TilePath::Hashes { tile: self.tile, width: self.width }).chain(self.around.paths())
    }

    /// The hashes of the tile, if `head` proves them. One answer for each of the [`paths`](Self::paths), in their
    /// order.
    ///
    /// # Errors
    /// [`ParseError::Tile`] for an answer that is not its tile, and for too few or too many of them;
    /// [`VerifyError::RootMismatch`] if they do not lead to the root, or `head` has another size.
    pub fn open<A: AsRef<[u8]>>(&self, answers: &[A], head: &TreeHead) -> Result<Vec<Hash>, Error> {
        let (tile, answers) = answers.split_first().ok_or(ParseError::Tile)?;
        let hashes = parse_tile(tile.as_ref(), self.width)?;
        let level = self.tile.first_node().map_or(0, |node| node.level);
        self.around.verify(answers, &hashes, level, head)?;
        Ok(hashes)
    }
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
        // Of two trees of one size there is nothing to fetch: all leaves count as known.
        let known = if old == new { 0 } else { old.0 };
        Ok(Self { old, around: Around::plan(known..old.0, new) })
    }

    /// The tiles to fetch; none if the sizes are equal.
    pub fn paths(&self) -> impl Iterator<Item = TilePath> {
        self.around.paths()
    }

    /// Verifies that the tree of `new` begins with the tree of `old`. One answer for each of the
    /// [`paths`](Self::paths), in their order.
    ///
    /// # Errors
    /// [`ParseError::Tile`] for an answer that is not its tile, and for too few or too many of them;
    /// [`VerifyError::RootMismatch`] if the tiles do not lead to the new root, or a head has another size than this
    /// was planned for; [`VerifyError::HistoryRewritten`] if they do, and not to the old one, and for two roots of
    /// one size.
    pub fn verify<A: AsRef<[u8]>>(&self, answers: &[A], old: &TreeHead, new: &TreeHead) -> Result<(), Error> {
        if (old.size, new.size) != (self.old, self.around.size) {
            return Err(VerifyError::RootMismatch.into());
        }
        let old_root = if old.size == new.size {
            if !answers.is_empty() {
                return Err(ParseError::Tile.into());
            }
            new.root
        } else {
            root_of_peaks(&self.around.verify(answers, &[], 0, new)?)
        };
        if old_root == old.root { Ok(()) } else { Err(VerifyError::HistoryRewritten.into()) }
    }
}

/// What lies around some leaves of a tree: the perfect subtrees beside them, and the tiles that hold those.
#[derive(Clone, Debug)]
struct Around {
    size: TreeSize,
    inside: Range<u64>,
    tiles: Vec<TileId>,
}

impl Around {
    fn plan(inside: Range<u64>, size: TreeSize) -> Self {
        let mut around = Self { size, inside, tiles: Vec::new() };
        let mut tiles = Vec::new();
        // Nothing to hash yet: only which parts there are.
        let _ = around.fold(Subtree { start: 0, end: size.0 }, &mut |part| {
            if let Some(tile) = around.outside(part).map(TileId::holding)
                && !tiles.contains(&tile)
            {
                tiles.push(tile);
            }
            Ok(Hash::EMPTY_ROOT)
        });
        around.tiles = tiles;
        around
    }

    fn paths(&self) -> impl Iterator<Item = TilePath> {
        self.tiles.iter().map(|&tile| TilePath::Hashes { tile, width: tile.width(self.size) })
    }

    /// Verifies that `head` is the tree that has the nodes of `row`, at `level`, inside, and the hashes of the tiles
    /// around them; the hashes of the perfect subtrees before them, left to right.
    fn verify<A: AsRef<[u8]>>(
        &self,
        answers: &[A],
        row: &[Hash],
        level: u8,
        head: &TreeHead,
    ) -> Result<Vec<Hash>, Error> {
        if answers.len() != self.tiles.len() {
            return Err(ParseError::Tile.into());
        }
        let mut tiles = Vec::with_capacity(answers.len());
        for (tile, answer) in self.tiles.iter().zip(answers) {
            tiles.push(parse_tile(answer.as_ref(), tile.width(self.size))?);
        }
        let mut before = Vec::new();
        let root = self.fold(Subtree { start: 0, end: self.size.0 }, &mut |part| {
            let Some(node) = self.outside(part) else {
                let place = |leaf: u64| usize::try_from((leaf - self.inside.start) >> level).ok();
                let inside =
                    place(part.start).zip(place(part.end)).and_then(|(start, end)| row.get(start..end));
                return Ok(perfect_root(inside.ok_or(ParseError::Tile)?));
            };
            let holding = TileId::holding(node);
            let held = self.tiles.iter().zip(&tiles).find(|(tile, _)| **tile == holding);
            let hash = node_hash(node, held.map_or(&[], |(_, hashes)| hashes))?;
            if part.end <= self.inside.start {
                before.push(hash);
            }
            Ok(hash)
        })?;
        if *head == (TreeHead { size: self.size, root }) {
            Ok(before)
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
