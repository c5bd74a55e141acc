//! Reads the entries and tiles of one chunk, and compares nothing yet but each leaf hash with its entry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;

use attestlog_core::{Hash, LeafIndex, TILE_WIDTH, TileId, perfect_root, tile_roots};

use super::Context;
use super::finding::{Finding, What};
use super::roots::{CHUNK, tile_ids};
use crate::store::StoreError;

/// The entries that are hashed at once, unless they have so many bytes.
const ENTRIES_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 1 << 20;

/// Up to 65,536 entries as they are stored, each reduced to its leaf hash, and the tiles over them.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The first index; a multiple of [`CHUNK`].
    pub(super) start: u64,
    /// The hashes of the entries' bytes. Where an entry is missing stands the tile's hash.
    pub(super) leaves: Vec<Hash>,
    /// The leaf hashes stored beside the entries, by position, where they are others.
    pub(super) columns: BTreeMap<usize, Hash>,
    /// The tiles of level 0 as they are stored; the last one may be the tree's edge, shorter than the others. A tile
    /// that is missing is what the leaves make it.
    pub(super) tiles: Vec<Vec<Hash>>,
    /// The tile of level 1 over the full ones of these, or as much of it as the tree's edge has.
    pub(super) upper: Option<Vec<Hash>>,
}

impl Chunk {
    /// The index after the last.
    pub(super) fn end(&self) -> u64 {
        self.start + self.leaves.len() as u64
    }

    /// Whether it has all the entries that a chunk may have.
    pub(super) fn is_full(&self) -> bool {
        self.leaves.len() as u64 == CHUNK
    }

    /// The positions of a tile's leaves in this chunk.
    pub(super) fn positions(&self, tile: usize) -> Range<usize> {
        let first = tile * TILE_WIDTH;
        first..(first + TILE_WIDTH).min(self.leaves.len())
    }

    pub(super) fn leaves_of(&self, tile: usize) -> &[Hash] {
        self.leaves.get(self.positions(tile)).unwrap_or_default()
    }

    pub(super) fn tile(&self, tile: usize) -> &[Hash] {
        self.tiles.get(tile).map_or(&[], Vec::as_slice)
    }

    /// The stored leaf hashes of a tile's entries.
    pub(super) fn columns_of(&self, tile: usize) -> Vec<Hash> {
        let leaves = self.positions(tile).zip(self.leaves_of(tile));
        leaves.map(|(position, leaf)| self.columns.get(&position).copied().unwrap_or(*leaf)).collect()
    }

    /// The roots of the full tiles as the leaves have them.
    pub(super) fn roots_of_leaves(&self) -> Vec<Hash> {
        tile_roots(&self.leaves)
    }

    /// The roots of the full tiles as the tiles have them, where `roots_of_leaves` are known.
    pub(super) fn roots_of_tiles(&self, roots_of_leaves: &[Hash]) -> Vec<Hash> {
        let root = |(tile, root): (usize, &Hash)| {
            if self.tile(tile) == self.leaves_of(tile) { *root } else { perfect_root(self.tile(tile)) }
        };
        roots_of_leaves.iter().enumerate().map(root).collect()
    }
}

/// Reads the chunk of this number. Notes what is missing.
pub(super) async fn read(context: &Context, number: u64) -> Result<Chunk, StoreError> {
    let range = number * CHUNK..((number + 1).saturating_mul(CHUNK)).min(context.size());
    let (stored, upper) = read_tiles(context, number, &range).await?;
    let mut reader = Reader::of(context, range.clone());
    let mut sink = |index: LeafIndex, data: &[u8], column: &[u8]| reader.take(index.0, data, column);
    context.store.scan(context.log.id, range.clone(), &mut sink).await?;
    reader.skip_to(range.end);
    reader.hash();
    context.bytes.fetch_add(reader.bytes, Ordering::Relaxed);
    let (leaves, columns, missing) = (reader.leaves, reader.columns, reader.missing);
    let mut chunk = Chunk { start: range.start, leaves, columns, tiles: Vec::new(), upper };
    for (tile, stored) in stored.into_iter().enumerate() {
        chunk.tiles.push(stored.unwrap_or_else(|| chunk.leaves_of(tile).to_vec()));
    }
    chunk.fill(context, missing);
    Ok(chunk)
}

