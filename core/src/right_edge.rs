//! The right edge of a tree: all that is needed to append to it.
//!
//! These are the partial tiles of C2SP tlog-tiles, one for each level of tiles: the hashes that are in no full tile
//! yet. Each node is hashed once, when the tile below it fills; the root follows from the edge alone.

#[cfg(not(target_feature = "simd128"))]
mod extend;

use alloc::vec::Vec;

use crate::error::ParseError;
use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, TileId, format_tile, parse_tile, perfect_root};
use crate::tree::{TreeHead, TreeSize, peaks, root_of_peaks};

#[cfg(not(target_feature = "simd128"))]
pub use self::extend::tile_roots;

/// A tile that has all its 256 hashes, and so never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Where it stands.
    pub id: TileId,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// A tree to which leaves can be appended, without the tiles that are already full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightEdge {
    size: u64,
    /// The partial tile of each level; level `l` has `(size >> 8l) % 256` hashes.
    tiles: Vec<Vec<Hash>>,
}

impl RightEdge {
    /// The tree without entries.
    pub const EMPTY: Self = Self { size: 0, tiles: Vec::new() };

    /// The edge of a tree of `size` from the bytes that [`format`](Self::format) made.
    ///
    /// # Errors
    /// [`ParseError::Tile`] unless these are exactly the hashes that the size demands.
    pub fn parse(size: TreeSize, bytes: &[u8]) -> Result<Self, ParseError> {
        let (mut tiles, mut rest) = (Vec::new(), bytes);
        for level in 0..=7 {
            let width = partial_width(size.0, level);
            let (tile, after) = rest.split_at_checked(width * Hash::LEN).ok_or(ParseError::Tile)?;
            tiles.push(parse_tile(tile, width)?);
            rest = after;
        }
        while tiles.last().is_some_and(Vec::is_empty) {
            tiles.pop();
        }
        if rest.is_empty() { Ok(Self { size: size.0, tiles }) } else { Err(ParseError::Tile) }
    }

    /// The partial tiles, level 0 first, as bytes; their widths follow from the size.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        self.tiles.iter().flat_map(|tile| format_tile(tile)).collect()
    }

    /// The number of entries.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// The hashes of the partial tile at `level`; none if the level is empty or has only full tiles.
    #[must_use]
    pub fn partial_tile(&self, level: u8) -> &[Hash] {
        self.tiles.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Appends a leaf; the tiles that it completes, the lowest first, go to `full`.
    pub fn append(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        let (mut level, mut hash) = (0_u8, leaf);
        self.size = self.size.saturating_add(1);
        loop {
            if usize::from(level) == self.tiles.len() {
                self.tiles.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(tile) = self.tiles.get_mut(usize::from(level)) else { return };
            tile.push(hash);
            if tile.len() < TILE_WIDTH {
                return;
            }
            let hashes = core::mem::take(tile);
            hash = perfect_root(&hashes);
            let index = (self.size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)).saturating_sub(1);
            full.push(FullTile { id: TileId { level, index }, hashes });
            level += 1;
        }
    }

    /// The size and the root of the tree.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        // The peaks, right to left: those within the lowest level's tile come last.
        let mut peak_hashes = Vec::new();
        for tile in self.tiles.iter().rev() {
            let mut rest = tile.as_slice();
            for peak in peaks(TreeSize(tile.len() as u64)) {
                let (row, after) = rest.split_at_checked(1 << peak.level).unwrap_or((rest, &[]));
                peak_hashes.push(perfect_root(row));
                rest = after;
            }
        }
        TreeHead { size: TreeSize(self.size), root: root_of_peaks(&peak_hashes) }
    }
}

fn partial_width(size: u64, level: u32) -> usize {
    usize::from((size >> (8 * level)).to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_formatting_at_every_size() {
        let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
        for size in 0..70_000_u32 {
            if size % 251 == 0 || size % 256 < 2 {
                assert_eq!(
                    RightEdge::parse(edge.size(), &edge.format()).unwrap().head(),
                    edge.head(),
                    "{size}"
                );
            }
            edge.append(Hash::leaf(&size.to_be_bytes()), &mut full);
        }
        assert_eq!(full.len(), 273 + 1);
        assert_eq!(full.last().unwrap().id, TileId { level: 0, index: 272 });
        assert_eq!(edge.partial_tile(0).len(), 112);
        assert_eq!(edge.partial_tile(1).len(), 17);
        assert_eq!(edge.partial_tile(2).len(), 1);
    }

    #[test]
    fn rejects_an_edge_of_another_size() {
        let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
        for byte in 0..5_u8 {
            edge.append(Hash::leaf(&[byte]), &mut full);
        }
        let bytes = edge.format();
        assert!(RightEdge::parse(TreeSize(4), &bytes).is_err());
        assert!(RightEdge::parse(TreeSize(6), &bytes).is_err());
        assert!(RightEdge::parse(TreeSize(5), &bytes[1..]).is_err());
        assert!(RightEdge::parse(TreeSize(u64::MAX), &bytes).is_err());
    }
}
