//! Finds who is wrong where the entries of a chunk, its tiles and the hashes above them disagree.
//!
//! A row of hashes is right if it leads to the hash one level up; at the edge, if it leads to the newest checkpoint's
//! root. What stands above a chunk was settled before ([`ChunkRoots`]), so this goes from the top down: level 1 first,
//! then each tile of leaf hashes.

use attestlog_core::{Hash, TILE_WIDTH, TileId, TreeHead, perfect_root};

use super::Context;
use super::checkpoints::SettledChunk;
use super::chunk::Chunk;
use super::finding::{Finding, What};
use super::roots::{CHUNK, ChunkRoots};

/// The differences between a tile and its entries up to which each is tried for itself: 256 combinations.
const MOST_MIXED: usize = 8;

/// Compares everything in a chunk, and adds what is wrong to the findings.
pub(super) fn settle(
    context: &Context,
    roots: &ChunkRoots,
    chunk: Chunk,
    anchor: Option<TreeHead>,
) -> SettledChunk {
    let below = chunk.roots_of_leaves();
    let tiles_agree = (0..chunk.tiles.len()).all(|tile| chunk.tile(tile) == chunk.leaves_of(tile));
    let root_agrees = !chunk.is_full() || Some(perfect_root(&below)) == roots.chunk(chunk.start / CHUNK);
    if tiles_agree && root_agrees && chunk.columns.is_empty() && chunk.upper.as_ref() == Some(&below) {
        return SettledChunk { start: chunk.start, leaves: chunk.leaves, uppers: below };
    }
    let anchor = anchor.filter(|anchor| (chunk.start + 1..=chunk.end()).contains(&anchor.size.0));
    let blame = Blame { context, roots, chunk: &chunk, anchor };
    let uppers = blame.settle_uppers(below);
    let leaves = (0..chunk.tiles.len()).flat_map(|tile| blame.settle_tile(tile, &uppers)).collect();
    SettledChunk { start: chunk.start, leaves, uppers }
}

struct Blame<'a> {
    context: &'a Context,
    roots: &'a ChunkRoots,
    chunk: &'a Chunk,
    /// The newest checkpoint, if its size lies in this chunk.
    anchor: Option<TreeHead>,
}