/// The tiles of level 0 and the one of level 1, of which the last may be the tree's edge.
async fn read_tiles(
    context: &Context,
    number: u64,
    range: &Range<u64>,
) -> Result<(Vec<Option<Vec<Hash>>>, Option<Vec<Hash>>), StoreError> {
    let width = TILE_WIDTH as u64;
    let mut ids: Vec<TileId> = tile_ids(0, range.start / width..range.end / width).collect();
    let is_full = range.end - range.start == CHUNK;
    if is_full {
        ids.push(TileId { level: 1, index: number });
    }
    let mut read = context.store.tiles(context.log.id, &ids).await?;
    let mut parsed: Vec<_> =
        ids.iter().map(|id| context.parse_tile(*id, read.remove(id).as_deref())).collect();
    let upper = if is_full { parsed.pop().flatten() } else { Some(context.edge.partial_tile(1).to_vec()) };
    if !range.end.is_multiple_of(width) {
        parsed.push(Some(context.edge.partial_tile(0).to_vec()));
    }
    Ok((parsed, upper))
}

impl Chunk {
    /// Puts the tiles' hashes where entries are missing, so that nothing else seems wrong because of it.
    fn fill(&mut self, context: &Context, missing: Vec<Range<u64>>) {
        for run in missing {
            context
                .findings
                .add(Finding::entry(run.start, What::EntryMissing { count: run.end - run.start }));
            for index in run {
                let Ok(position) = usize::try_from(index - self.start) else { return };
                let tile = self.tiles.get(position / TILE_WIDTH);
                let hash = tile.and_then(|tile| tile.get(position % TILE_WIDTH)).copied();
                if let (Some(leaf), Some(hash)) = (self.leaves.get_mut(position), hash) {
                    *leaf = hash;
                }
            }
        }
    }
}

/// Takes the entries of a range one after the other, and hashes many at once.
struct Reader<'a> {
    context: &'a Context,
    start: u64,
    end: u64,
    leaves: Vec<Hash>,
    columns: BTreeMap<usize, Hash>,
    missing: Vec<Range<u64>>,
    bytes: u64,
    /// The entries that are not hashed yet, which follow the leaves: their bytes, where each ends, and what is stored
    /// beside each.
    unhashed: Vec<u8>,
    ends: Vec<usize>,
    stored: Vec<Option<Hash>>,
}

impl<'a> Reader<'a> {
    fn of(context: &'a Context, range: Range<u64>) -> Self {
        let width = usize::try_from(range.end - range.start).unwrap_or(0);
        Self {
            context,
            start: range.start,
            end: range.end,
            leaves: Vec::with_capacity(width),
            columns: BTreeMap::new(),
            missing: Vec::new(),
            bytes: 0,
            unhashed: Vec::new(),
            ends: Vec::new(),
            stored: Vec::new(),
        }
    }

    const fn next(&self) -> u64 {
        self.start + self.leaves.len() as u64 + self.ends.len() as u64
    }

    fn take(&mut self, index: u64, data: &[u8], column: &[u8]) {
        // A store gives no index twice and none outside the range: there is a primary key.
        if index < self.next() || index >= self.end {
            return;
        }
        self.skip_to(index);
        self.unhashed.extend_from_slice(data);
        self.ends.push(self.unhashed.len());
        self.stored.push(Hash::from_slice(column));
        if self.ends.len() == ENTRIES_AT_ONCE || self.unhashed.len() > BYTES_AT_ONCE {
            self.hash();
        }
    }

    fn hash(&mut self) {
        let starts = std::iter::once(&0).chain(&self.ends);
        let entry = |(start, end): (&usize, &usize)| self.unhashed.get(*start..*end).unwrap_or_default();
        let leaves = Hash::leaves(starts.zip(&self.ends).map(entry));
        for (position, (leaf, stored)) in (self.leaves.len()..).zip(leaves.iter().zip(&self.stored)) {
            if *stored != Some(*leaf) {
                // One that is not a hash is wrong, whatever hash is put in its place.
                self.columns.insert(position, stored.unwrap_or(Hash::EMPTY_ROOT));
            }
        }
        self.leaves.extend(leaves);
        self.bytes += self.unhashed.len() as u64;
        self.context.progress.add(self.ends.len() as u64);
        self.unhashed.clear();
        self.ends.clear();
        self.stored.clear();
    }

    /// Goes on at `index`; what was not taken before it is missing.
    fn skip_to(&mut self, index: u64) {
        if self.next() < index {
            self.hash();
            self.missing.push(self.next()..index);
            let width = usize::try_from(index - self.start).unwrap_or(0);
            self.leaves.resize(width, Hash::EMPTY_ROOT);
        }
    }
}
