//! Many leaves at once: the nodes of each level of their tiles are hashed together.
//!
//! Not in the browser, where nothing appends and each byte counts.

use alloc::vec::Vec;

use super::{FullTile, RightEdge};
use crate::hash::Hash;
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TileId};

/// The leaves that are appended together: so many that there are many nodes to hash on each level of their tiles, and
/// that all of them stay in a processor's cache.
const LEAVES_AT_ONCE: usize = 8 * TILE_WIDTH;

impl RightEdge {
    /// Appends leaves, as [`append`](Self::append) does one after the other, in less time; the tiles that they
    /// complete go to `full`, those of each level in their order.
    pub fn extend(&mut self, leaves: &[Hash], full: &mut Vec<FullTile>) {
        for some in leaves.chunks(LEAVES_AT_ONCE) {
            self.extend_by_some(some, full);
        }
    }

    fn extend_by_some(&mut self, leaves: &[Hash], full: &mut Vec<FullTile>) {
        let size = self.size;
        self.size = size.saturating_add(leaves.len() as u64);
        let (mut level, mut row) = (0_u8, leaves.to_vec());
        while !row.is_empty() {
            if usize::from(level) == self.tiles.len() {
                self.tiles.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(tile) = self.tiles.get_mut(usize::from(level)) else { return };
            tile.append(&mut row);
            let (tiles, rest) = tile.as_chunks::<TILE_WIDTH>();
            let first = size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            full.extend((first..).zip(tiles).map(|(index, hashes)| {
                let id = TileId { level, index };
                FullTile { id, hashes: hashes.to_vec() }
            }));
            row = tile_roots(tile);
            *tile = rest.to_vec();
            level += 1;
        }
    }
}

/// The roots of full tiles whose hashes follow one another in `row`; what follows the last full tile has none.
#[must_use]
pub fn tile_roots(row: &[Hash]) -> Vec<Hash> {
    let mut row = row.as_chunks::<TILE_WIDTH>().0.as_flattened().to_vec();
    for _ in 0..TILE_HEIGHT {
        row = Hash::parents(&row);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extends_as_it_appends() {
        let leaves: Vec<Hash> = (0..70_000_u32).map(|leaf| Hash::leaf(&leaf.to_be_bytes())).collect();
        let lengths = [1, 0, 254, 1, 1, 255, 256, 257, 5000, 59_510, 1, 4464];
        let (mut one_by_one, mut at_once, mut start) = (RightEdge::EMPTY, RightEdge::EMPTY, 0);
        for length in lengths {
            let (mut own, mut full) = (Vec::new(), Vec::new());
            let some = &leaves[start..start + length];
            some.iter().for_each(|leaf| one_by_one.append(*leaf, &mut own));
            at_once.extend(some, &mut full);
            for tiles in [&mut own, &mut full] {
                tiles.sort_by_key(|tile| tile.id);
            }
            assert_eq!((&at_once, full), (&one_by_one, own), "{length} after {start}");
            start += length;
        }
        assert_eq!(start, leaves.len());
    }
}