impl Blame<'_> {
    /// The right roots of the full tiles. `below` are those that the entries lead to.
    fn settle_uppers(&self, below: Vec<Hash>) -> Vec<Hash> {
        let of_tiles = self.chunk.roots_of_tiles(&below);
        let stored = self.chunk.upper.clone().unwrap_or_else(|| of_tiles.clone());
        // Where entries and their tile agree, the hash above is wrong; elsewhere one of the two is.
        let vote = |((entries, tile), above): ((&Hash, &Hash), &Hash)| {
            if entries == tile { *entries } else { *above }
        };
        let majority: Vec<Hash> = below.iter().zip(&of_tiles).zip(&stored).map(vote).collect();
        let leaves = self.leaf_rows();
        let candidates = [&stored, &majority, &of_tiles, &below];
        let right = candidates.into_iter().find(|row| leaves.iter().any(|leaves| self.leads_up(row, leaves)));
        if right.is_none() {
            self.give_up_on_chunk(&majority);
        }
        let right = right.unwrap_or(&majority).clone();
        let id = TileId { level: 1, index: self.chunk.start / CHUNK };
        for (position, _) in
            stored.iter().zip(&right).enumerate().filter(|(_, (stored, right))| stored != right)
        {
            self.context.findings.add(Finding::hash(id, position, self.context.size()));
        }
        right
    }

    /// Nothing in a chunk leads to what stands above it.
    fn give_up_on_chunk(&self, uppers: &[Hash]) {
        let number = self.chunk.start / CHUNK;
        if !self.chunk.is_full() || Some(perfect_root(uppers)) == self.roots.chunk(number) {
            return;
        }
        let width = TILE_WIDTH as u64;
        let finding = if self.roots.settled {
            Finding::entry(self.chunk.start, What::EntriesChanged { last: self.chunk.end() - 1 })
        } else {
            let position = usize::try_from(number % width).unwrap_or(0);
            Finding::hash(TileId { level: 2, index: number / width }, position, self.context.size())
        };
        self.context.findings.add(finding);
    }

    /// The leaf hashes of the whole chunk by each witness: the tiles, the entries, and what is stored beside these.
    fn leaf_rows(&self) -> [Vec<Hash>; 3] {
        let columns = (0..self.chunk.tiles.len()).flat_map(|tile| self.chunk.columns_of(tile));
        [self.chunk.tiles.concat(), self.chunk.leaves.clone(), columns.collect()]
    }

    /// Whether these hashes lead to the chunk's root or, at the edge of the tree, to the newest checkpoint's.
    fn leads_up(&self, uppers: &[Hash], leaves: &[Hash]) -> bool {
        if self.chunk.is_full() {
            return Some(perfect_root(uppers)) == self.roots.chunk(self.chunk.start / CHUNK);
        }
        let Some(anchor) = self.anchor else { return false };
        let chunk =
            SettledChunk { start: self.chunk.start, leaves: leaves.to_vec(), uppers: uppers.to_vec() };
        chunk.root(self.roots, anchor.size.0) == Some(anchor.root)
    }

    /// The right leaf hashes of a tile.
    fn settle_tile(&self, tile: usize, uppers: &[Hash]) -> Vec<Hash> {
        let columns = self.chunk.columns_of(tile);
        let rows = [self.chunk.tile(tile), self.chunk.leaves_of(tile), &columns];
        let Some(upper) = uppers.get(tile) else {
            return self.settle_edge(tile, rows, uppers);
        };
        match right_row(rows, |row| perfect_root(row) == *upper) {
            Some(right) => self.compare(tile, rows, &right),
            None => {
                let positions = self.chunk.positions(tile);
                let first = self.chunk.start + positions.start as u64;
                let last = first + positions.len() as u64 - 1;
                self.context.findings.add(Finding::entry(first, What::EntriesChanged { last }));
                rows[1].to_vec()
            }
        }
    }

    /// The right leaf hashes of the partial tile: nothing stands above it but the newest checkpoint.
    fn settle_edge(&self, tile: usize, rows: [&[Hash]; 3], uppers: &[Hash]) -> Vec<Hash> {
        let first = self.chunk.positions(tile).start;
        let before = self.chunk.leaves.get(..first).unwrap_or_default();
        let signed = self.anchor.map_or(0, |anchor| anchor.size.0 - self.chunk.start);
        let proven = right_row(rows, |row| self.leads_up(uppers, &[before, row].concat()));
        let [tile_row, leaves, columns] = rows;
        let mut right = Vec::with_capacity(leaves.len());
        for (position, ((tile, leaf), column)) in tile_row.iter().zip(leaves).zip(columns).enumerate() {
            let proven = proven.as_ref().and_then(|row| row.get(position));
            // Not signed yet, or contradictory: two of three are believed.
            let likely = if column == tile { tile } else { leaf };
            let is_signed = ((first + position) as u64) < signed;
            right.push(*proven.filter(|_| is_signed).unwrap_or(likely));
        }
        self.compare(tile, rows, &right)
    }

    /// Says which entries, stored leaf hashes and hashes of the tile are not the right ones.
    fn compare(&self, tile: usize, rows: [&[Hash]; 3], right: &[Hash]) -> Vec<Hash> {
        let [tile_row, leaves, columns] = rows;
        let id = TileId { level: 0, index: self.chunk.start / TILE_WIDTH as u64 + tile as u64 };
        let findings = &self.context.findings;
        let hashes = tile_row.iter().zip(leaves).zip(columns).zip(right);
        for (position, (((tile, leaf), column), right)) in hashes.enumerate() {
            let index = id.index * TILE_WIDTH as u64 + position as u64;
            if leaf != right {
                findings.add(Finding::entry(index, What::EntryChanged));
            } else if column != right {
                findings.add(Finding::entry(index, What::LeafHashWrong));
            }
            if tile != right {
                findings.add(Finding::hash(id, position, self.context.size()));
            }
        }
        right.to_vec()
    }
}

/// The row that is right: what the tile, the entries or the stored leaf hashes say, or some hashes of the tile and some
/// of the entries.
fn right_row(rows: [&[Hash]; 3], is_right: impl Fn(&[Hash]) -> bool) -> Option<Vec<Hash>> {
    if let Some(row) = rows.into_iter().find(|row| is_right(row)) {
        return Some(row.to_vec());
    }
    let [tile, leaves, _] = rows;
    let differ = |position: &usize| tile.get(*position) != leaves.get(*position);
    let differing: Vec<usize> = (0..leaves.len()).filter(differ).collect();
    if differing.len() > MOST_MIXED {
        return None;
    }
    let mix = |choice: u32| {
        let mut row = leaves.to_vec();
        for (_, &position) in differing.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1) {
            if let (Some(hash), Some(tile)) = (row.get_mut(position), tile.get(position)) {
                *hash = *tile;
            }
        }
        row
    };
    (0..1 << differing.len()).map(mix).find(|row| is_right(row))
}
